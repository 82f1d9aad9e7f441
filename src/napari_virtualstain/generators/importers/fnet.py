"""Weights of pytorch_fnet: ``model.p`` with ``nn_state`` beside the name of its module.

Ounkomol et al. 2018, doi:10.1038/s41592-018-0111-2.
"""

from __future__ import annotations

from napari_virtualstain.generators.importers.base import Defaults, Found
from napari_virtualstain.intensity import Rule
from napari_virtualstain.nets.published import Content, Format, State, with_counters

__all__ = ["FNET"]

_FIRST = "net_recurse.sub_2conv_more.conv1.weight"


def _fits(state: State) -> bool:
    return _FIRST in state


def _read(content: Content) -> Found:
    state = with_counters(content.state)
    first, last = state[_FIRST], state["conv_out.weight"]
    ndim, depth = first.ndim - 2, 0
    while f"net_recurse.{'sub_u.' * (depth + 1)}sub_2conv_more.conv1.weight" in state:
        depth += 1
    steps = content.beside.get("count_iter")
    return Found(
        format="fnet (nn_state)",
        generator="fnet" if ndim == 3 else "fnet2d",
        architecture={"ndim": ndim, "depth": depth, "width": int(first.shape[0])},
        in_channels=int(first.shape[1]),
        out_channels=int(last.shape[0]),
        state=state,
        volume=ndim == 3,
        steps=steps if isinstance(steps, int) else 0,
        defaults=Defaults(
            title=f"fnet over {'volumes' if ndim == 3 else 'planes'}",
            input_rule=Rule(clip_sd=None),
            citation="Ounkomol et al. 2018, Nat. Methods 15, 917, doi:10.1038/s41592-018-0111-2",
        ),
    )


FNET = Format(name="fnet", fits=_fits, read=_read)
