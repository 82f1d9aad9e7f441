"""A viewer of its own on one comparison, to look at or to photograph."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import napari
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from qtpy.QtWidgets import QApplication
from skimage.io import imsave

from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.napari_io.comparison import PREDICTED, TRUE, add_comparison

__all__ = ["show_comparison"]

_SIZE = (1280, 800)
_SETTLE_S = 1.0
"""Until a changed canvas is drawn, also by a software renderer."""


def show_comparison(
    brightfield: Path, prediction: Path, truth: Path, *, screenshot: str | None = None
) -> dict[str, float] | None:
    """Open a viewer on a comparison, and wait for it to be closed.

    Parameters
    ----------
    brightfield, prediction, truth
        See `add_comparison`.
    screenshot
        Write a picture of the window there, a strip of the single pairs beside
        it (``...-pairs.png``), and return without waiting.

    Returns
    -------
    dict or None
        With ``screenshot``, the Pearson correlation of left and right on the
        canvas, by stain.
    """
    viewer = napari.Viewer(title="Virtual staining: predicted | true", show=True)
    viewer.window.resize(*_SIZE)
    stains = add_comparison(viewer, brightfield, prediction, truth)
    viewer.reset_view()
    overlays = viewer.canvas.overlays
    overlays.scale_bar.visible = True
    overlays.text.visible = True
    overlays.text.position = "top_left"
    overlays.text.text = "left: predicted, over the bright field     right: true"
    if screenshot is None:
        napari.run()
        return None
    try:
        return _photograph(viewer, stains, Path(screenshot))
    finally:
        viewer.close()


def _photograph(viewer: napari.Viewer, stains: tuple[str, ...], path: Path) -> dict[str, float]:
    """Save the window and the single pairs; return how alike they are on the canvas."""
    path.parent.mkdir(parents=True, exist_ok=True)
    overlays = viewer.canvas.overlays
    overlays.scale_bar.visible = overlays.text.visible = False
    measured: dict[str, float] = {}
    strips = []
    for stain in stains:
        pair = (stain + PREDICTED, stain + TRUE)
        for layer in viewer.layers:
            layer.visible = layer.name in pair
        canvas = _canvas(viewer)
        left, right = (_part(viewer, canvas, name) for name in pair)
        height, width = np.minimum(left.shape[:2], right.shape[:2])
        left, right = left[:height, :width], right[:height, :width]
        measured[stain] = pearson(left.sum(axis=2), right.sum(axis=2))
        strips.append(np.concatenate([left, right], axis=0))
    for layer in viewer.layers:
        layer.visible = True
    overlays.scale_bar.visible = overlays.text.visible = True
    _canvas(viewer)
    imsave(path, viewer.screenshot(canvas_only=False, flash=False), check_contrast=False)
    _labelled(strips, stains).save(path.with_name(f"{path.stem}-pairs{path.suffix}"))
    return measured


def _labelled(strips: list[NDArray[Any]], stains: tuple[str, ...]) -> Image.Image:
    """Put the pairs side by side and write on each what it is."""
    picture = Image.fromarray(np.ascontiguousarray(np.concatenate(strips, axis=1)))
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(10, strips[0].shape[1] // 20))
    left = 0
    for strip, stain in zip(strips, stains, strict=True):
        height, width = strip.shape[:2]
        for top, kind in ((0, PREDICTED), (height // 2, TRUE)):
            pen.text((left + 6, top + 4), stain + kind, fill="white", font=font)
        left += width
    return picture


def _canvas(viewer: napari.Viewer) -> NDArray[Any]:
    """Return the canvas once it is drawn: (Y, X, 3) uint8."""
    until = time.monotonic() + _SETTLE_S
    while time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.02)
    shown: NDArray[Any] = viewer.screenshot(canvas_only=True, flash=False)[..., :3]
    return shown


def _part(viewer: napari.Viewer, canvas: NDArray[Any], name: str) -> NDArray[Any]:
    """Cut the part of a canvas that shows a layer."""
    camera = viewer.scene.camera
    corners = np.asarray(viewer.layers[name].extent.world)[:, -2:]
    middle = np.array(canvas.shape[:2]) / 2
    # World position (y, x) -> canvas pixel; the zoom counts the screen's logical pixels.
    screen = QApplication.primaryScreen()
    zoom = camera.zoom * (screen.devicePixelRatio() if screen is not None else 1.0)
    at = (corners - np.asarray(camera.center)[-2:]) * zoom + middle
    (y0, x0), (y1, x1) = np.round(at).astype(int)
    return canvas[max(y0, 0) : y1, max(x0, 0) : x1]
