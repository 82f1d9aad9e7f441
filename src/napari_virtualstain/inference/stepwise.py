"""Sample in many steps over a picture of any size, in tiles that cannot disagree.

x is one array over the whole image. In every step each tile reads x and the
conditioning planes with the halo of the network, predicts, and only its core is
stepped and written to the next x; no step begins before the last is done
everywhere. A tile's neighbours are therefore at the same step and see the same x
that it sees: what comes out is the sample of the whole image at once, for every
tile size and every order.

Tiles that are sampled to the end one by one and then blended were not taken: they
are different pictures of the same field, and their mean is none of them. The price
is that x of the whole image has to be kept, in memory or in files.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from napari_virtualstain.axes import Region
from napari_virtualstain.diffusion.noise_schedule import StepTime
from napari_virtualstain.diffusion.pixel_noise import noise_of
from napari_virtualstain.diffusion.step_rule import Pixels, StepRule
from napari_virtualstain.errors import DiskError, SettingsError
from napari_virtualstain.inference.source import clipped
from napari_virtualstain.tiling.plan import Tile, TilePlan

__all__ = ["Denoiser", "look_at", "pixel_field", "sample_tiles", "state_bytes"]

Denoiser = Callable[[Pixels, Pixels, StepTime], Pixels]
"""x (1, C, *S), conditioning (1, P, *S) and time to what the rule steps with, (outputs, C, *S)."""

_BLOCK = 1 << 24


def state_bytes(rule: StepRule, shape: tuple[int, ...], channels: int) -> int:
    """Return how much has to be kept between two steps, in bytes.

    Parameters
    ----------
    rule
        Of the sampler.
    shape
        Of the image, spatial axes only, in pixels.
    channels
        Of x.
    """
    return 4 * channels * prod(shape) * (2 + rule.memory)


def sample_tiles(
    denoise: Denoiser,
    rule: StepRule,
    plan: TilePlan,
    read: Callable[[Region], Pixels],
    write: Callable[[Tile, Pixels], None],
    *,
    channels: int,
    seed: int = 0,
    start: Callable[[Region], Pixels] | None = None,
    budget_bytes: int = 1 << 30,
    folder: Path | str | None = None,
    order: Callable[[int], Sequence[int]] | None = None,
    before_step: Callable[[StepTime, Callable[[Region], Pixels]], None] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
) -> None:
    """Sample a picture and hand it on tile by tile, during the last step.

    Parameters
    ----------
    denoise
        The network: x of a tile with its halo (1, C, *S), the conditioning planes of
        the same pixels (1, P, *S) and the `StepTime`, to the prediction (outputs of the rule,
        C, *S).
    rule
        How to step.
    plan
        Over the image; its halo and stride are those of the network. The result is
        exact if the halo is at least half the receptive field of one call.
    read
        Takes a region inside the image, returns normalised conditioning planes
        (P, *S). Called once for each tile and step.
    write
        Takes a tile and the finished pixels of its ``write`` region, (C, *S).
    channels
        C, channels of x.
    seed
        Decides all noise, with the pixel and the step (`noise_of`: draw 0 is the first
        x, draw ``step + 1`` what a step adds).
    start
        Takes a region, returns what the noise of the first x is added to, (C, *S), and what
        the rule remembers of it, for bridges; zeros if `None`.
    budget_bytes
        Where `state_bytes` is more, x and the history lie in temporary files.
    folder
        For these files, on a disk and not in memory; the system's temporary folder if
        `None`. They have no name and are gone when the run ends, in whatever way.
    order
        Takes a step, returns the numbers of all tiles in the order to go through; raster
        order if `None`. It does not change the result.
    before_step
        Told the time of a step before its first tile, and what reads x: takes a region, which may
        reach beyond the image, returns (1, C, *S).
    on_tile
        Called with tiles done and tiles in all (steps times tiles of the plan), first of
        all with none done. What it raises ends the run between two tiles.

    Raises
    ------
    SettingsError
        If an order leaves tiles out, or the network returns another shape.
    DiskError
        If the temporary files do not fit.

    Notes
    -----
    Outside of the image, up to the network's stride, x and conditioning are zero at
    every step: the convention of the engine. Within the budget the memory is that of
    `state_bytes` and one tile; above it one tile, plus pages of the files that the
    system keeps as long as it has room.
    """
    report = on_tile or (lambda _done, _total: None)
    done, total = 0, rule.steps * len(plan)
    in_files = state_bytes(rule, plan.shape, channels) > budget_bytes
    where = Path(folder or tempfile.gettempdir()) if in_files else None
    shape = (channels, *plan.shape)
    with _state(shape, rule.memory, where) as state:
        report(0, total)
        for tile in plan:
            core = (slice(None), *tile.write)
            begin = start(tile.write) if start else np.zeros((), np.float32)
            state["history"][(slice(None), *core)] = begin
            state["now"][core] = begin + _first(rule, tile.write, channels, seed)
        for step in range(rule.steps):
            if before_step is not None:
                before_step(rule.prepare(step), partial(look_at, state["now"]))
            for number in _checked(order(step) if order else range(len(plan)), len(plan)):
                tile = plan.tile(number)
                core = (slice(None), *tile.write)
                kept = (slice(None), *core)
                prediction = _predict(denoise, rule, step, state, read, tile)
                noise = (
                    noise_of(seed, tile.write, draw=step + 1, channels=channels)
                    if rule.is_stochastic(step)
                    else None
                )
                stepped, state["history"][kept] = rule.step(
                    step, state["now"][core], prediction, state["history"][kept], noise
                )
                if step == rule.steps - 1:
                    write(tile, stepped)
                else:
                    state["then"][core] = stepped
                done += 1
                report(done, total)
            state["now"], state["then"] = state["then"], state["now"]


def _first(rule: StepRule, region: Region, channels: int, seed: int) -> Pixels:
    """Return the noise of the first x in a region."""
    if not rule.initial_scale:
        return np.zeros((channels, *(part.stop - part.start for part in region)), np.float32)
    return np.float32(rule.initial_scale) * noise_of(seed, region, channels=channels)


def _predict(
    denoise: Denoiser,
    rule: StepRule,
    step: int,
    state: dict[str, Pixels],
    read: Callable[[Region], Pixels],
    tile: Tile,
) -> Pixels:
    """Return the prediction of a tile's core: (outputs, C, *S)."""
    inside = clipped(tile.read, state["now"].shape[1:])
    given = look_at(state["now"], tile.read)
    planes = _padded(read(inside), [part.stop - part.start for part in tile.read])
    predicted = np.asarray(denoise(given, planes, rule.prepare(step)), dtype=np.float32)
    if predicted.shape != (rule.outputs, *given.shape[1:]):
        raise SettingsError(
            f"The network returns {predicted.shape} for an x of {given.shape}, of which the "
            f"sampler needs {rule.outputs}. Use a network that predicts every channel and pixel."
        )
    core: Pixels = predicted[(slice(None), slice(None), *tile.keep)]
    return core


