"""Which planes of an image a network is given, and whether they are the right ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.datasets.z_channels import alike, joined_planes, middle_of
from napari_virtualstain.datasets.z_planes import (
    SAME_PLANE_UM,
    listed_um,
    said_apart,
    said_beyond,
)
from napari_virtualstain.errors import ChannelError, PixelDataError, SettingsError
from napari_virtualstain.intensity import Normalisation, PixelStatistics, Rule
from napari_virtualstain.io.image import LazyImage

__all__ = ["InputPlanes", "choose_channel", "choose_planes", "fit_planes"]

_COLOURS = {"red", "green", "blue"}
"""Channels of a colour picture."""


@dataclass(frozen=True, slots=True, eq=False)
class InputPlanes:
    """Planes of an image in the order in which a network takes them.

    Parameters
    ----------
    image
        One channel, as many z planes as the network takes: (T, 1, P, Y, X).
    z
        Which planes of the channel these are.
    notes
        Sentences about what was chosen without being told.
    channels
        The channel of each plane, where they are channels of their own.
    """

    image: LazyImage
    z: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of planes."""
        return self.image.shape[2]

    def labels(self) -> tuple[str, ...]:
        """Name each plane for messages and records."""
        channel = self.image.channel_names[0]
        return tuple(f"channel {channel!r}, input plane {p}" for p in range(len(self)))

    def refuse_missing(self, times: Sequence[int]) -> None:
        """Refuse time points of which a plane is missing: there is nothing to stain.

        Raises
        ------
        PixelDataError
            If there is one.
        """
        lost = [(t, z) for t, _, z in self.image.missing if t in times]
        if not lost:
            return
        t, z = lost[0]
        number = self.z[z] if self.z else z
        parts = [f"plane z {number}" if len(self) > 1 or number else "the plane"]
        if self.image.shape[0] > 1:
            parts.append(f"at time point {t}")
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        scene = self.image.source.scene
        where = f" of scene {scene!r}" if scene else ""
        raise PixelDataError(
            f"Channel {self.image.channel_names[0]!r}{where} cannot be stained: {' '.join(parts)} "
            f"is missing{more}. Put its file back, or choose other planes with --z, other time "
            "points with --times or another --scene."
        )

    def read(self, t: int, region: Region) -> NDArray[np.generic]:
        """Read a (Y, X) region of all planes at a time point: (P, y, x)."""
        window = (slice(t, t + 1), slice(None), slice(None), *region)
        pixels: NDArray[np.generic] = self.image.read(window)[0, 0]
        return pixels


def choose_channel(image: LazyImage, *, channel: str | None, like: str) -> tuple[str, str | None]:
    """Return the name of the channel to stain, and a note if it was guessed.

    Parameters
    ----------
    image
        With any channels.
    channel
        What the user said, or `None`.
    like
        What the model was trained on, for example ``"Brightfield"``; decides
        between several transmitted-light channels.

    Raises
    ------
    ChannelError
        If the channel is not there, or cannot be told.
    """
    names = image.channel_names
    if channel is not None:
        name = names[image.channel_index(channel)]
        if like.casefold() != name.casefold() and set(names) == _COLOURS:
            return name, (
                f"the image is a colour picture: its {name} is what passed a filter of the camera, "
                f"and no {like} as the model learnt it. Expect a poorer stain, and judge it with "
                "`virtualstain qc`"
            )
        return name, None
    if len(names) == 1:
        return names[0], None
    lit = [c.name for c in image.channels if c.modality == "transmitted"]
    if len(lit) > 1:
        of_kind = [name for name in lit if alike(like, name)]
        lit = of_kind if len(of_kind) == 1 else lit
        middle = middle_of([c for c in image.channels if c.name in of_kind])
        if len(lit) > 1 and middle is not None:
            return middle.name, (
                f"channel {middle.name!r} taken as the {like}, the middle one of {len(of_kind)} at "
                "different heights; choose another with --channel"
            )
        named = [name for name in lit if name.casefold() == like.casefold()]
        lit = named if len(lit) > 1 and len(named) == 1 else lit
    if len(lit) == 1:
        return lit[0], f"channel {lit[0]!r} taken as the {like}; choose another with --channel"
    if set(names) == _COLOURS:
        raise ChannelError(
            f"The image was read as a colour picture, in which none is the {like}. If its planes "
            "are z planes and not colours, say so with --axes zyx; else choose one with --channel."
        )
    found = f"{len(lit)} could be ({', '.join(lit)})" if lit else "no name says so"
    raise ChannelError(
        f"Which channel is the {like} cannot be told: {found}; "
        f"the image has {', '.join(names)}. Choose one with --channel."
    )


