"""The script of the documentation's pictures drives a real viewer, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage.io import imread

pytest.importorskip("napari")
SCRIPT = Path(__file__).parents[2] / "scripts" / "screenshots.py"
if not SCRIPT.exists():
    pytest.skip("the scripts are not part of an installed package", allow_module_level=True)
if os.environ.get("NVS_NO_DISPLAY") == "1":
    pytest.skip("NVS_NO_DISPLAY=1: no window can be opened here", allow_module_level=True)
if sys.platform.startswith("linux") and not (
    os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
):
    pytest.skip("a window needs a display: run under xvfb-run", allow_module_level=True)
if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
    pytest.skip("offscreen Qt has no OpenGL: run under xvfb-run", allow_module_level=True)

SHOT = """

def words(stage):
    from qtpy.QtWidgets import QLabel

    label = QLabel("Stain")
    stage.dock(label)
    stage.viewer.add_image(__import__("numpy").eye(64))
    stage.wait(label.isVisible, "the label")
    return label if os.environ.get("PART") else None


SHOTS = {"words": words}
"""


@pytest.fixture
def script(tmp_path) -> Path:
    (tmp_path / "scripts").mkdir()
    text = SCRIPT.read_text(encoding="utf-8")
    end = "\nif __name__ ="
    copy = tmp_path / "scripts" / SCRIPT.name
    copy.write_text(text.replace(end, SHOT + end), encoding="utf-8")
    return copy


@pytest.mark.slow
def test_a_shot_shows_window_canvas_and_dock_in_the_theme(script):
    done = subprocess.run(
        [sys.executable, script, "words"], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    dark, light = (
        imread(script.parents[1] / "docs" / "images" / f"words-{theme}.png")[..., :3]
        for theme in ("dark", "light")
    )
    assert dark.shape == light.shape == (800, 1280, 3)
    assert dark[:20].mean() < 80 < 160 < light[:20].mean(), "the bar of the menus"
    canvas = dark[200:600, 400:1000]
    assert canvas.max() > 200, "the diagonal of the image is drawn"
    assert np.unique(dark[:, 1000:].reshape(-1, 3), axis=0).shape[0] > 3, "the dock is there"
    done = subprocess.run([sys.executable, script, "--check"], check=False, timeout=60)
    assert done.returncode == 0


@pytest.mark.slow
def test_a_shot_may_show_one_widget_alone(script):
    line = [sys.executable, script, "--take", "words", "dark"]
    config = script.parent / "settings.yaml"
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "PART": "1", "NAPARI_CONFIG": str(config), "QT_SCALE_FACTOR": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    picture = imread(script.parents[1] / "docs" / "images" / "words-dark.png")
    assert picture.shape[1] < 640
