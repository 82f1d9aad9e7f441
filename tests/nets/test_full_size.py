"""The published network at its full size."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.inference.scan import scan_reach
from napari_virtualstain.tiling.plan import tile_around

pytestmark = pytest.mark.slow


def test_a_tile_with_its_halo_is_the_middle_of_the_whole_image():
    generator = build_generator("unet", in_channels=3, out_channels=5, preset="labelfree")
    halo = scan_reach(generator.module()).halo
    planes = np.random.default_rng(0).normal(size=(1, 3, 704, 704)).astype(np.float32)
    whole = generator.predict(planes)
    core = (slice(320, 384), slice(300, 364))
    tile = tile_around(core, shape=(704, 704), halo=halo, multiple_of=generator.multiple_of)
    part = generator.predict(planes[(slice(None), slice(None), *tile.read)])
    kept = part[(slice(None), slice(None), *tile.keep)]
    expected = whole[(slice(None), slice(None), *core)]
    np.testing.assert_allclose(kept, expected, atol=1e-5 * float(np.ptp(whole)))
