"""How do several devices teach one network? Each takes its share of a batch; gradients are added.

One learner (`generators.learning`) a device, in a thread of its own, with the same weights. Before
weights move, each has the sum of all gradients, so that they stay the same without being sent.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, BrokenBarrierError

import torch
from torch import nn

from napari_virtualstain.generators.base import Generator
from napari_virtualstain.generators.learning import Batch, LearningSettings
from napari_virtualstain.losses.descent import Learner, Moment

__all__ = ["Together", "make_learner"]


def make_learner(
    generator: Generator, settings: LearningSettings, devices: Sequence[str]
) -> Learner:
    """Return what teaches a generator on one device or on several.

    Parameters
    ----------
    generator
        Its module is moved to the first device.
    settings
        Of the method.
    devices
        Torch devices, of one kind where there are several.
    """
    generator.module().to(devices[0])
    if len(devices) == 1:
        return generator.learner(settings)
    others = [copy.deepcopy(generator) for _ in devices[1:]]
    for other, device in zip(others, devices[1:], strict=True):
        other.module().to(device)
    return Together([one.learner(settings) for one in (generator, *others)], devices)


class Together:
    """Learners of equal networks that learn as one; a `Learner` itself.

    Parameters
    ----------
    learners
        One a device; the first has the weights that are kept, examined and resumed from.
    devices
        Where each computes.

    Notes
    -----
    Statistics of BatchNorm are those of a device's own share, as with any other data parallelism,
    and the running ones those of the first: give each device a share of several patches. Losses
    with missing stains are means over a share, as they are over the parts of a batch.
    """

    def __init__(self, learners: Sequence[Learner], devices: Sequence[str]) -> None:
        self._learners, self._devices = list(learners), list(devices)
        self.networks: Mapping[str, nn.Module] = learners[0].networks
        self.optimisers: Mapping[str, torch.optim.Optimizer] = learners[0].optimisers
        self._alike = False

    def step(self, batch: Batch, moment: Moment) -> dict[str, float]:
        """Learn from a batch; see `losses.descent.Learner.step`."""
        if not self._alike:  # a resumed training has given the first what it had
            self._make_alike()
        shares = self._shares(batch)
        learners = self._learners[: len(shares)]
        addition = _Addition(len(shares))

        def teach(place: int) -> dict[str, float]:
            try:
                return learners[place].step(
                    shares[place], replace(moment, add_up=addition.of(place))
                )
            except BaseException:
                addition.give_up()
                raise

        self._follow_rates()
        with ThreadPoolExecutor(len(shares)) as pool:
            running = [pool.submit(teach, place) for place in range(len(shares))]
        errors = [error for one in running if (error := one.exception()) is not None]
        if errors:  # not that another one waited in vain
            raise next((e for e in errors if not isinstance(e, BrokenBarrierError)), errors[0])
        # Those without a share (a batch smaller than the number of devices) catch up next time.
        self._alike = len(shares) == len(self._learners)
        said = [one.result() for one in running]
        # A share without a measured stain says nothing of what was measured.
        names = dict.fromkeys(name for one in said for name in one)
        return {name: sum(one.get(name, 0.0) for one in said) for name in names}

    def _shares(self, batch: Batch) -> list[Batch]:
        """Part a batch into one for each device, as equal as can be."""
        n = len(batch.planes)
        count = min(n, len(self._devices))
        ends = [round(n * part / count) for part in range(count + 1)]
        return [
            replace(
                batch,
                planes=batch.planes[start:end].to(device),
                stains=batch.stains[start:end].to(device),
                labels=None if batch.labels is None else batch.labels[start:end].to(device),
                whole=n,
            )
            for start, end, device in zip(ends, ends[1:], self._devices, strict=False)
        ]  # fmt: skip

    def _make_alike(self) -> None:
        first, *others = self._learners
        for other in others:
            for name, network in first.networks.items():
                other.networks[name].load_state_dict(network.state_dict())
                other.networks[name].train(network.training)
            for name, optimiser in first.optimisers.items():
                # A copy: a state that is on the right device already would be shared.
                other.optimisers[name].load_state_dict(copy.deepcopy(optimiser.state_dict()))

    def _follow_rates(self) -> None:
        first, *others = self._learners
        for name, optimiser in first.optimisers.items():
            for other in others:
                for own, theirs in zip(
                    optimiser.param_groups, other.optimisers[name].param_groups, strict=True
                ):
                    theirs["lr"] = own["lr"]


class _Addition:
    """Sums of gradients that threads have part of; all get the same bits."""

    def __init__(self, count: int) -> None:
        self._barrier = Barrier(count)
        self._parts: list[list[torch.Tensor]] = [[] for _ in range(count)]

    def give_up(self) -> None:
        """Let nobody wait for a thread that failed."""
        self._barrier.abort()

    def of(self, place: int) -> Callable[[list[torch.Tensor]], None]:
        """Return what replaces the gradients of one thread by the sum of all."""

        def add_up(gradients: list[torch.Tensor]) -> None:
            self._parts[place] = gradients
            self._barrier.wait()
            if place == 0:
                with torch.no_grad():
                    for same in zip(*self._parts, strict=True):
                        total = same[0]
                        for other in same[1:]:
                            total += other.to(total.device)
                        for other in same[1:]:
                            other.copy_(total)
            self._barrier.wait()

        return add_up
