"""Weights of the semantic diffusion model (SPADE-diffusion): ``model{step}.pt``, ``ema_*.pt``.

W. Wang et al. 2022, arXiv:2207.00050. The file is the weights alone, under the names of guided
diffusion, with SPADE in the norms of the middle and the way up. Its map, there of classes, is here
of planes; planes that are hidden, which guidance asks for, are zeros, as its training had them. No
schedule is in the file: it is taken to be the published one, of 1000 steps.
"""

from __future__ import annotations

from napari_virtualstain.errors import ModelPackageError
from napari_virtualstain.generators.importers.base import Defaults, Found
from napari_virtualstain.generators.importers.guided_sizes import GROUPS, NOT_SAID, unet_sizes
from napari_virtualstain.nets.published import Content, Format, State

__all__ = ["SDM"]

_MAP = "middle_block.0.in_norm.mlp_shared.0.weight"
_HEAD = 64
"""Channels of a head of attention, as published; shapes do not say it."""


def _fits(state: State) -> bool:
    return "time_embed.0.weight" in state and any(".in_norm.mlp_gamma" in name for name in state)


def _read(content: Content) -> Found:
    state = content.state
    stains, told = int(state["out.2.weight"].shape[0]), int(state[_MAP].shape[1])
    seen = int(state["input_blocks.0.0.weight"].shape[1])
    if stains != 2 * seen:
        raise ModelPackageError(
            f"This looks like SDM, and answers {stains} channels to {seen} noisy ones: it was "
            "trained without a learnt variance (--learn_sigma), which this version cannot run. "
            "Import a checkpoint that learns it."
        )
    sizes = unet_sizes(state)
    return Found(
        format="SDM (SPADE diffusion)",
        generator="spade_diffusion",
        architecture={
            **sizes.plain(), "attention": sizes.attention, "groups": GROUPS, "head_channels": _HEAD,
            "middle_attention": "middle_block.1.qkv.weight" in state,
            "map_hidden": int(state[_MAP].shape[0]), "hidden": 0.0,
        },
        in_channels=told,
        out_channels=seen,
        state=state,
        defaults=Defaults(
            title="SPADE-diffusion (semantic diffusion model)",
            citation="W. Wang et al. 2022, arXiv:2207.00050",
            limits=(
                f"{NOT_SAID}, of planes and stains.",
                (
                    "On which noise it was trained is not in the file; taken to be the published "
                    "schedule of 1000 steps."
                ),
                (
                    "Guidance hides planes by zeros, as its training did, which are also what a "
                    "field without cells is: look at such a field before you guide."
                ),
            ),
        ),
    )  # fmt: skip


SDM = Format(name="SDM (SPADE diffusion)", fits=_fits, read=_read)
