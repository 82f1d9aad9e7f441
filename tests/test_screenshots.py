"""Pictures of the window that are old, missing or not made by their script are noticed without a viewer."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parent.parent / "scripts" / "screenshots.py"
if not SCRIPT.exists():
    pytest.skip("the scripts are not part of an installed package", allow_module_level=True)


@pytest.fixture
def tree(tmp_path) -> Path:
    """A checkout with one widget."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    widgets = tmp_path / "src" / "napari_virtualstain" / "widgets" / "deep"
    widgets.mkdir(parents=True)
    (widgets / "button.py").write_bytes(b"text = 'Stain'\n")
    return tmp_path


@pytest.fixture
def shots(tree) -> Iterator[ModuleType]:
    """The script of that checkout, with a picture of each shot."""
    path = tree / "scripts" / "screenshots.py"
    spec = importlib.util.spec_from_file_location("screenshots_of_a_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in module.SHOTS:
        for theme in module.THEMES:
            module.save(Image.new("RGB", (64, 40), "navy"), name, theme)
    return module


def test_pictures_that_were_just_made_pass(shots, capsys):
    assert shots.main(["--check"]) == 0
    assert capsys.readouterr().err == ""


def test_a_sidecar_says_what_the_picture_is(shots):
    facts = json.loads((shots.IMAGES / "stain-dark.png.json").read_text())
    assert facts["shot"] == "stain"
    assert facts["theme"] == "dark"
    assert facts["size"] == [64, 40]
    assert len(facts["sources_sha256"]) == len(facts["png_sha256"]) == 64


def change_a_byte(tree: Path) -> None:
    file = tree / "src/napari_virtualstain/widgets/deep/button.py"
    file.write_bytes(file.read_bytes().replace(b"Stain", b"stain"))


def add_a_widget(tree: Path) -> None:
    (tree / "src/napari_virtualstain/widgets/slider.py").write_text("")


def rename_a_widget(tree: Path) -> None:
    file = tree / "src/napari_virtualstain/widgets/deep/button.py"
    file.rename(file.with_name("knob.py"))


def change_the_script(tree: Path) -> None:
    with (tree / "scripts/screenshots.py").open("a") as file:
        file.write("# another shot\n")


def paint_over(tree: Path) -> None:
    Image.new("RGB", (64, 40), "white").save(tree / "docs/images/stain-light.png")


def delete_a_picture(tree: Path) -> None:
    (tree / "docs/images/stain-light.png").unlink()


def delete_a_sidecar(tree: Path) -> None:
    (tree / "docs/images/stain-light.png.json").unlink()


def leave_one_behind(tree: Path) -> None:
    (tree / "docs/images/gone-dark.png.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (change_a_byte, "stain-light.png is older than the widgets"),
        (add_a_widget, "stain-light.png is older than the widgets"),
        (rename_a_widget, "stain-light.png is older than the widgets"),
        (change_the_script, "stain-light.png is older than the widgets"),
        (paint_over, "stain-light.png was not made by its script"),
        (delete_a_picture, "stain-light.png is missing"),
        (delete_a_sidecar, "stain-light.png is missing"),
        (leave_one_behind, "gone-dark.png.json belongs to no shot"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_whatever_is_not_as_it_was_is_named(shots, tree, capsys, damage, words):
    damage(tree)
    assert shots.main(["--check"]) == 1
    [sentence] = capsys.readouterr().err.splitlines()
    assert sentence.startswith("Pictures in docs/images: ")
    assert words in sentence
    assert sentence.endswith(". Run make docs.")


def test_line_ends_do_not_make_a_picture_old(shots, tree):
    file = tree / "src/napari_virtualstain/widgets/deep/button.py"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert shots.main(["--check"]) == 0


@pytest.mark.usefixtures("shots")
def test_the_check_needs_neither_napari_nor_qt_nor_pillow(tree):
    code = (
        "import runpy, sys\n"
        "for name in ('napari', 'qtpy', 'PIL', 'numpy'): sys.modules[name] = None\n"
        "sys.argv[1:] = ['--check']\n"
        f"runpy.run_path({str(tree / 'scripts' / 'screenshots.py')!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_picture_of_few_colours_is_kept_as_it_is(shots):
    picture = Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3))
    path = shots.save(picture, "stain", "dark")
    np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(picture))


def test_a_picture_that_is_too_large_gets_fewer_colours_and_is_refused_in_the_end(shots):
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).resize((800, 600))
    content = shots.small_png(soft)
    assert len(content) <= shots.MOST_BYTES
    noise = Image.fromarray(rng.integers(0, 256, (800, 1280, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="Show a smaller part of the window, or less noise."):
        shots.small_png(noise)


def test_an_unknown_shot_is_refused_with_those_that_there_are(shots, capsys):
    with pytest.raises(SystemExit):
        shots.main(["sampel"])
    assert f"there is no shot sampel. Known: {', '.join(shots.SHOTS)}." in capsys.readouterr().err
    assert {"start", "stain", "tune", "explain"} <= shots.SHOTS.keys()


def test_the_dot_of_the_run_bar_keeps_its_colour_where_there_are_few(shots):
    """Some green pixels in a picture of a bright field were grey."""
    run_bar = SCRIPT.parents[1] / "src" / "napari_virtualstain" / "widgets" / "_run_bar.py"
    (green,) = shots.KEPT
    assert green in run_bar.read_text(encoding="utf-8")
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (60, 80, 1), dtype=np.uint8).repeat(3, axis=2)
    pixels = np.asarray(Image.fromarray(grey).resize((800, 600), Image.Resampling.BICUBIC)).copy()
    pixels[10:18, 20:28] = [0x3F, 0xA3, 0x4D]
    kept = np.asarray(shots.fewer_colours(Image.fromarray(pixels), 64).convert("RGB"))
    assert (kept[10:18, 20:28] == [0x3F, 0xA3, 0x4D]).all()
    assert len(np.unique(kept.reshape(-1, 3), axis=0)) <= 64
