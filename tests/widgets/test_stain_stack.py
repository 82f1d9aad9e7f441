"""A stack is stained plane for plane in the dock too, and its layers have its planes."""

from __future__ import annotations

import numpy as np
from stacks import DEPTH, EDGE, train_on_stacks

from napari_virtualstain.io.open import open_image


def test_stains_of_a_stack_have_its_planes_and_its_scale(desk, tmp_path):
    model = train_on_stacks(tmp_path)
    (source,) = desk.open(tmp_path / "light1.ome.zarr", page="stain")
    desk.choose_model(model, tile=32)
    assert "a stack of Brightfield, 1.5 µm apart, of any depth" in desk.stain.model.about.text()
    desk.planned()
    desk.click(desk.stain.all)
    desk.idle()
    predicted = desk.predicted()
    assert sorted(predicted) == ["DNA", "ER"]
    layer = predicted["DNA"]
    (staining,) = desk.stain.stainings.all
    stored = open_image(staining.settings.out).data[0, 0].compute()
    data = layer.data[0] if layer.multiscale else layer.data
    painted = np.asarray(data).reshape(DEPTH, EDGE, EDGE)
    np.testing.assert_array_equal(painted, stored)
    np.testing.assert_allclose(layer.scale[-3:], source.scale[-3:])
    np.testing.assert_allclose(layer.translate[-3:], source.translate[-3:])
