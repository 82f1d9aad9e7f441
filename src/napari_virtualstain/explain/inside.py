"""What happens inside a generator? Whom its pixels ask, and how its norms are told of the planes.

A fused attention gives no weights, so questions and keys of a layer are caught on their way, and
no more than the rows that are asked for are made of them: softmax(q . k / sqrt(d)) of one place, or
block by block of rows where their mean is wanted (A. Vaswani et al. 2017, arXiv:1706.03762,
equation 1). Of SPADE (arXiv:1903.07291, equation 2) scale gamma and offset beta are read from what
the layer is given. Nothing of the network is changed.

A model that draws is asked at every step of a walk. Its x at some steps is kept, and the network
asked about it once more: so the same x can be shown to a network of random weights.

Letters: H heads, (G, F) the grid of a layer, N = G F its places.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_virtualstain.diffusion.noise_schedule import StepTime
from napari_virtualstain.explain.probe import Planes
from napari_virtualstain.generators.sampled import SampledGenerator, Sampling, walked
from napari_virtualstain.nets.guided_attention import SelfAttention
from napari_virtualstain.nets.spade import Spade

__all__ = [
    "KINDS",
    "InnerLayer",
    "Moment",
    "Subject",
    "attention_of_place",
    "attention_received",
    "first_moments",
    "inner_layers",
    "modulation",
    "module_of",
    "moments_of",
    "seen",
]  # fmt: skip

Map = NDArray[np.float32]
Subject = nn.Module | SampledGenerator
"""A network that is one pass, or a generator that walks."""
Part = Literal["once", "given", "step", "painted"]
"""What of a generator is asked: all of one that is one pass; else what comes before the steps, a
step, or what comes behind them."""

KINDS: dict[str, type[nn.Module]] = {"attention": SelfAttention, "spade": Spade}
"""Layers that can be looked at."""

_BLOCK_BYTES = 1 << 26
"""Of the rows of attention that are held at once."""
_WHEN: dict[Part, str] = {
    "once": "", "given": ", before the steps", "step": ", at every step",
    "painted": ", behind the steps",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerLayer:
    """A layer that can be looked at.

    Parameters
    ----------
    name
        In the module.
    part
        In which it lies.
    px
        Edge in pixels of the planes that one place of it stands for.
    heads
        Of an attention; 0 of SPADE.
    """

    name: str
    part: Part
    px: int
    heads: int

    def words(self) -> str:
        """Say it."""
        heads = "" if not self.heads else f"{self.heads} head{'s' * (self.heads > 1)}, "
        return f"{self.name}: {heads}one value per {self.px} px{_WHEN[self.part]}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moment:
    """One time that a part of a generator is asked.

    Parameters
    ----------
    part
        Which.
    ask
        Asks a subject: the one itself, or one of other weights.
    width
        Of the planes in pixels.
    step, steps
        Which step, from 1, of how many; 0 where it is none.
    """

    part: Part
    ask: Callable[[Subject], object]
    width: int
    step: int = 0
    steps: int = 0


def module_of(subject: Subject) -> nn.Module:
    """Return all that has weights."""
    return subject if isinstance(subject, nn.Module) else subject.module()


def first_moments(subject: Subject, planes: Planes, how: Sampling) -> list[Moment]:
    """Return one moment of each part, in order, without a walk.

    Parameters
    ----------
    subject
        For evaluation.
    planes
        Normalised (P, Y, X). What depends on planes alone is as it is in any walk.
    how
        Of a walk.
    """
    tensor, width = _tensor(subject, planes), planes.shape[-1]
    if isinstance(subject, nn.Module):
        return [Moment(part="once", ask=lambda one: cast(nn.Module, one)(tensor), width=width)]
    with torch.inference_mode():
        given = subject.given(tensor)
        x = torch.zeros((1, subject.x_channels, *given.shape[2:]), device=given.device)
    step = _step(x, given, subject.rule(how).prepare(0), how, width)
    return [_before(tensor, width), step, _behind(x, width)]


def moments_of(
    subject: Subject,
    planes: Planes,
    how: Sampling,
    *,
    seed: int,
    shown: Collection[int],
    on_step: Callable[[int, int], None] | None = None,
) -> list[Moment]:
    """Return the moments of a walk: what comes before it, some steps, and what comes behind it.

    Parameters
    ----------
    subject, planes, how
        See `first_moments`; a subject that does not walk has one moment.
    seed
        Of the noise.
    shown
        Numbers of steps, from 1.
    on_step
        Told of steps done. What it raises ends the walk.
    """
    if isinstance(subject, nn.Module):
        return first_moments(subject, planes, how)
    tensor, width = _tensor(subject, planes), planes.shape[-1]
    asked: list[tuple[int, torch.Tensor, StepTime]] = []
    number = 0

    def keep(x: torch.Tensor, time: StepTime) -> None:
        nonlocal number
        number += 1
        if number in shown:
            asked.append((number, x.clone(), time))

    given, x = walked(subject, planes[None], how, seed=seed, on_ask=keep, on_step=on_step)
    steps = [_step(one, given, time, how, width, n, number) for n, one, time in asked]
    return [_before(tensor, width), *steps, _behind(x, width)]


def inner_layers(
    subject: Subject, moments: Sequence[Moment], kind: type[nn.Module]
) -> tuple[InnerLayer, ...]:
    """Return the layers of a kind, in the order in which they are computed.

    Parameters
    ----------
    subject
        Whose.
    moments
        One of each part.
    kind
        Of `KINDS`.
    """
    found: dict[str, InnerLayer] = {}
    names = {
        part: name for name, part in module_of(subject).named_modules() if isinstance(part, kind)
    }

    def note(moment: Moment) -> Any:
        def hook(layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            px = moment.width // given[0].shape[-1]
            # A GuidedUNet's and a KL autoencoder's: heads are the second axis of the questions.
            heads = layer.asked(given[0])[0].shape[1] if isinstance(layer, SelfAttention) else 0
            one = InnerLayer(name=names[layer], part=moment.part, px=px, heads=heads)
            found.setdefault(one.name, one)

        return hook

    for moment in moments:
        hooks = [layer.register_forward_pre_hook(note(moment)) for layer in names]
        try:
            with torch.inference_mode():
                moment.ask(subject)
        finally:
            for handle in hooks:
                handle.remove()
    return tuple(found.values())


class _Seen(Exception):  # noqa: N818 (ends a pass that has shown what is wanted)
    """What a layer was given is known."""


def seen(
    subject: Subject, moment: Moment, layer: str
) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Return a layer, and what it is given first in a moment; the rest is not computed.

    Parameters
    ----------
    subject
        Whose.
    moment
        In which.
    layer
        Name of an `InnerLayer` that is asked in it.
    """
    part = module_of(subject).get_submodule(layer)
    kept: list[tuple[torch.Tensor, ...]] = []

    def hook(_module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        kept.append(given)
        raise _Seen

    handle = part.register_forward_pre_hook(hook)
    try:
        with torch.inference_mode():
            moment.ask(subject)
    except _Seen:
        pass
    finally:
        handle.remove()
    return part, kept[0]


def attention_of_place(subject: Subject, moment: Moment, layer: str, place: tuple[int, int]) -> Map:
    """Return to what a place attends, head by head: (H, G, F), each head sums to 1.

    Parameters
    ----------
    subject, moment, layer
        See `seen`.
    place
        Row and column on the grid of the layer.
    """
    query, key, grid = _asked(subject, moment, layer)
    at = place[0] * grid[1] + place[1]
    with torch.inference_mode():
        return _on_grid(_rows(query[:, at : at + 1], key)[:, 0], grid)


def attention_received(
    subject: Subject, moment: Moment, layer: str, *, block_bytes: int = _BLOCK_BYTES
) -> Map:
    """Return how much all places attend to each, head by head: (H, G, F), each head sums to 1.

    Parameters
    ----------
    subject, moment, layer
        See `seen`.
    block_bytes
        Of the rows of attention that are held at once; the whole matrix never is.
    """
    query, key, grid = _asked(subject, moment, layer)
    heads, places, _ = query.shape
    rows = max(1, block_bytes // (4 * heads * places))
    total = torch.zeros((heads, places), dtype=torch.float64)
    with torch.inference_mode():
        for first in range(0, places, rows):
            found = _rows(query[:, first : first + rows], key).sum(dim=1)
            total += found.double().cpu()
        return _on_grid(total / places, grid)


def modulation(subject: Subject, moment: Moment, layer: str) -> tuple[Map, Map]:
    """Return how far SPADE scales and shifts each place: RMS over channels of gamma and of beta.

    Parameters
    ----------
    subject, moment, layer
        See `seen`.

    Returns
    -------
    tuple
        Two maps (G, F), not negative. A norm is multiplied by 1 + gamma, so that 0 is as it was.
    """
    part, given = seen(subject, moment, layer)
    spade = cast(Spade, part)
    with torch.inference_mode():
        hidden = spade.mlp_shared(given[1])
        gamma, beta = (
            read(hidden)[0].float().square().mean(dim=0).sqrt().cpu().numpy()
            for read in (spade.mlp_gamma, spade.mlp_beta)
        )
    return gamma, beta


# --- what they share ------------------------------------------------------------------------------


def _asked(
    subject: Subject, moment: Moment, layer: str
) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int]]:
    """Return questions and keys (H, N, d), and the grid."""
    part, given = seen(subject, moment, layer)
    with torch.inference_mode():
        query, key, _ = cast(SelfAttention, part).asked(given[0])
    height, width = given[0].shape[-2:]
    return query[0].float(), key[0].float(), (height, width)