def look_at(x: Pixels, region: Region) -> Pixels:
    """Return x (C, *S) in a region that may reach beyond the image, with zeros there: (1, C, *S).

    Parameters
    ----------
    x
        Of the whole image.
    region
        Beginning inside of it.
    """
    inside = x[(slice(None), *clipped(region, x.shape[1:]))]
    return _padded(inside, [part.stop - part.start for part in region])


def _padded(pixels: Pixels, extent: Sequence[int]) -> Pixels:
    """Pad with zeros at the far end: (C, *S) -> (1, C, *extent), always a copy."""
    padded = np.zeros((1, pixels.shape[0], *extent), np.float32)
    padded[0][tuple(slice(0, n) for n in pixels.shape)] = pixels
    return padded


def _checked(numbers: Sequence[int], tiles: int) -> Sequence[int]:
    if len(numbers) != tiles or set(numbers) != set(range(tiles)):
        raise SettingsError(
            f"A step goes through each of the {tiles} tiles once, got an order of {len(numbers)} "
            "that does not. Return every number of the plan once."
        )
    return numbers


@contextmanager
def _state(shape: tuple[int, ...], memory: int, folder: Path | None) -> Iterator[dict[str, Pixels]]:
    """Give x, the next x and the history, and let go of them at the end.

    Two x, because a tile must not read what its neighbour has already stepped. The history is
    read and written in the core only, so that one is enough. They are handed out in a
    dictionary that is emptied, since the frames of an exception that somebody keeps would keep
    arrays, and with them the room on the disk.
    """
    state: dict[str, Pixels] = {}
    with ExitStack() as stack:
        stack.callback(state.clear)
        for name, extent in (("now", shape), ("then", shape), ("history", (memory, *shape))):
            state[name] = stack.enter_context(pixel_field(extent, folder))
        yield state


@contextmanager
def pixel_field(shape: tuple[int, ...], folder: Path | None) -> Iterator[Pixels]:
    """Give an array of zeros, in memory or in a file of a folder that has no name there."""
    length = 4 * prod(shape)
    if folder is None or length == 0:
        yield np.zeros(shape, np.float32)
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            _reserve(file, length)
        except OSError as error:
            raise _refused(length, folder, error) from error
        yield np.memmap(file, np.float32, "r+", shape=shape)


def _reserve(file: IO[bytes], length: int) -> None:
    """Make a file of zeros whose room on the disk is taken.

    A file with holes would be quicker made, but a full disk then kills the process
    (SIGBUS) at some later write, instead of raising an error here.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, length)
        return
    for begin in range(0, length, _BLOCK):
        file.write(bytes(min(_BLOCK, length - begin)))
    file.flush()


def _refused(length: int, folder: Path, error: OSError) -> DiskError:
    return DiskError(
        f"Sampling keeps {length / 1e9:.1f} GB at a time between two steps, and the folder "
        f"'{folder}' refuses them: {error.strerror or error}. Choose another folder, stain a "
        "smaller region, or allow more memory."
    )
