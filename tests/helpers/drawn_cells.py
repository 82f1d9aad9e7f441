"""Predicted fields and their bright field, drawn without a model: round cells with all stains and grain."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage

from napari_virtualstain.qc.field import Borders, QcField

STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")
PIXEL_UM = 0.6
EDGE = 256


@cache
def kept_cells(seed):
    """The same, drawn once: to be looked at and not to be written into."""
    return drawn_cells(seed)


def drawn_cells(seed, *, cells=14, edge=EDGE, time=True, planes=3):
    """A field whose stains follow from its bright field, as a good model's would; noise is the field's own."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((edge, edge))
    body, nucleus = np.zeros((edge, edge)), np.zeros((edge, edge))
    placed = []
    for _ in range(400):
        if len(placed) == cells:
            break
        at = rng.uniform(14, edge - 14, 2)
        if all(np.hypot(*(at - other)) > 34 for other in placed):
            placed.append(at)
    for at in placed:
        far = np.hypot(y - at[0], x - at[1])
        body = np.maximum(body, 1 / (1 + np.exp((far - rng.uniform(15, 18)) / 1.0)))
        nucleus = np.maximum(nucleus, 1 / (1 + np.exp((far - rng.uniform(8, 10)) / 0.7)))
    grain = ndimage.gaussian_filter(rng.normal(size=(5, edge, edge)), (0, 1.2, 1.2))
    grain /= grain.std()
    around = np.clip(body - nucleus, 0, 1)
    light = {
        "DNA": nucleus * (1 + 0.15 * grain[0]),
        "ER": around * (0.8 + 0.25 * grain[1]),
        "RNA": body * (0.7 + 0.2 * grain[2]) + 0.3 * nucleus,
        "AGP": body * (0.5 + 0.2 * grain[3]),
        "Mito": around * (0.6 + 0.3 * grain[4]),
    }
    level = rng.uniform(0.97, 1.03)
    stains = {
        name: (100 + level * 400 * np.maximum(p, 0) + rng.normal(0, 1, p.shape)).astype(np.float32)
        for name, p in light.items()
    }
    phase = 0.5 * body + nucleus
    bend = ndimage.laplace(ndimage.gaussian_filter(phase, 1.5))
    rough = body * ndimage.gaussian_filter(rng.normal(size=phase.shape), 1.5)
    bright = [
        8000 * (1 + 0.7 * sign * bend + (0.25 + 0.1 * abs(sign)) * rough - 0.05 * nucleus)
        + rng.normal(0, 60, phase.shape)
        for sign in ((-1, 0, 1) if planes == 3 else (1,))
    ]
    before = {n: p + rng.normal(0, 1, p.shape).astype(np.float32) for n, p in stains.items()}
    return QcField(
        stains=stains, planes=np.stack(bright).astype(np.float32), pixel_um=PIXEL_UM,
        borders=Borders(y=(edge // 2,), x=(edge // 2,)), before=before if time else None,
    )  # fmt: skip
