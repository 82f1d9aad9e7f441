"""What holds for every kind of file that is opened, whoever wrote it."""

from __future__ import annotations

import gc
import json
import os
import pickle
import shutil
import sys
import tracemalloc
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_cases import CASES, MADE, REAL, Case

from napari_virtualstain.errors import ImageFileError, MissingExtraError
from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.jobs.info import InfoSettings, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("formats")


@pytest.fixture(params=[pytest.param(n, marks=[pytest.mark.realdata] * (n in REAL)) for n in CASES])
def case(request):
    case = CASES[request.param]
    if case.library:
        pytest.importorskip(case.library)
    return request.param, case


@pytest.fixture
def opened(case, folder, request):
    """The path of a case, written once, and the case."""
    name, one = case
    if one.write is None:
        return request.getfixturevalue("realdata") / one.path, one
    path = folder / name / one.path
    if not path.exists():
        path.parent.mkdir()
        one.write(path)
    return path, one


def image_of(path: Path, case: Case):
    return open_image(path, scene=case.scene or None)


def pixels(data: Any) -> np.ndarray:
    return data.compute(scheduler="synchronous")


def test_what_is_found_in_a_file(opened):
    path, case = opened
    assert tuple(scene.name for scene in list_scenes(path)) == case.scenes
    image = image_of(path, case)
    assert (image.source.kind, image.source.scene) == (case.kind, case.scene)
    assert (image.shape, image.axes, str(image.dtype)) == (case.shape, case.axes, case.dtype)
    assert tuple((c.name, c.modality) for c in image.channels) == case.channels
    size = image.pixel_size_um
    assert (size.z, size.y, size.x) == tuple(
        None if um is None else pytest.approx(um, rel=1e-6) for um in case.pixel_um
    )
    assert (image.time_interval_s, image.na) == (case.interval_s, case.na)
    assert tuple(c.emission_nm for c in image.channels if any(case.waves_nm)) == case.waves_nm


def test_the_pixels_are_those_that_the_own_library_reads(opened):
    path, case = opened
    np.testing.assert_array_equal(pixels(image_of(path, case).data), case.twin(path))


REGIONS = {
    "one plane": np.s_[-1:, -1:, -1:, 3:67, 5:69],
    "all planes": np.s_[:, :, :, 100:103, 200:300],
    "numbers and steps": np.s_[0, 0, -1, 7, 9:200:7],
    "a corner": np.s_[..., -9:, -4:],
    "planes by list": np.s_[:, :, [-1, 0], 0:5, 0:6],
}


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_a_region_is_that_part_of_the_whole(opened, region):
    path, case = opened
    got = pixels(image_of(path, case).data[region])
    np.testing.assert_array_equal(got, case.twin(path)[region])


def test_threads_and_other_processes_read_the_same(opened):
    path, case = opened
    data = image_of(path, case).data
    whole = pixels(data)
    np.testing.assert_array_equal(data.compute(scheduler="threads", num_workers=4), whole)
    # As its place: a pickle is small, and opens the file anew.
    moved = pickle.dumps(data)
    assert len(moved) < 60_000
    np.testing.assert_array_equal(pixels(pickle.loads(moved)), whole)


def read_so_far() -> int:
    """Bytes that this process has read from files, as Linux counts them; mapped ones are not."""
    io = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(io["rchar"])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts reads as Linux does")
