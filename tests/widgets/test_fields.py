"""The box of images, which follows the viewer and keeps the user's choice."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.widgets._fields import FieldBox, Fields


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def fields(viewer, qapp):
    from qtpy.QtCore import QObject

    parent = QObject()
    fields = Fields(viewer, parent)
    fields.parent_kept = parent
    yield fields
    fields.close()


@pytest.fixture
def box(fields):
    box = FieldBox(fields, lambda field: not field.name.startswith("no"), "nothing is open")
    yield box
    box.deleteLater()


def names(box):
    return [box.itemText(n) for n in range(box.count())]


def image(viewer, name):
    return viewer.add_image(np.zeros((4, 4)), name=name)


def test_an_empty_box_says_so(box):
    assert box.field is None
    assert box.placeholderText() == "nothing is open"
    assert not box.isEnabled()


def test_what_is_new_is_chosen_by_itself(box, viewer, qtbot):
    image(viewer, "one")
    qtbot.waitUntil(lambda: names(box) == ["one"])
    image(viewer, "two")
    qtbot.waitUntil(lambda: names(box) == ["one", "two"])
    assert box.field.name == "two"


def test_a_choice_outlives_changes_around_it(box, viewer, qtbot):
    layers = [image(viewer, name) for name in ("one", "two", "three")]
    qtbot.waitUntil(lambda: box.count() == 3)
    assert box.choose(("layer", str(id(layers[0]))))
    viewer.layers.remove(layers[1])
    qtbot.waitUntil(lambda: box.count() == 2)
    assert box.field.layers[0][0] is layers[0]
    viewer.layers.reverse()
    qtbot.waitUntil(lambda: names(box) == ["three", "one"])
    assert box.field.layers[0][0] is layers[0]
    assert not box.choose(("layer", "0"))


def test_what_is_not_offered_is_not_shown(box, viewer, qtbot):
    image(viewer, "no bright field")
    image(viewer, "one")
    qtbot.waitUntil(lambda: names(box) == ["one"])


def test_ten_layers_at_once_are_one_change(fields, viewer, qtbot):
    seen = []
    fields.changed.connect(lambda: seen.append(len(fields.all)))
    for number in range(10):
        image(viewer, f"image {number}")
    qtbot.waitUntil(lambda: bool(seen))
    assert seen == [10]


def test_a_watcher_that_is_closed_hears_nothing(fields, viewer):
    seen = []
    fields.changed.connect(lambda: seen.append(True))
    fields.close()
    image(viewer, "one")
    assert not fields._soon.isActive()
    assert seen == []


def test_an_entry_for_none_is_chosen_until_somebody_chooses_another(fields, viewer, qtbot):
    box = FieldBox(fields, lambda f: True, "", follows=lambda f: False, nothing="as recorded")
    assert (names(box), box.field) == (["as recorded"], None)
    assert box.isEnabled()
    one = image(viewer, "one")
    qtbot.waitUntil(lambda: names(box) == ["as recorded", "one"])
    assert box.field is None
    assert box.choose(("layer", str(id(one))))
    assert box.field.name == "one"
    image(viewer, "two")
    qtbot.waitUntil(lambda: box.count() == 3)
    assert box.field.name == "one"
    viewer.layers.remove(one)
    qtbot.waitUntil(lambda: box.count() == 2)
    assert box.field is None
    box.deleteLater()
