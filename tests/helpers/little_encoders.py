"""Encoders with random weights, in folders like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_virtualstain.encoders.card import EncoderCard, EncoderChannel
from napari_virtualstain.encoders.package import save_encoder
from napari_virtualstain.encoders.registry import build_encoder, get_encoder_spec
from napari_virtualstain.io.origin import TrainingReport

TAUGHT = TrainingReport(
    recipe="none", data="none", n_fields=1, n_validation_fields=0, steps=0, seed=0, loss="none"
)


def write_encoder(
    folder: Path,
    *,
    encoder: str = "dino",
    in_channels: int = 1,
    channels: tuple[str, ...] = ("DNA", "ER"),
    per_channel: bool = True,
    crop: int = 16,
    classes: tuple[str, ...] = (),
    seed: int = 1,
    **card: object,
) -> Path:
    """Write a tiny encoder of crops of some pixels, and return its folder."""
    spec = get_encoder_spec(encoder)
    network = build_encoder(
        encoder, in_channels=in_channels, classes=len(classes), preset="tiny", seed=seed
    )
    pictures = np.random.default_rng(0).normal(size=(2, in_channels, *(crop,) * spec.ndim))
    about = EncoderCard(
        name=folder.name,
        encoder=encoder,
        architecture=dict(spec.presets["tiny"]),
        in_channels=in_channels,
        per_channel=per_channel,
        channels=tuple(EncoderChannel(name=name) for name in channels),
        crop_px=(crop,) * spec.ndim,
        classes=classes,
        training=TAUGHT,
        **card,
    )
    save_encoder(folder, about, network, pictures.astype(np.float32))
    return folder
