"""Weights of BBDM, a Brownian bridge in pixels: ``latest_model_{epoch}.pth``, ``top_model_*.pth``.

Li et al. 2023, arXiv:2205.07680. The file holds ``model`` and, once the training has begun to
average, ``ema``, which is what its code draws with and is taken here. Tables of the bridge lie
among the weights of ``model``: the variance is read from them; those of another bridge are dropped,
and the card says so. Published networks lead from a picture of as many channels, without a first
prediction (``first_width`` 0 of `generators.bbdm`).

A bridge between latents holds its autoencoder besides, and is not of this format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtualstain.diffusion.bridge import BrownianBridge
from napari_virtualstain.errors import ModelPackageError
from napari_virtualstain.generators.importers.base import Defaults, Found
from napari_virtualstain.generators.importers.guided_sizes import GROUPS, NOT_SAID, unet_sizes
from napari_virtualstain.nets.published import Content, Format, State

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BBDM"]

_BEFORE = "denoise_fn."
_LATENT = "vqgan."
_HEAD = 64
"""Channels of a head of attention, as published; shapes do not say it."""
_TOLERANCE = 1e-4


def _fits(state: State) -> bool:
    return f"{_BEFORE}time_embed.0.weight" in state and not any(
        name.startswith(_LATENT) for name in state
    )


def _read(content: Content) -> Found:
    beside = content.beside.get("model") or {}
    whole: dict[str, Tensor] = {**beside, **content.state}
    if any(name.startswith(_LATENT) for name in whole):
        raise ModelPackageError(
            "This looks like LBBDM (a Brownian bridge between latents), which this version cannot "
            "import yet. `virtualstain models --all` lists the methods that it can run."
        )
    state = {
        f"{_BEFORE}{k.removeprefix(_BEFORE)}": v for k, v in whole.items() if k.startswith(_BEFORE)
    }
    plain = {k.removeprefix(_BEFORE): v for k, v in state.items()}
    stains = int(plain["out.2.weight"].shape[0])
    seen = int(plain["input_blocks.0.0.weight"].shape[1])
    if seen not in {stains, 2 * stains}:
        raise ModelPackageError(
            f"This looks like BBDM, and sees {seen} channels for {stains} that it draws: it is "
            "conditioned by a network that is not in the file. Import one that is not "
            "(condition_key nocond), or that is given the picture itself."
        )
    scale, said = _scale(whole)
    return Found(
        format="BBDM in pixels (a Brownian bridge)",
        generator="bbdm",
        architecture={
            **unet_sizes(plain).plain(), "groups": GROUPS, "head_channels": _HEAD,
            "middle_attention": "middle_block.1.qkv.weight" in plain, "first_width": 0,
            "join_planes": seen == 2 * stains, "scale": scale,
        },
        in_channels=stains,
        out_channels=stains,
        state=state,
        steps=_steps(content.beside),
        defaults=Defaults(
            title="BBDM (a Brownian bridge)",
            citation="Li et al. 2023, arXiv:2205.07680",
            limits=(
                *said,
                f"{NOT_SAID}, of planes and stains.",
                (
                    "What its network predicts is not in the file; taken to be the published "
                    "objective (grad)."
                ),
            ),
        ),
    )  # fmt: skip


def _steps(beside: Any) -> int:
    steps = beside.get("step")
    return steps if isinstance(steps, int) else 0


def _scale(state: State) -> tuple[float, tuple[str, ...]]:
    """Return the scale of the variance, and what the card says of the tables."""
    if "m_t" not in state or "variance_t" not in state:
        return 1.0, ("No table of its bridge is in the file; taken to be the published one.",)
    m, variance = (state[name].double().numpy() for name in ("m_t", "variance_t"))
    scale = round(2 * float(variance.max()), 4) if variance.size else 0.0
    if scale > 0:
        ours = BrownianBridge(scale=scale)
        if m.shape == ours.m.shape and all(
            np.allclose(mine, theirs, atol=_TOLERANCE)
            for mine, theirs in ((ours.m, m), (ours.variance, variance))
        ):
            return scale, ()
    said = (
        f"The file holds another bridge, of {len(m)} steps, which was dropped: stains are drawn on "
        "that of the paper."
    )
    return 1.0, (said,)


BBDM = Format(name="BBDM in pixels (a Brownian bridge)", fits=_fits, read=_read)
