"""Noise that belongs to a seed and to a pixel, not to the tile that happens to ask for it.

An unbounded plane (or volume) is cut into blocks of 4096 pixels. The numbers of
a block come from the counter-based generator Philox, whose key is (seed, draw)
and whose counter is (channel, place of the block): nothing has to be drawn
before it, so that any region can be read alone, in any order, by any process,
and two regions that overlap hold the same bits where they do.

A torch or numpy generator that is seeded per tile or per run was not taken: its
numbers depend on the size of the tiles and on the order in which they come.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.errors import SettingsError

__all__ = ["noise_of"]

# Edge of a block by number of axes. The values of every pixel depend on these: never change them.
_EDGES = {1: 4096, 2: 64, 3: 16, 4: 8, 5: 4}
_WORD = 1 << 64
_HALF_WORD = 1 << 32


def noise_of(seed: int, region: Region, *, draw: int = 0, channels: int = 1) -> NDArray[np.float32]:
    """Return standard normal noise of a region of an unbounded plane or volume.

    The same seed, draw, channel and pixel always have the same value, bit for
    bit, whatever else is read. The distribution over the pixels is white: mean 0,
    standard deviation 1, no correlation between pixels, channels, draws or seeds.

    Parameters
    ----------
    seed
        Of the run, from 0 to 2^64 - 1.
    region
        One slice an axis, one to five axes, starts from 0 on. A plane is no slice of a
        volume: z has to be an axis where a volume is meant.
    draw
        Which of the many noise fields of a seed, from 0 to 2^64 - 1; a sampler
        takes one a step.
    channels
        Number of independent planes. The first ones do not depend on how many are asked for.

    Returns
    -------
    numpy.ndarray
        (channels, *extent) float32.

    Raises
    ------
    SettingsError
        If seed, draw, channels or region lie outside of these ranges.

    Notes
    -----
    The uniform bits of Philox are promised never to change between versions of
    NumPy; the way from them to normal numbers (the ziggurat of
    `numpy.random.Generator`) is only kept where possible. A test pins some values.

    Whole blocks are generated, then cut. Measured on one busy core of an AMD EPYC:
    13 to 19 ns a pixel and channel for a plane of 1024 x 1024 px and for a volume of
    128^3, as much as one call of `numpy.random.Generator.standard_normal`; 35 µs
    for a single pixel. Beside the result, 16 KB are held.

    References
    ----------
    Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011,
    doi:10.1145/2063384.2063405.

    Examples
    --------
    >>> whole = noise_of(7, (slice(0, 200), slice(0, 300)))
    >>> part = noise_of(7, (slice(50, 180), slice(123, 124)))
    >>> bool((whole[:, 50:180, 123:124] == part).all())
    True
    """
    _check(seed, region, draw, channels)
    edge = _EDGES[len(region)]
    noise = np.empty((channels, *(part.stop - part.start for part in region)), np.float32)
    bits = np.random.Philox(key=np.array([seed, draw], np.uint64))
    generator = np.random.Generator(bits)
    state = bits.state
    blocks = [range(part.start // edge, -(-part.stop // edge)) for part in region]
    for channel, *block in product(range(channels), *blocks):
        state["state"]["counter"] = _counter(channel, block)
        bits.state = state  # its buffer is empty in here, so that nothing of a block is left over
        values = generator.standard_normal(edge ** len(region), dtype=np.float32)
        target, source = [], []
        for at, part in zip(block, region, strict=True):
            low, high = max(at * edge, part.start), min((at + 1) * edge, part.stop)
            target.append(slice(low - part.start, high - part.start))
            source.append(slice(low - at * edge, high - at * edge))
        noise[channel][tuple(target)] = values.reshape((edge,) * len(region))[tuple(source)]
    return noise


def _counter(channel: int, block: list[int]) -> NDArray[np.uint64]:
    """Return the counter at which a block starts.

    Philox counts up the first word; channel and place take half a word each of
    the other three, so that no two blocks can ever share numbers.
    """
    halves = [channel, *block, *[0] * (5 - len(block))]
    words = [low | high << 32 for low, high in zip(halves[::2], halves[1::2], strict=True)]
    return np.array([0, *words], np.uint64)


def _check(seed: int, region: Region, draw: int, channels: int) -> None:
    if not (0 <= seed < _WORD and 0 <= draw < _WORD):
        raise SettingsError(
            f"Noise needs a seed and a draw from 0 to 2^64 - 1, got {seed} and {draw}. "
            "Choose a seed in this range."
        )
    if not 1 <= channels < _HALF_WORD:
        raise SettingsError(f"Noise needs at least one channel, got {channels}. Ask for 1 or more.")
    if len(region) not in _EDGES:
        raise SettingsError(
            f"Noise has one to five axes, got a region of {len(region)}. Use one slice an axis."
        )
    edge = _EDGES[len(region)]
    for part in region:
        if not (0 <= part.start <= part.stop <= edge * _HALF_WORD and part.step in (None, 1)):
            raise SettingsError(
                f"Noise is read from pixel 0 on and pixel by pixel, got {part}. "
                "Use slices with a start of at least 0 and no step."
            )
