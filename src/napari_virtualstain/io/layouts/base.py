"""What a layout says about a folder: where each file belongs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.plate import Place

__all__ = ["FolderPlan", "Layout", "Plane", "natural"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """One file and its place in the image; no path where a plane is promised and has none."""

    path: Path | None
    channel: str
    scene: str = ""
    t: int = 0
    z: int = 0
    has_t: bool = False  # whether the name says a time point
    has_z: bool = False  # whether the name says a z plane


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPlan:
    """Everything that is known of a folder before any file in it is opened.

    Parameters
    ----------
    planes
        One entry a file.
    channels
        What is known of each channel, in the order in which they are shown.
    pixel_size_um
        If the layout comes with metadata.
    z_um
        Height of each (scene, channel, z) relative to focus in micrometres, if known.
    guesses
        What should be confirmed.
    places
        Where in a plate each scene lies.
    times, depths
        Numbers along T and Z that every image should have, if something promises them.
    time_interval_s
        Seconds between time points, if known.
    na
        Numerical aperture of the objective, if known.
    believes_tags
        Whether a pixel size that the resolution tags of the TIFFs alone tell is taken, as a guess.
    """

    planes: tuple[Plane, ...]
    channels: tuple[Channel, ...]
    pixel_size_um: PixelSize = field(default_factory=PixelSize)
    z_um: Mapping[tuple[str, str, int], float] = field(default_factory=dict)
    guesses: tuple[str, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
    times: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()
    time_interval_s: float | None = None
    na: float | None = None
    believes_tags: bool = False

    def with_guess(self, guess: str) -> FolderPlan:
        """Return the same plan with one more guess."""
        return replace(self, guesses=(*self.guesses, guess))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A way to name files.

    Parameters
    ----------
    name
        Key, shown as the kind of the image.
    description
        One line for the docs, with an example.
    matches
        Whether one file name (without its folder) follows the layout.
    plan
        Turns the files that match into a plan.
    ignores
        Whether a file belongs to the layout without being a plane: a thumbnail.
    """

    name: str
    description: str
    matches: Callable[[str], bool]
    plan: Callable[[Sequence[Path]], FolderPlan]
    ignores: Callable[[str], bool] = field(default=lambda name: False)

    def claims(self, files: Sequence[Path]) -> list[Path]:
        """Return the files that follow the layout if at least two thirds do, else none."""
        mine = [file for file in files if self.matches(file.name)]
        return mine if mine and 3 * len(mine) >= 2 * len(files) else []


def natural(text: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts ``z10`` after ``z9``.

    Examples
    --------
    >>> sorted(["z10", "z9", "z1"], key=natural)
    ['z1', 'z9', 'z10']
    """
    parts = re.split(r"(\d+)", text)
    return [(1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts]
