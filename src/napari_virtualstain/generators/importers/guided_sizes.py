"""How large is a network of guided diffusion? Names and shapes of its weights say it.

Of the U-Net that all systems share (`nets.guided_unet`), and of the way down alone, which a
classifier is. A block that halves a size has the names and, where no width changes, the shapes of
any other; so of a U-Net the way up is asked, where a stage that doubles has one block more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_virtualstain.nets.published import State, count_of

__all__ = ["GROUPS", "NOT_SAID", "Sizes", "encoder_sizes", "unet_sizes"]

GROUPS = 32
"""Of all published norms; shapes do not say it."""

NOT_SAID = (
    "How its images were normalised is not in the file; taken to be the z-score of each image"
)
"""What a card says of all of them, to be ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What `nets.guided_unet.GuidedUNet` is built with.

    Parameters
    ----------
    width, multipliers, blocks
        Of the network.
    attention
        Behind the blocks of which sizes, as how many pixels are one there.
    """

    width: int
    multipliers: list[int]
    blocks: int
    attention: list[int]

    def plain(self) -> dict[str, Any]:
        """Return the sizes of a network whose only attention is in the middle."""
        return {"width": self.width, "multipliers": self.multipliers, "blocks": self.blocks}


def unet_sizes(state: State) -> Sizes:
    """Return the sizes of a whole U-Net.

    Raises
    ------
    KeyError, ZeroDivisionError
        If a part that tells them is missing.
    """
    stages = count_of(state, "output_blocks.")
    doubling = next((n for n in range(stages) if _blocks_in(state, n) > 1), stages - 1)
    return _sizes(state, blocks=doubling, sizes=stages // (doubling + 1))


def encoder_sizes(state: State) -> Sizes:
    """Return the sizes of a way down whose second size is wider than the first.

    Raises
    ------
    KeyError
        If a part that tells them is missing.
    """
    count = count_of(state, "input_blocks.")
    widths = [_width(state, n) for n in range(1, count)]
    wider = next((n for n, w in enumerate(widths) if w != widths[0]), len(widths))
    blocks = max(1, wider - 1) if wider < len(widths) else len(widths)
    return _sizes(state, blocks=blocks, sizes=(len(widths) + 1) // (blocks + 1))


def _sizes(state: State, *, blocks: int, sizes: int) -> Sizes:
    # A size begins behind the block that halves the one before.
    first = [1 + level * (blocks + 1) for level in range(sizes)]
    width = int(state["input_blocks.0.0.weight"].shape[0])
    return Sizes(
        width=width,
        multipliers=[_width(state, n) // width for n in first],
        blocks=blocks,
        attention=[2**k for k, n in enumerate(first) if f"input_blocks.{n}.1.qkv.weight" in state],
    )


def _width(state: State, stage: int) -> int:
    return int(state[f"input_blocks.{stage}.0.out_layers.3.weight"].shape[0])


def _blocks_in(state: State, stage: int) -> int:
    return sum(f"output_blocks.{stage}.{k}.emb_layers.1.weight" in state for k in range(3))
