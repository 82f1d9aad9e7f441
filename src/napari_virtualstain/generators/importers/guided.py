"""Weights of Palette and of class-guided image-to-image diffusion: ``{epoch}_Network.pth``.

Both public codes keep the network under ``denoise_fn.``, and the tables of the schedule that it was
trained on beside it. The tables are dropped, since ours are made anew in float64; where they are
others than those of the paper, the card says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_virtualstain.diffusion.noise_schedule import SCHEDULES, alphas_cumprod
from napari_virtualstain.generators.card import LabelKind
from napari_virtualstain.generators.importers.base import Defaults, Found
from napari_virtualstain.generators.importers.guided_sizes import GROUPS, NOT_SAID, unet_sizes
from napari_virtualstain.intensity import Rule
from napari_virtualstain.nets.published import Content, Format, State

__all__ = ["GUIDED"]

_BEFORE = "denoise_fn."
_LABELS = "label_emb.weight"


def _plain(state: State) -> State:
    """Return the weights of the network under its own names, and nothing else."""
    return {k.removeprefix(_BEFORE): v for k, v in state.items() if k.startswith(_BEFORE)}


def _fits(state: State) -> bool:
    names = ("cond_embed.0.weight", "input_blocks.0.0.weight", "out.2.weight")
    return all(_BEFORE + name in state for name in names)


def _read(content: Content) -> Found:
    state = _plain(content.state)
    stains = int(state["out.2.weight"].shape[0])
    classes = int(state[_LABELS].shape[0]) if _LABELS in state else 0
    schedule, said = _schedule(content.state)
    architecture: dict[str, Any] = {
        **unet_sizes(state).plain(), "groups": GROUPS,
        "middle_attention": "middle_block.1.qkv.weight" in state, "schedule": schedule,
    }  # fmt: skip
    if classes:
        architecture |= {"classes": [classes], "clip": [-15.0, 15.0]}
    name = "Class-guided image-to-image diffusion" if classes else "Palette"
    return Found(
        format=f"{name} (denoise_fn)",
        generator="guided_i2i" if classes else "palette",
        architecture=architecture,
        in_channels=int(state["input_blocks.0.0.weight"].shape[1]) - stains,
        out_channels=stains,
        state=state,
        labels=_numbered(classes),
        defaults=Defaults(
            title=name,
            input_rule=Rule(),
            citation="Saharia et al. 2022, arXiv:2111.05826",
            limits=(
                *said,
                f"{NOT_SAID}, as class-guided image-to-image has it.",
            ),
        ),
    )


def _schedule(state: State) -> tuple[str, tuple[str, ...]]:
    """Return the schedule that the tables beside a network are of, and what the card says of it."""
    if "gammas" not in state:
        return "palette", ()
    levels = state["gammas"].double().numpy()
    for name in SCHEDULES:
        known = alphas_cumprod(name)
        if known.shape == levels.shape and np.allclose(known, levels, rtol=1e-3, atol=1e-7):
            return name, ()
    said = (
        f"The file holds another noise schedule, of {len(levels)} steps, which was dropped: stains "
        "are drawn on that of the paper."
    )
    return "palette", (said,)


def _numbered(classes: int) -> tuple[LabelKind, ...]:
    """Return classes whose names are not in the file."""
    if not classes:
        return ()
    return (LabelKind(name="class", classes=tuple(str(n) for n in range(classes))),)


GUIDED = Format(name="Palette, class-guided image-to-image diffusion", fits=_fits, read=_read)
