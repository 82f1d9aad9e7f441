"""A classifier that has learnt in seconds which stain a crop of a simulated field shows."""

from __future__ import annotations

import numpy as np
import torch

from napari_virtualstain.encoders.card import EncoderCard, EncoderChannel
from napari_virtualstain.encoders.classifier import ClassifierSettings
from napari_virtualstain.encoders.learning import Labelled
from napari_virtualstain.encoders.package import save_encoder
from napari_virtualstain.encoders.registry import build_encoder
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.origin import TrainingReport
from napari_virtualstain.losses.descent import Moment

CROP = 48
SIZES = {"ndim": 2, "blocks": (1, 1, 1), "width": 8, "bottleneck": False}


def card_of(names, normalisations=None, *, encoder="resnet", sizes=None, **changed):
    """The card of a classifier of stains, each of which goes through by itself."""
    norms = normalisations or [None] * len(names)
    values = {
        "name": "which", "encoder": encoder, "architecture": sizes or SIZES, "in_channels": 1,
        "per_channel": True, "label": "channel", "classes": tuple(names), "crop_px": (CROP, CROP),
        "channels": tuple(
            EncoderChannel(name=name, normalisation=norm)
            for name, norm in zip(names, norms, strict=True)
        ),
        "training": TrainingReport(
            recipe="test", data="simulated", n_fields=2, n_validation_fields=0, steps=0, seed=0,
            loss="cross-entropy",
        ),
    }  # fmt: skip
    return EncoderCard(**{**values, **changed})


def train_structure_classifier(path, stacks, names, *, steps=80):
    """Train on stains (C, Y, X) of some fields, and write the folder of the encoder."""
    means = [float(np.mean([s[c].mean() for s in stacks])) for c in range(len(names))]
    spreads = [float(np.mean([s[c].std() for s in stacks])) for c in range(len(names))]
    norms = [Normalisation(offset=m, scale=s) for m, s in zip(means, spreads, strict=True)]
    given = [np.stack([n.apply(p) for n, p in zip(norms, s, strict=True)]) for s in stacks]
    encoder = build_encoder("resnet", in_channels=1, classes=len(names), architecture=SIZES, seed=0)
    encoder.module().train()
    learner = encoder.learner(ClassifierSettings(learning_rate=3e-3))
    rng, said = np.random.default_rng(0), {}
    for step in range(steps):
        which, crops = rng.integers(0, len(names), 20), []
        for c in which:
            field = given[rng.integers(len(given))][c]
            y, x = rng.integers(0, field.shape[0] - CROP + 1, 2)
            crop = np.rot90(field[y : y + CROP, x : x + CROP], rng.integers(4))
            crops.append(crop[:, :: rng.choice([-1, 1])].copy())
        batch = Labelled(torch.from_numpy(np.stack(crops)[:, None]), torch.from_numpy(which))
        said = learner.step(batch, Moment(step=step, epoch=0.0))
    encoder.module().eval()
    save_encoder(path, card_of(names, norms), encoder, given[0][:1, None, :CROP, :CROP])
    return said
