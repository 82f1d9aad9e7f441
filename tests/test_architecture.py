"""The package is light to import, and headless without napari, Qt and magicgui."""

from __future__ import annotations

import time

import napari_virtualstain

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ImportError(f"{{name}} must not be needed")
sys.meta_path.insert(0, Block())
"""
VIEWER = (
    "napari",
    "qtpy",
    "PyQt5",
    "PyQt6",
    "PySide2",
    "PySide6",
    "magicgui",
    "npe2",
    "vispy",
    "superqt",
)


def test_importing_the_package_takes_under_a_fifth_of_a_second(subprocess_python):
    seconds = min(
        float(
            subprocess_python(
                "import time; t = time.perf_counter(); import napari_virtualstain; "
                "print(time.perf_counter() - t)"
            )
        )
        for _ in range(3)
    )
    assert seconds < 0.2


def test_importing_the_package_loads_nothing_heavy(subprocess_python):
    subprocess_python(
        "import sys, napari_virtualstain; "
        "assert not {'torch', 'napari', 'qtpy', 'dask', 'zarr', 'numpy'} & set(sys.modules)"
    )


def test_every_public_name_is_there_on_first_use():
    for name in napari_virtualstain.__all__:
        assert getattr(napari_virtualstain, name) is not None
    assert set(napari_virtualstain._HOMES) | {"__version__"} == set(napari_virtualstain.__all__)


def test_a_name_that_does_not_exist_is_an_attribute_error(subprocess_python):
    subprocess_python(
        "import napari_virtualstain\n"
        "try:\n    napari_virtualstain.nothing\n"
        "except AttributeError as error:\n    assert 'nothing' in str(error)\n"
        "else:\n    raise SystemExit(1)"
    )


def test_a_stain_runs_where_importing_a_viewer_raises(
    small_fields, tiny_model, tmp_path, subprocess_python
):
    from napari_virtualstain.jobs.simulate import write_field

    write_field(small_fields[0], tmp_path)
    below, truth, out = (str(tmp_path / f"{n}.ome.zarr") for n in ("brightfield", "stains", "out"))
    subprocess_python(
        BLOCK.format(names=VIEWER)
        + f"""
from napari_virtualstain.cli import main
assert main(["info", {below!r}, "--quiet"]) == 0
assert main(["models"]) == 0
assert main(["plan", {below!r}, "--model", {str(tiny_model)!r}]) == 0
assert main(["stain", {below!r}, "--model", {str(tiny_model)!r}, "--out", {out!r}, "--quiet"]) == 0
assert main(["evaluate", {out!r}, "--target", {truth!r}, "--quiet"]) == 0
assert main(["demo", "--model", {str(tiny_model)!r}, "--out", {str(tmp_path / "d")!r}, "--no-window", "--quiet"]) == 0
assert not set(sys.modules) & set({VIEWER!r})
"""
    )


def test_info_and_help_need_no_torch(small_fields, tmp_path, subprocess_python):
    from napari_virtualstain.jobs.simulate import write_field

    write_field(small_fields[0], tmp_path)
    path = str(tmp_path / "brightfield.ome.zarr")
    subprocess_python(
        BLOCK.format(names=("torch",))
        + f"from napari_virtualstain.cli import main; assert main(['info', {path!r}]) == 0"
    )


def test_info_answers_quickly(small_fields, tmp_path, subprocess_python):
    from napari_virtualstain.jobs.simulate import write_field

    write_field(small_fields[0], tmp_path)
    began = time.perf_counter()
    subprocess_python(
        "from napari_virtualstain.cli import main; "
        f"main(['info', {str(tmp_path / 'brightfield.ome.zarr')!r}])"
    )
    assert time.perf_counter() - began < 30
