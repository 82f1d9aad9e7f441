"""How an image of any size is stained by a generator that walks from noise to stains.

A walk is one picture from the first step to the last (`inference.stepwise`), so a time
point is drawn as a whole, on the model's grid, and the tiles of the run are cut from what
comes out. What is walked may be smaller than the image (codes): then what comes before and
after it, an encoder and a decoder, goes over tiles of the image. Where a network normalises
by its input, each of these parts and each step has its own statistics of the whole image: of
all of it where that fits into memory, else measured anew before it, and held for all its tiles.

Of several draws only the mean and the spread are kept, not the draws.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_virtualstain.axes import Region
from napari_virtualstain.diffusion.noise_schedule import StepTime
from napari_virtualstain.diffusion.step_rule import Pixels
from napari_virtualstain.errors import ComputeError
from napari_virtualstain.generators.sampled import SampledGenerator, Sampling
from napari_virtualstain.inference.ladder import out_of_memory
from napari_virtualstain.inference.memory import release_freed_memory
from napari_virtualstain.inference.network import PRECISIONS, Network, prepare_network
from napari_virtualstain.inference.norms import (
    exact_statistics,
    joint_statistics,
    patches_over,
    with_statistics,
)
from napari_virtualstain.inference.stainer import Stainer
from napari_virtualstain.inference.stepwise import look_at, pixel_field, sample_tiles
from napari_virtualstain.tiling.plan import Tile, TilePlan, plan_tiles

__all__ = ["SampledStainer", "draw_seed"]

_TIMED = 128
"""Edge in pixels of what is computed to know how long all of it takes."""
_SEEDS_APART = 1 << 32
"""Between two draws of one run, so that neighbouring seeds of runs share none."""


def draw_seed(seed: int, draw: int) -> int:
    """Return the seed of one of the draws of a run; the first has the run's own.

    Examples
    --------
    >>> draw_seed(7, 0), draw_seed(7, 1)
    (7, 4294967303)
    """
    return (seed + draw * _SEEDS_APART) % (1 << 64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampledStainer(Stainer):
    """A `Stainer` whose stains are drawn, a time point at a time.

    Parameters
    ----------
    generator
        Whose weights are where it computes.
    how
        It walks.
    seed, draws
        Of the run; with two draws or more, stains are their mean, followed by their standard
        deviations.
    statistics
        ``"whole"`` or ``"patch"`` for what the network sees at once, ``"frozen"`` or ``"exact"``
        for what is measured before each step, ``""`` where it has no such layers.
    budget
        Bytes of what is kept between two steps that may lie in memory; beyond, in files.
    folder
        For these.
    on_step
        Told what is done differently when memory runs out.

    Attributes
    ----------
    stepping
        Stands for the network of a step where nothing is computed; `typical` for all of a walk.
    """

    generator: SampledGenerator
    how: Sampling
    seed: int = 0
    draws: int = 1
    statistics: str = ""
    budget: int = 1 << 30
    folder: Path | None = None
    on_step: Callable[[str], None] | None = None
    stepping: Network = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stepping", self._outline())

    def rounds(self, tiles: TilePlan) -> int:
        """Return how many forward passes of a tile a time point takes."""
        return self.draws * self.generator.rule(self.how).steps * len(self._tiles(tiles))

    def seconds(self, tiles: TilePlan) -> float:
        """Foresee how long a time point takes, from one pass over a small part.

        Parameters
        ----------
        tiles
            Of the run.
        """
        walker, plan, generator = _Walker(self), self._tiles(tiles), self.generator
        edges = tuple(
            min(-(-_TIMED // step) * step, read)
            for step, read in zip(plan.multiple_of, plan.largest_read, strict=True)
        )
        large = (generator.in_channels, *(edge * generator.shrink for edge in edges))
        given = walker.given(np.zeros(large, np.float32))[None]
        x = np.zeros((1, generator.x_channels, *edges), np.float32)
        time = generator.rule(self.how).prepare(0)
        walker.denoise(x, given, time)  # the first one also builds what later ones find
        began = perf_counter()
        walker.denoise(x, given, time)
        one = perf_counter() - began
        pixels = sum(prod(part.stop - part.start for part in tile.read) for tile in plan)
        return float(one * pixels / prod(edges) * self.rounds(tiles) / len(plan))

    @contextmanager
    def drawn(
        self, t: int, tiles: TilePlan, on_pass: Callable[[int], None] = lambda _done: None
    ) -> Iterator[Callable[[Tile], NDArray[np.float32]]]:
        """Draw a time point; give what returns the normalised stains that `finish` takes.

        Parameters
        ----------
        t
            Time point.
        tiles
            Of the run.
        on_pass
            Told of forward passes done, of `rounds`. What it raises ends the run.
        """
        walker = _Walker(self)
        plan, shape = self._tiles(tiles), self.grid
        outputs = self.generator.out_channels
        small = plan.shape
        with ExitStack() as stack:
            held = self._folder(small, shape)

            def field(channels: int, extent: tuple[int, ...]) -> Pixels:
                return stack.enter_context(pixel_field((channels, *extent), held))

            given = self._given(t, walker, plan, field)
            mean = field(outputs, shape)
            square = field(outputs, shape) if self.draws > 1 else mean
            done = 0
            for draw in range(self.draws):
                with pixel_field((self.generator.x_channels, *small), held) as x:
                    self._walk(walker, plan, given, x, draw, partial(_onwards, on_pass, done))
                    done += self.rounds(tiles) // self.draws
                    for tile, stains in self._painted(walker, plan, x):
                        core = (slice(None), *tile.write)
                        apart = stains - mean[core]
                        mean[core] += apart / (draw + 1)
                        if self.draws > 1:  # Welford's sums, which lose no digits
                            square[core] += apart * (stains - mean[core])

            def cut(tile: Tile) -> NDArray[np.float32]:
                region = tile.write if self.ratios is None else self._on_model_grid(t, tile)[1]
                core = (slice(None), *region)
                if self.draws == 1:
                    return np.array(mean[core])
                spread = np.sqrt(square[core] / (self.draws - 1))
                return np.concatenate([mean[core], spread])

            yield cut

    # --- grids ------------------------------------------------------------------------------------

    def _outline(self) -> Network:
        """Return the network of a step on x's own grid, without weights."""
        if self.generator.shrink == 1:
            return self.typical
        step = self.generator.step_network(self.generator.rule(self.how).prepare(0), self.how)
        return prepare_network(step.to("meta"), device="meta", precision=self.typical.precision)

    def _tiles(self, tiles: TilePlan) -> TilePlan:
        """Return the tiles of x: as those of the run, on the grid that is walked."""
        shrink = self.generator.shrink
        shape = tuple(-(-n // shrink) for n in self.grid)
        core = tuple(
            n if own >= whole else -(-own // shrink)
            for own, whole, n in zip(tiles.core, tiles.shape, shape, strict=True)
        )
        reach = self.stepping.reach
        return plan_tiles(shape, core=core, halo=reach.halo, multiple_of=reach.multiple_of)

    def _large(self, plan: TilePlan, margin: int) -> TilePlan:
        """Return the same tiles on the model's grid, with a margin."""
        shrink = self.generator.shrink
        return plan_tiles(
            self.grid, core=[shrink * n for n in plan.core], halo=margin,
            multiple_of=[shrink * n for n in plan.multiple_of],
        )  # fmt: skip

    def _folder(self, small: tuple[int, ...], shape: tuple[int, ...]) -> Path | None:
        """Return where fields of the whole image lie: `None` for in memory."""
        generator = self.generator
        fields = generator.out_channels * (1 + (self.draws > 1)) * prod(shape)
        needed = 4 * (fields + 4 * generator.x_channels * prod(small))
        if needed <= self.budget:
            return None
        return self.folder or Path(tempfile.gettempdir())

    # --- the three parts of a walk ----------------------------------------------------------------

    def _given(
        self,
        t: int,
        walker: _Walker,
        plan: TilePlan,
        field: Callable[[int, tuple[int, ...]], Pixels],
    ) -> Pixels:
        """Return what each step is conditioned on, of the whole image: (G, *small)."""
        found: Pixels | None = None
        whole = self._large(plan, self.generator.margins[0])
        walker.before_given(whole, lambda region: self.planes(t, region)[None])
        for tile, large in zip(plan, whole, strict=True):
            part = walker.given(self.planes(t, large.read))
            keep = tuple(_shrunk(own, self.generator.shrink) for own in large.keep)
            if found is None:
                found = field(len(part), plan.shape)
            lengths = (own.stop - own.start for own in tile.write)
            inside = tuple(
                slice(own.start, own.start + n) for own, n in zip(keep, lengths, strict=True)
            )
            found[(slice(None), *tile.write)] = part[(slice(None), *inside)]
        assert found is not None
        return found

    def _walk(
        self,
        walker: _Walker,
        plan: TilePlan,
        given: Pixels,
        x: Pixels,
        draw: int,
        on_pass: Callable[[int], None],
    ) -> None:
        """Fill x with the last one of a walk."""

        def read(region: Region) -> Pixels:
            return given[(slice(None), *region)]

        def write(tile: Tile, pixels: Pixels) -> None:
            x[(slice(None), *tile.write)] = pixels

        begins = self.generator.begins_with
        sample_tiles(
            walker.denoise, self.generator.rule(self.how), plan, read, write,
            channels=self.generator.x_channels, seed=draw_seed(self.seed, draw),
            start=None if begins is None else lambda region: given[(begins, *region)],
            budget_bytes=self.budget, folder=self.folder,
            before_step=lambda time, look: walker.before(time, plan, given, look),
            on_tile=lambda done, _total: on_pass(done),
        )  # fmt: skip

    def _painted(self, walker: _Walker, plan: TilePlan, x: Pixels) -> Iterator[tuple[Tile, Pixels]]:
        """Yield tiles on the model's grid, and the stains of each."""
        shrink, (_, after) = self.generator.shrink, self.generator.margins
        if shrink == 1 and not after:
            for tile in plan:
                yield tile, x[(slice(None), *tile.write)]
            return
        near = replace(plan, halo=(-(-after // shrink),) * len(plan.shape))
        walker.before_painted(near, partial(look_at, x))
        for large in self._large(plan, after):
            small = tuple(_shrunk(part, shrink) for part in large.read)
            yield large, walker.painted(look_at(x, small))[(slice(None), *large.keep)]


def _shrunk(part: slice, shrink: int) -> slice:
    return slice(part.start // shrink, -(-part.stop // shrink))


def _onwards(tell: Callable[[int], None], before: int, done: int) -> None:
    tell(before + done)


class _Walker:
    """What the steps of a run ask of the network, numpy to numpy."""

    def __init__(self, stainer: SampledStainer) -> None:
        self._generator, self._how = stainer.generator, stainer.how
        self._statistics, self._budget = stainer.statistics, stainer.budget
        self._planned, self._stepping = stainer.typical, stainer.stepping
        self._say = stainer.on_step or (lambda _words: None)
        precision = self._planned.precision
        self._dtype = None if precision == "float32" else PRECISIONS[precision]
        self._held: dict[str, nn.Module] = {}

    @property
    def device(self) -> torch.device:
        return next(self._generator.module().parameters()).device

    def given(self, planes: Pixels) -> Pixels:
        def held() -> torch.Tensor:
            network = self._held.get("given", self._generator.given)
            found: torch.Tensor = network(self._tensor(planes[None]))[0]
            return found

        return self._ask(held)

    def painted(self, x: Pixels) -> Pixels:
        """Return the stains (C, *S) of x (1, x_channels, *S)."""

        def held() -> torch.Tensor:
            network = self._held.get("painted", self._generator.painted)
            found: torch.Tensor = network(self._tensor(x))[0]
            return found

        return self._ask(held)

    def denoise(self, x: Pixels, given: Pixels, time: StepTime) -> Pixels:
        """Return what the rule steps with; see `inference.stepwise.Denoiser`."""
        channels, outputs = x.shape[1], self._generator.rule(self._how).outputs

        def held() -> torch.Tensor:
            network = self._held["step"]
            found: torch.Tensor = network(self._tensor(np.concatenate([given, x], axis=1)))[0]
            return found[: outputs * channels].reshape(outputs, channels, *x.shape[2:])

        def free() -> torch.Tensor:
            return self._generator.denoise(self._tensor(x), self._tensor(given), time, self._how)[
                :, 0
            ]

        return self._ask(held if "step" in self._held else free)

    def before(
        self, time: StepTime, plan: TilePlan, given: Pixels, look: Callable[[Region], Pixels]
    ) -> None:
        """Measure the statistics of a step, where they are held for its tiles."""

        def both(region: Region) -> Pixels:
            return np.concatenate([look_at(given, region), look(region)], axis=1)

        self._hold(
            "step", lambda: self._generator.step_network(time, self._how), plan, both,
            self._stepping.forward_bytes,
        )  # fmt: skip

    def before_given(self, plan: TilePlan, look: Callable[[Region], Pixels]) -> None:
        """Do the same before the image is given, over tiles of it."""
        self._hold("given", self._generator.given_network, plan, look, self._planned.forward_bytes)

    def before_painted(self, plan: TilePlan, look: Callable[[Region], Pixels]) -> None:
        """Do the same before stains are painted, over tiles of x."""
        shrink = self._generator.shrink
        self._hold(
            "painted", self._generator.painted_network, plan, look,
            lambda edges: self._planned.forward_bytes([shrink * edge for edge in edges]),
        )  # fmt: skip

    def _hold(
        self,
        part: str,
        made: Callable[[], nn.Module | None],
        plan: TilePlan,
        look: Callable[[Region], Pixels],
        bytes_of: Callable[[Sequence[int]], int],
    ) -> None:
        """Measure what a part of the walk normalises by, and hold it for its tiles.

        Parameters
        ----------
        part
            Its name.
        made
            Returns its network; `None` if there is nothing to measure.
        plan
            Its tiles, on the grid of what it is given.
        look
            Returns that of a region, (1, C, *S).
        bytes_of
            Returns what a forward pass over a patch of given edges takes.
        """
        network = made() if self._statistics in {"frozen", "exact"} else None
        if network is None:
            return
        network = network.to(self.device)
        device = str(self.device)
        if self._statistics == "exact":
            # Cores of the padded image that lie on the stride, as layers of any size want them.
            whole = replace(
                plan,
                shape=_up(plan.shape, plan.multiple_of),
                core=_up(plan.core, plan.multiple_of),
            )
            known = exact_statistics(
                network, lambda: ((look(tile.read), tile.keep) for tile in whole), device=device
            )
        else:
            regions = patches_over(
                plan.shape, plan.multiple_of, bytes_of=bytes_of, budget=self._budget
            )
            patches = [look(region) for region in regions]
            known = joint_statistics(network, np.concatenate(patches), device=device)
        self._held[part] = with_statistics(network, known, len(plan.shape)).requires_grad_(
            requires_grad=False
        )

    def _tensor(self, pixels: Pixels) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device)

    def _ask(self, question: Callable[[], torch.Tensor]) -> Pixels:
        try:
            return self._answer(question)
        except Exception as error:
            if not out_of_memory(error):
                raise
        release_freed_memory()
        if self.device.type == "cpu":
            raise ComputeError(
                "There is not enough memory for a step over one tile. Close other programs, "
                "choose smaller tiles with --tile, or run it on a machine with more memory."
            )
        self._say("memory ran out: steps are computed on the processor from now on")
        self._generator = copy.deepcopy(self._generator)
        self._generator.module().to("cpu")
        self._held = {part: network.to("cpu") for part, network in self._held.items()}
        return self._answer(question)

    def _answer(self, question: Callable[[], torch.Tensor]) -> Pixels:
        self._generator.module().eval()
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False),
        ):
            answer: Pixels = question().float().cpu().numpy()
        return answer


def _up(lengths: tuple[int, ...], steps: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-n // step) * step for n, step in zip(lengths, steps, strict=True))
