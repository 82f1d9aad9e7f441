"""Fields so small that a training takes a second: stains that follow from the planes."""

from __future__ import annotations

import numpy as np

from napari_virtualstain.datasets.pairs import PairedField, pair_up
from napari_virtualstain.intensity import Rule


def field(seed, shape=(40, 48), missing=False):
    rng = np.random.default_rng(seed)
    planes = rng.integers(0, 1000, (2, *shape)).astype(np.uint16)
    stains = np.stack([planes[0] * 2.0 + 5, planes.mean(0)]).astype(np.float32)
    if missing:
        stains[1] = np.nan
    return PairedField(f"field {seed}", planes, stains)


def pairs(*fields, outputs=None):
    return pair_up(
        fields, input_rule=Rule(), output_rule=Rule(clip_sd=None), stain_names=("a", "b"),
        outputs=outputs,
    )  # fmt: skip
