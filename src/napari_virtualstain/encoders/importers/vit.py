"""Weights of DINO and of what came of it: vision transformers under DINO's and timm's names.

===================  ====================================================  ======================
file                 what is in it                                         what it was given
===================  ====================================================  ======================
DINO, backbone       a flat state dict, as timm has it too                 RGB, ImageNet
DINO, full           student, teacher, ``args``, ...; the teacher is kept  RGB, ImageNet
WS-DINO              the same, ``args`` names a weak label                 one channel, three times
multi-channel DINO   the same, another number of channels                  all channels together
===================  ====================================================  ======================

Caron et al. 2021, arXiv:2104.14294; Cross-Zamirski et al. 2022, arXiv:2209.07819. All sizes are
read from shapes; a head has 64 features in everything that was published.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

from napari_virtualstain.encoders.importers.base import FoundEncoder, plain
from napari_virtualstain.errors import ModelPackageError
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.nets.published import Content, Format, State, count_of

__all__ = ["VIT"]

_FIRST = "patch_embed.proj.weight"
_PREFIXES = ("module.", "model.", "backbone.")
_HEAD_DIM = 64
_RGB = 3
_SIZES = {192: "Ti", 384: "S", 768: "B", 1024: "L"}
_DINO = "Caron et al. 2021, arXiv:2104.14294"
_CUT_OFF = 10000.0
"""Grey value at which WS-DINO's code clips, and by which it divides."""


def _backbone(state: State) -> State:
    return plain(state, _PREFIXES, without="head.")


def _fits(state: State) -> bool:
    named = _backbone(state)
    return _FIRST in named and "cls_token" in named


def _read(content: Content) -> FoundEncoder:
    if content.under == "student":
        raise ModelPackageError(
            "This looks like a checkpoint of DINO with a student and no teacher, whose weights are "
            "those that see. Import the checkpoint as the training wrote it."
        )
    state = _backbone(content.state)
    dim, channels, patch, across = state[_FIRST].shape
    tokens = int(state["pos_embed"].shape[1]) - 1
    grid = isqrt(tokens)
    if patch != across or grid * grid != tokens or dim % _HEAD_DIM:
        raise ModelPackageError(
            f"This looks like a vision transformer with patches of {patch} x {across} px, {tokens} "
            f"places and {dim} features, and this version runs those with square patches, places "
            f"in a square and {_HEAD_DIM} features a head. Import another checkpoint."
        )
    named = f"ViT-{_SIZES.get(dim, dim)}/{patch}"
    sizes = {
        "patch": patch, "dim": dim, "depth": count_of(state, "blocks."),
        "heads": dim // _HEAD_DIM, "image": grid * patch, **_head_sizes(content.state),
    }  # fmt: skip
    shared: dict[str, Any] = {
        "encoder": "dino", "architecture": sizes, "in_channels": channels, "state": state,
        "first": _FIRST, "crop_px": (grid * patch, grid * patch),
    }  # fmt: skip
    epoch = content.beside.get("epoch")
    data = f"not known; epoch {epoch}" if isinstance(epoch, int) else "not known"
    weak = getattr(content.beside.get("args"), "weak_label_header", None)
    if isinstance(weak, str):
        return FoundEncoder(
            **{**shared, "encoder": "wsdino"},
            format=f"WS-DINO ({named})",
            repeated=True,
            title=f"WS-DINO, {named}",
            normalisation=Normalisation(scale=_CUT_OFF, high=1.0),
            label=weak,
            data=data,
            citation="Cross-Zamirski et al. 2022, arXiv:2209.07819",
            limits=(
                "Its makers trained one network a channel, and the file does not say for which.",
            ),
            grey_values=f"Grey values above {_CUT_OFF:.0f} are clipped and all are divided by it, "
            "as published: images of another camera are other pictures to it.",
        )
    if channels in (1, _RGB):
        return FoundEncoder(
            **shared,
            format=f"DINO ({named})" if content.under else f"vision transformer ({named})",
            title=f"DINO, {named}",
            data=f"{data}; as published, ImageNet",
            citation=_DINO,
            grey_values="As published it saw photographs, normalised by the mean and SD of all of "
            "them; here each channel of each picture is brought to mean 0 and SD 1.",
        )
    return FoundEncoder(
        **shared,
        format=f"multi-channel DINO ({named}, {channels} channels)",
        title=f"Multi-channel DINO, {named}",
        normalisation=Normalisation(scale=255.0),
        data=data,
        citation=_DINO,
        grey_values="Grey values are divided by 255, as published, which is right for 8 bit only: "
        "of 16-bit images it sees values up to 257. Import it with --normalise zscore for those.",
    )


def _head_sizes(state: State) -> dict[str, int]:
    """Return the sizes of the head, which is dropped, for whoever trains it further."""
    inner = next((v for k, v in state.items() if k.endswith("head.mlp.0.weight")), None)
    last = next((v for k, v in state.items() if k.endswith("head.last_layer.weight_v")), None)
    if inner is None or last is None:
        return {}
    prototypes, bottleneck = last.shape
    return {"prototypes": prototypes, "hidden": int(inner.shape[0]), "bottleneck": bottleneck}


VIT = Format(name="DINO, WS-DINO and other vision transformers", fits=_fits, read=_read)