def test_opening_reads_no_pixels_and_a_region_no_more_than_a_plane(opened):
    path, case = opened
    image = image_of(path, case)  # imports are not counted
    pixels(image.data[..., :1, :1])
    n_bytes = int(np.prod(case.shape)) * np.dtype(case.dtype).itemsize
    plane = n_bytes // int(np.prod(case.shape[:3]))
    del image
    tracemalloc.start()
    try:
        before = read_so_far()
        image = image_of(path, case)
        assert read_so_far() - before < case.opening
        assert tracemalloc.get_traced_memory()[1] < 500_000 + 3 * case.opening
        before = read_so_far()
        pixels(image.data[:1, :1, :1, :64, :64])
        assert read_so_far() - before < (case.region or plane + 50_000)
        # What is mapped is not read, what is held is: no copy of more than the planes in question.
        assert tracemalloc.get_traced_memory()[1] < 4_000_000 + 3 * max(case.region, plane)
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="lists open files as Linux does")
def test_the_file_is_closed_when_the_last_array_goes(opened):
    path, case = opened

    def held() -> int:
        gc.collect()
        places = (str(e.readlink()) for e in Path("/proc/self/fd").iterdir() if e.is_symlink())
        return sum(str(path) in place for place in places) + Path("/proc/self/maps").read_text(
        ).count(str(path))  # fmt: skip

    data = image_of(path, case).data
    pixels(data[..., :2, :2])
    del data
    assert held() == 0


def test_the_identity_follows_the_file(opened, tmp_path):
    path, case = opened
    copy = tmp_path / path.name
    if path.is_dir():
        shutil.copytree(path, copy)
    else:
        for file in path.parent.glob(f"{path.stem}.*"):
            shutil.copy(file, tmp_path)
    before = image_of(copy, case).source.identity()
    assert before == image_of(copy, case).source.identity()
    files = [f for f in copy.rglob("*") if f.is_file()] or list(tmp_path.iterdir())
    os.utime(max(files), ns=(1, 1))
    assert image_of(copy, case).source.identity() != before


def test_a_file_is_known_by_how_it_begins(opened, tmp_path):
    path, case = opened
    if not case.has_magic:
        pytest.skip("a folder, two files, or a kind that goes by its name")
    for name in ("nameless", "wrong.tif", "wrong.nd2", "wrong.png"):
        shutil.copy(path, tmp_path / name)
        assert image_of(tmp_path / name, case).source.kind == case.kind


def test_napari_finds_the_reader(opened):
    pytest.importorskip("napari")
    from npe2 import PluginManifest

    from napari_virtualstain.napari_io.reader import get_reader

    path, _ = opened
    assert get_reader(str(path)) is not None
    (reader,) = PluginManifest.from_distribution("napari-virtualstain").contributions.readers
    patterns = [*reader.filename_patterns, "*.png", "*.btf"]  # these two are napari's own
    assert path.is_dir() or any(fnmatch(path.name.lower(), p) for p in patterns)


def test_info_tells_it_as_json(opened):
    path, case = opened
    found = json.loads(json.dumps(run(InfoSettings(input=str(path)))))
    assert [image["name"] for image in found["images"]] == list(case.scenes)
    told = found["images"][case.scenes.index(case.scene)]
    assert told["kind"] == case.kind
    assert [(c["name"], c["modality"]) for c in told["channels"]] == list(case.channels)
    if case.waves_nm:
        assert [c["emission_nm"] for c in told["channels"]] == list(case.waves_nm)


EXTRAS = {c.extra: c for c in MADE.values() if c.extra}


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_library_is_one_sentence_that_names_the_extra(extra, tmp_path, monkeypatch):
    case = EXTRAS[extra]
    pytest.importorskip(case.library)
    case.write(tmp_path / case.path)
    monkeypatch.setitem(sys.modules, case.library, None)
    with pytest.raises(MissingExtraError) as caught:
        open_image(tmp_path / case.path)
    assert str(caught.value).endswith(
        f"needs the extra [{extra}] to be read. "
        f"Install it with: pip install 'napari-virtualstain[{extra}]'."
    )


@pytest.mark.parametrize("suffix", [".nd2", ".czi", ".lif", ".ics", ".lsm", ".tif"])
@pytest.mark.parametrize(
    ("content", "sentence"), [(b"", r"is empty \(0 bytes\)"), (b"plain text", "is not a")]
)
def test_a_file_that_is_not_what_it_is_called(tmp_path, suffix, content, sentence):
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(ImageFileError, match=sentence):
        open_image(tmp_path / f"a{suffix}")
