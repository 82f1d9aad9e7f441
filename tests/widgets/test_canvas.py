"""A layer goes from the canvas, in the canvas's own graphics context."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtGui import QOpenGLContext
from qtpy.QtOpenGLWidgets import QOpenGLWidget

STACK = np.random.default_rng(0).random((3, 64, 64), np.float32)


def remove(layers, layer):
    layers.remove(layer)


def remove_selected(layers, layer):
    layers.selection = {layer}
    layers.remove_selected()


def clear(layers, layer):
    layers.clear()


WAYS = {way.__name__: way for way in (remove, remove_selected, clear)}


@pytest.mark.parametrize("way", WAYS)
def test_a_layer_that_goes_is_deleted_in_the_context_of_its_canvas(desk, way):
    """Deleted in another one, it may take the program along with which the next is drawn."""
    stack = desk.viewer.add_image(STACK)
    desk.viewer.add_image(STACK[0])
    (canvas,) = desk.viewer.window._qt_window.findChildren(QOpenGLWidget)
    desk.canvas()
    canvas.doneCurrent()
    current = []
    desk.viewer.layers.events.removed.connect(
        lambda event: current.append(QOpenGLContext.currentContext())
    )
    WAYS[way](desk.viewer.layers, stack)
    assert current
    assert all(context is canvas.context() for context in current)


def test_a_stack_that_goes_leaves_what_lies_over_it_on_the_canvas(desk):
    """Under Mesa 22.3 the redraw crashed, and another stack did not come."""
    stack = desk.viewer.add_image(STACK, contrast_limits=(0, 1))
    flat = desk.viewer.add_image(np.ones((64, 64)), contrast_limits=(0, 1), colormap="green")
    desk.viewer.add_image(STACK[1], visible=False)
    for _ in range(2):
        desk.qtbot.wait(50)  # drawn, and put on the screen in a context of Qt's
        desk.viewer.layers.remove(stack)
        desk.qtbot.wait(50)
        assert desk.at(desk.canvas(), flat, (32, 32)).tolist() == [0, 255, 0]
        stack = desk.viewer.add_image(STACK, contrast_limits=(0, 1))
        desk.viewer.layers.move(2, 0)
    assert desk.at(desk.canvas(), flat, (32, 32)).tolist() == [0, 255, 0]
