"""In a real viewer: what is read, painted and refused is looked at on the canvas."""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import pytest

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

from napari.layers import Layer

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.napari_io.painting import Painting
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.tiling.plan import plan_tiles

PLUGIN = "napari-virtualstain"
EDGE, CORE = 1024, 256


@pytest.fixture
def viewer(qapp):
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window.resize(800, 600)
    yield viewer
    viewer.close()
    qapp.processEvents()


@pytest.fixture
def canvas(viewer, qapp):
    """Return the canvas once it is drawn, (Y, X, 3)."""

    def draw():
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            qapp.processEvents()
            time.sleep(0.01)
        return viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)

    return draw


def pixel(viewer, canvas, world_yx):
    """Return the colour where a point of the world lies on the canvas."""
    middle = np.array(canvas.shape[:2]) / 2
    at = (
        np.asarray(world_yx) - np.asarray(viewer.scene.camera.center)[-2:]
    ) * viewer.scene.camera.zoom
    y, x = np.round(at + middle).astype(int)
    return canvas[y, x].tolist()


@pytest.mark.parametrize("blending", ["additive", "translucent", "translucent_no_depth"])
def test_what_is_missing_shows_what_is_below(viewer, canvas, blending):
    below = viewer.add_image(np.full((100, 150), 0.5, np.float32), contrast_limits=(0, 1))
    half = np.full((100, 150), np.nan, np.float32)
    half[:, :50] = 1
    viewer.add_image(half, blending=blending, colormap="green", contrast_limits=(0, 1))
    viewer.reset_view()
    shown = canvas()
    grey = pixel(viewer, shown, (50, 100))
    assert max(grey) - min(grey) == 0
    assert grey[0] > 90
    painted = pixel(viewer, shown, (50, 25))
    assert painted[1] > painted[0] + 80
    assert below in viewer.layers


def start_run(path):
    plan = plan_tiles((EDGE, EDGE), core=CORE, halo=8, multiple_of=16)
    sink = OmeZarrSink.create(
        path, shape=(1, 1, 1, EDGE, EDGE), channels=[Channel("ER", "fluorescence")],
        n_tiles=len(plan), chunks_yx=CORE, pixel_size_um=PixelSize(None, 0.5, 0.5),
        origin_um=(0.0, 40.0, 20.0),
        record={
            "job": "stain", "created": "now", "model": {"name": "tiny"},
            "plan": {"core": [CORE, CORE], "halo": 8, "multiple_of": 16},
        },
    )  # fmt: skip
    return sink, plan


def write(sink, tiles):
    for tile in tiles:
        region = (slice(0, 1), slice(0, 1), slice(0, 1), *tile.write)
        sink.write(region, np.ones((1, 1, 1, CORE, CORE), np.float32))
        sink.commit(tile.index)


def middle_of(tile):
    corner = [(part.start + part.stop) / 2 * 0.5 for part in tile.write]
    return (corner[0] + 40, corner[1] + 20)


def test_a_painting_grows_on_the_canvas_and_ends_as_the_store(viewer, canvas, tmp_path):
    sink, plan = start_run(tmp_path / "p.ome.zarr")
    tiles = list(plan)
    painting = Painting.open(sink.path)
    viewer.add_layer(Layer.create(*painting.layers(name="x", contrast={"ER": (0, 1)})[0]))
    (layer,) = viewer.layers
    viewer.reset_view()
    assert canvas().sum() == 0
    for new in (tiles[:3], tiles[3:9]):
        write(sink, new)
        painting.update()
        layer.refresh(extent=False, highlight=False, thumbnail=False)
        shown = canvas()
        for tile in tiles:
            green = pixel(viewer, shown, middle_of(tile))[1]
            assert (green > 100) is (tile.index <= new[-1].index), tile.index
    write(sink, tiles[9:])
    sink.finish()
    painting.update()
    layer.data = painting.final()[0]
    shown = canvas()
    assert all(pixel(viewer, shown, middle_of(tile))[1] > 100 for tile in tiles)
    assert layer.scale.tolist() == [0.5, 0.5]


def test_a_store_opens_and_saves_in_the_viewer(viewer, canvas, tmp_path):
    sink, plan = start_run(tmp_path / "p.ome.zarr")
    write(sink, plan)
    sink.finish()
    (layer,) = viewer.open(sink.path, plugin=PLUGIN)
    assert layer.name == "ER (tiny)"
    assert source_of(layer).role == "prediction"
    layer.contrast_limits = (0, 1)
    viewer.reset_view()
    assert pixel(viewer, canvas(), middle_of(next(iter(plan))))[1] > 100
    path = str(tmp_path / "copy.ome.zarr")
    assert viewer.layers.save(path, plugin=PLUGIN) == [path]
    (again,) = viewer.open(path, plugin=PLUGIN)
    assert again.scale.tolist() == layer.scale.tolist()
    np.testing.assert_array_equal(again.data[0], layer.data[0])


DAMAGED = {"bad.ome.tif": b"II*\0 no tiff", "Index.idx.xml": b"<not closed"}


@pytest.mark.parametrize(("name", "content"), DAMAGED.items(), ids=DAMAGED)
def test_bad_input_is_one_sentence_and_leaves_the_viewer_as_it_was(
    viewer, canvas, tmp_path, name, content
):
    (tmp_path / name).write_bytes(content)
    other = viewer.add_image(np.ones((20, 30), np.float32), contrast_limits=(0, 1), name="other")
    with pytest.raises(VirtualStainError, match=name) as caught:
        viewer.open(tmp_path / name, plugin=PLUGIN)
    assert "\n" not in str(caught.value)
    assert list(viewer.layers) == [other]
    viewer.reset_view()
    assert pixel(viewer, canvas(), (10, 15)) == [255, 255, 255]
