"""Which kinds of encoder there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from napari_virtualstain.encoders.base import Encoder, EncoderSpec
from napari_virtualstain.errors import unknown_name
from napari_virtualstain.nets.building import build

__all__ = ["ENCODERS", "build_encoder", "get_encoder_spec"]

_HERE = "napari_virtualstain.encoders"
_VITS: dict[str, dict[str, Any]] = {
    "paper": {"patch": 8, "dim": 384, "depth": 12, "heads": 6, "image": 224},
    "small": {"patch": 8, "dim": 192, "depth": 6, "heads": 3, "image": 112,
              "prototypes": 4096, "hidden": 512, "bottleneck": 128, "batch_norm": True},
    "little": {"patch": 16, "dim": 96, "depth": 4, "heads": 3, "image": 128,
               "prototypes": 128, "hidden": 256, "bottleneck": 64, "batch_norm": True},
    "tiny": {"patch": 8, "dim": 24, "depth": 2, "heads": 2, "image": 32,
             "prototypes": 32, "hidden": 32, "bottleneck": 16, "batch_norm": True},
}  # fmt: skip
_RESNETS: dict[str, dict[str, Any]] = {
    "resnet50": {"blocks": (3, 4, 6, 3), "width": 64, "bottleneck": True},
    "small": {"blocks": (2, 2, 2, 2), "width": 32, "bottleneck": False},
    "little": {"blocks": (1, 1, 1), "width": 16, "bottleneck": False},
    "tiny": {"blocks": (1, 1), "width": 4, "bottleneck": False},
}

_EFFICIENTNETS: dict[str, dict[str, Any]] = {
    "lite0": {},
    "tiny": {"stages": ((1, 3, 1, 1, 4), (2, 5, 2, 2, 8)), "stem": 4, "head": 16},
}

ENCODERS: dict[str, EncoderSpec] = {
    spec.name: spec
    for spec in (
        EncoderSpec(
            name="dino",
            title="DINO (self-distillation without labels)",
            target=f"{_HERE}.dino:DinoEncoder",
            ndim=2,
            learns="views",
            source="arXiv:2104.14294",
            presets=_VITS,
        ),
        EncoderSpec(
            name="wsdino",
            title="WS-DINO (self-distillation with weak labels)",
            target=f"{_HERE}.dino:WeaklyLabelledDino",
            ndim=2,
            learns="labelled views",
            source="arXiv:2209.07819",
            presets=_VITS,
        ),
        EncoderSpec(
            name="resnet",
            title="ResNet classifier of planes",
            target=f"{_HERE}.resnet:ResNetClassifier",
            ndim=2,
            learns="classes",
            source="doi:10.1109/CVPR.2016.90",
            presets={name: {"ndim": 2, **preset} for name, preset in _RESNETS.items()},
        ),
        EncoderSpec(
            name="resnet3d",
            title="ResNet classifier of volumes",
            target=f"{_HERE}.resnet:ResNetClassifier",
            ndim=3,
            learns="classes",
            source="doi:10.1109/CVPR.2016.90",
            presets={name: {"ndim": 3, **preset} for name, preset in _RESNETS.items()},
        ),
        EncoderSpec(
            name="efficientnet",
            title="EfficientNet-lite classifier of planes",
            target=f"{_HERE}.efficientnet:EfficientNetClassifier",
            ndim=2,
            learns="classes",
            source="arXiv:1905.11946",
            presets=_EFFICIENTNETS,
        ),
    )
}
"""Every encoder that can be trained, by registry name."""


def get_encoder_spec(name: str) -> EncoderSpec:
    """Return the description of an encoder.

    Raises
    ------
    UnknownNameError
        If there is none of that name; the message offers the nearest.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    raise unknown_name("encoder", name, ENCODERS)


def build_encoder(
    name: str,
    *,
    in_channels: int,
    classes: int = 0,
    preset: str | None = None,
    architecture: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Encoder:
    """Build an encoder with random weights, the same for the same seed.

    Parameters
    ----------
    name
        Registry key.
    in_channels
        That go in at once.
    classes
        To tell apart, of a classifier.
    preset
        One of the spec's presets.
    architecture
        Settings that override the preset's; those of a card are complete.
    seed
        Decides the weights; the global random state is left as it was.

    Raises
    ------
    UnknownNameError
        If encoder or preset do not exist.
    SettingsError
        If the architecture has settings that the encoder does not know.
    """
    spec = get_encoder_spec(name)
    built = build(
        spec.target, spec.presets, called=f"encoder {name!r}", preset=preset,
        architecture=architecture, seed=seed, in_channels=in_channels, classes=classes,
    )  # fmt: skip
    return cast(Encoder, built)
