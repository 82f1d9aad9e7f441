"""The window shows a prediction beside the truth; its pixels are looked at, since a black canvas raises nothing."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from skimage.io import imread

pytest.importorskip("napari")
if os.environ.get("NVS_NO_DISPLAY") == "1":
    pytest.skip("NVS_NO_DISPLAY=1: no window can be opened here", allow_module_level=True)
if sys.platform.startswith("linux") and not (
    os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
):
    pytest.skip("a window needs a display: run under xvfb-run", allow_module_level=True)
if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
    pytest.skip("offscreen Qt has no OpenGL: run under xvfb-run", allow_module_level=True)
pytest.importorskip("pytestqt")

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs.simulate import write_field

STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    from napari_virtualstain.simulate import FieldSettings, simulate_field

    place = tmp_path_factory.mktemp("window")
    write_field(simulate_field(FieldSettings(shape_px=(128, 128), n_cells=9), seed=3), place)
    return place


@pytest.fixture
def show(make_napari_viewer, monkeypatch, stores, tmp_path):
    import napari

    # napari's own fixture, since a second application of napari in one process is refused.
    monkeypatch.setattr(napari, "Viewer", make_napari_viewer)

    from napari_virtualstain.widgets import window
    from napari_virtualstain.widgets.window import show_comparison

    monkeypatch.setattr(window, "_SETTLE_S", 0.3)

    def show(prediction):
        path = tmp_path / "deep" / "shot.png"
        measured = show_comparison(
            stores / "brightfield.ome.zarr", prediction, stores / "stains.ome.zarr",
            screenshot=str(path),
        )  # fmt: skip
        return measured, path

    yield show
    assert napari.current_viewer() is None


def test_a_perfect_prediction_looks_like_the_truth(show, stores):
    measured, path = show(stores / "stains.ome.zarr")
    assert tuple(measured) == STAINS
    assert all(value > 0.97 for value in measured.values()), measured
    window = imread(path)
    assert window.shape[0] >= 600
    assert window.shape[1] >= 1000
    pairs = imread(path.with_name("shot-pairs.png"))
    # Each stain is there, in its colour: neither half of any pair is black.
    strips = np.array_split(pairs[..., :3].astype(float), len(STAINS), axis=1)
    for name, strip in zip(STAINS, strips, strict=True):
        for half in np.array_split(strip, 2, axis=0):
            assert np.percentile(half.sum(axis=2), 99) > 60, name
    # DNA is blue, ER is green.
    assert strips[0][..., 2].sum() > 3 * strips[0][..., 0].sum()
    assert strips[1][..., 1].sum() > 3 * strips[1][..., 0].sum()


@pytest.mark.slow
def test_a_prediction_of_something_else_does_not(show, stores, tmp_path):
    truth = open_image(stores / "stains.ome.zarr")
    path = tmp_path / "wrong.ome.zarr"
    pixels = truth.data.compute()[..., ::-1, ::-1]
    with OmeZarrSink.create(
        path, shape=pixels.shape, channels=[Channel(n, "fluorescence") for n in STAINS], n_tiles=1,
        dtype=str(pixels.dtype), pixel_size_um=PixelSize(None, 0.6, 0.6),
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
    measured, _ = show(path)
    assert all(value < 0.8 for value in measured.values()), measured