def _rows(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Return rows of attention (H, R, N) of questions (H, R, d)."""
    return torch.softmax(query @ key.transpose(1, 2) * query.shape[-1] ** -0.5, dim=-1)


def _on_grid(values: torch.Tensor, grid: tuple[int, int]) -> Map:
    found: Map = values.reshape(-1, *grid).float().cpu().numpy()
    return found


def _tensor(subject: Subject, planes: Planes) -> torch.Tensor:
    parameter = next(module_of(subject).parameters())
    return torch.from_numpy(np.ascontiguousarray(planes[None])).to(parameter)


def _before(planes: torch.Tensor, width: int) -> Moment:
    return Moment(
        part="given", ask=lambda one: cast(SampledGenerator, one).given(planes), width=width
    )


def _step(
    x: torch.Tensor, given: torch.Tensor, time: StepTime, how: Sampling, width: int,
    step: int = 0, steps: int = 0,
) -> Moment:  # fmt: skip
    return Moment(
        part="step", ask=lambda one: cast(SampledGenerator, one).denoise(x, given, time, how),
        width=width, step=step, steps=steps,
    )  # fmt: skip


def _behind(x: torch.Tensor, width: int) -> Moment:
    return Moment(
        part="painted", ask=lambda one: cast(SampledGenerator, one).painted(x), width=width
    )