def choose_planes(
    image: LazyImage,
    *,
    like: str,
    z_offsets_um: Sequence[float | None],
    channel: str | None = None,
    z: Sequence[int] | None = None,
) -> InputPlanes:
    """Choose what a network is given.

    Parameters
    ----------
    image
        Any image.
    like
        Modality that the model was trained on.
    z_offsets_um
        One entry a plane that the model takes: its position relative to focus
        in micrometres, `None` if unknown.
    channel, z
        What the user said; planes may repeat.

    Raises
    ------
    ChannelError
        If the channel or the planes are not there or cannot be told.
    """
    name, note = choose_channel(image, channel=channel, like=like)
    notes = [] if note is None else [note]
    chosen = image.select([name])
    needed, depth = len(z_offsets_um), image.shape[2]
    if z is not None:
        if len(z) != needed:
            raise ChannelError(
                f"The model takes {needed} z planes, --z names {len(z)}. "
                f"Name {needed}, for example --z {_example(depth, needed)}."
            )
        notes += said_apart(z, z_offsets_um, chosen.pixel_size_um.z)
        return InputPlanes(chosen.select(z=z), tuple(z), tuple(notes))
    offsets = "" if None in z_offsets_um else f" (at {listed_um(z_offsets_um)} µm)"
    wanted = f"The model takes {needed} z {_plural('plane', needed)}{offsets}"
    joined = joined_planes(image, name, z_offsets_um)
    if joined is not None:
        stack, names = joined
        if needed > 1:
            notes.append(f"channels {', '.join(names)} taken as z planes, by their heights")
        return InputPlanes(stack, tuple(range(needed)), tuple(notes), names)
    if depth < needed:
        raise ChannelError(
            f"{wanted}, channel {name!r} has {depth}. Open the whole z stack, or repeat a plane "
            f"with --z {_example(depth, needed)} and expect a poorer stain."
        )
    positions = chosen.z_positions_um
    if positions is not None and None not in z_offsets_um:
        # (needed, depth): how far each plane lies from each wanted position
        apart = np.abs(np.subtract.outer(np.array(z_offsets_um, float), np.array(positions)))
        nearest = tuple(int(i) for i in apart.argmin(axis=1))
        if apart.min(axis=1).max() <= SAME_PLANE_UM and len(set(nearest)) == needed:
            if nearest != tuple(range(depth)):
                notes.append(f"z planes {', '.join(map(str, nearest))} taken, by their positions")
            return InputPlanes(chosen.select(z=nearest), nearest, tuple(notes))
        if depth == needed:
            notes.append(
                f"the z planes lie at {listed_um(positions)} µm, the model was trained at "
                f"{listed_um(z_offsets_um)} µm; expect a poorer stain"
            )
    if depth == needed:
        if positions is None:
            notes += said_apart(range(depth), z_offsets_um, chosen.pixel_size_um.z)
        return InputPlanes(chosen, tuple(range(depth)), tuple(notes))
    raise ChannelError(
        f"{wanted}, channel {name!r} has {depth}, and which to take cannot be told"
        f"{said_beyond(positions, z_offsets_um)}. "
        f"Choose them with --z, for example --z {_example(depth, needed)}, or have the plane in "
        "focus searched with --z focus."
    )


def _plural(word: str, n: int) -> str:
    return word if n == 1 else f"{word}s"


def _example(depth: int, needed: int) -> str:
    if depth < needed:
        return ",".join(str(min(i, depth - 1)) for i in range(needed))
    return ",".join(str(round(i)) for i in np.linspace(0, depth - 1, needed + 2)[1:-1])


def fit_planes(
    planes: InputPlanes,
    statistics: Sequence[Sequence[PixelStatistics]],
    rule: Rule,
    *,
    times: Sequence[int] | None = None,
    typical_contrast: Sequence[float | None] | None = None,
) -> tuple[tuple[Normalisation, ...], ...]:
    """Fit a rule to every plane of every time point, on the whole field.

    Parameters
    ----------
    planes
        What the network is given.
    statistics
        By time point, then plane.
    rule
        From the model card.
    times
        Which time points the statistics are of; all of the image if `None`.
    typical_contrast
        By plane: contrast of a usual field, `None` where it is not known; see
        `intensity.Rule.fit`.

    Returns
    -------
    tuple
        By time point of the statistics, then plane.

    Raises
    ------
    PixelDataError
        If a plane holds NaN or infinity, or is constant.
    SettingsError
        If the statistics do not belong to these planes.
    """
    if any(len(row) != len(planes) for row in statistics):
        raise SettingsError("The statistics are of other planes. Gather them again.")
    labels = planes.labels()
    usual = typical_contrast or [None] * len(planes)
    fitted = []
    for t, row in zip(range(len(statistics)) if times is None else times, statistics, strict=True):
        when = f" at time point {t}" if planes.image.shape[0] > 1 else ""
        fitted.append(
            tuple(
                rule.fit(stats, what=f"{label[0].upper()}{label[1:]}{when}", typical_contrast=sd)
                for label, stats, sd in zip(labels, row, usual, strict=True)
            )
        )
    return tuple(fitted)
