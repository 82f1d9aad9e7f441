"""Which of the images inside a path is meant.

One path may hold several: the series of an OME-TIFF, the fields of a plate,
the focus series and the projections of one folder of planes. Each is a scene
with a name. A scene is chosen by its name, by the channels that are asked for,
or because it alone holds transmitted light; never silently among equals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from napari_virtualstain.errors import (
    ImageFileError,
    SettingsError,
    UnknownNameError,
    VirtualStainError,
    did_you_mean,
)
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.plate import Place

__all__ = ["Scene", "choose_scene", "is_like", "listed", "unique_channels"]


_OPENED = 64
"""Scenes that are opened to find the one that is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One image inside a path, opened when its shape or pixels are asked for.

    Parameters
    ----------
    name
        How it is chosen, ``""`` when it is the only one.
    kind
        Name of the opener, for example ``"ome-zarr"``.
    load
        Opens it; called once.
    place
        Where in a plate it lies, `None` if nothing says so.
    announced
        Its channels, where names or an index tell them before it is opened; `None` if not.
    files
        All that it is read from, where these are more than the file that was opened.
    """

    name: str
    kind: str
    load: Callable[[], LazyImage] = field(repr=False, compare=False)
    place: Place | None = None
    announced: tuple[Channel, ...] | None = None
    files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Open once, however often the shape is asked for."""
        object.__setattr__(self, "load", cache(self.load))

    def open(self) -> LazyImage:
        """Return the image."""
        return self.load()

    @property
    def well(self) -> str:
        """Name of its well, ``""`` if it lies in none."""
        return "" if self.place is None else self.place.well

    @property
    def site(self) -> str:
        """Name of its field inside the well, ``""`` if there is none."""
        return "" if self.place is None else self.place.site

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Length of T, C, Z, Y and X."""
        return self.load().shape

    @property
    def axes(self) -> str:
        """The axes that the file has."""
        return self.load().axes

    @property
    def channels(self) -> tuple[Channel, ...]:
        """One entry along C."""
        return self.load().channels

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names along C."""
        return self.load().channel_names


def listed(names: Sequence[str], limit: int = 8) -> str:
    """Return the first names of a list, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def is_like(name: str, pattern: str) -> bool:
    """Return whether the name of a scene is like one of several patterns, set apart by commas.

    Examples
    --------
    >>> is_like("B02/f01", "A*, B0?/*"), is_like("C02/f01", "A*, B0?/*")
    (True, False)
    """
    return any(fnmatchcase(name, part.strip()) for part in pattern.split(","))


def _holds(there: Sequence[Channel], wanted: Sequence[str]) -> bool:
    names = [channel.name for channel in there]
    folded = [name.casefold() for name in names]
    return all(name in names or folded.count(name.casefold()) == 1 for name in wanted)


def _only(scenes: Sequence[Scene], wanted: Callable[[tuple[Channel, ...]], bool]) -> Scene | None:
    """Return the one scene that fits; looks no further than the second that does.

    Of a plate that announces its channels no scene is opened for it; of one that does not, none
    stands out if it has more fields than can be opened in a moment.
    """
    found: Scene | None = None
    if sum(scene.announced is None for scene in scenes) > _OPENED:
        return None
    for scene in scenes:
        try:
            there = scene.channels if scene.announced is None else scene.announced
        except VirtualStainError:  # said when somebody names it
            continue
        if wanted(there):
            if found is not None:
                return None
            found = scene
    return found


def choose_scene(
    scenes: Sequence[Scene],
    *,
    where: str,
    scene: str | int | None = None,
    channels: Sequence[str] | None = None,
) -> LazyImage:
    """Open the scene that is meant.

    Parameters
    ----------
    scenes
        What `where` holds.
    where
        The path as it is shown in messages.
    scene
        Name or position; `None` to choose by what is asked for.
    channels
        Names of channels that are needed.

    Raises
    ------
    UnknownNameError
        If no scene has that name or position.
    SettingsError
        If several scenes are equally good.
    """
    names = [one.name for one in scenes]
    if not scenes:
        raise ImageFileError(f"{where!r} holds no image. Choose another file or folder.")
    if isinstance(scene, str) and scene in names:
        return scenes[names.index(scene)].open()
    if isinstance(scene, str) and scene.isdecimal():
        scene = int(scene)  # from the command line
    if isinstance(scene, int) and 0 <= scene < len(scenes):
        return scenes[scene].open()
    if scene is not None and names == [""]:
        raise UnknownNameError(
            f"No scene {scene!r} in {where!r}, which holds one image without a name. "
            "Leave --scene out."
        )
    if scene is not None:
        shown = listed([name or "(one image, without a name)" for name in names])
        raise UnknownNameError(
            f"No scene {scene!r} in {where!r}.{did_you_mean(str(scene), names)} "
            f"It holds: {shown}. Choose one of these with --scene."
        )
    if len(scenes) == 1:
        return scenes[0].open()
    if channels:
        chosen = _only(scenes, lambda there: _holds(there, channels))
        if chosen is not None:
            return chosen.open()
    else:
        chosen = _only(scenes, lambda there: any(c.modality == "transmitted" for c in there))
        if chosen is not None:
            guess = (
                f"Scene {chosen.name!r} was taken since it alone holds transmitted light; "
                f"{where!r} holds {listed(names)}. Choose another with --scene."
            )
            return chosen.open().with_guesses([guess])
    raise SettingsError(
        f"{where!r} holds {len(scenes)} images: {listed(names)}. "
        f"Say which with --scene, for example --scene {names[0]}."
    )


def unique_channels(channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """Return channels whose names differ: the second ``"GFP"`` becomes ``"GFP (2)"``."""
    from dataclasses import replace

    taken: set[str] = set()
    unique = []
    for index, channel in enumerate(channels):
        base = channel.name.strip() or f"channel {index}"
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base} ({count})"
        taken.add(name)
        unique.append(replace(channel, name=name))
    return tuple(unique)
