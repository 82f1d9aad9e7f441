"""What lies beside a model while it is tuned? Files by which the run is followed, and asked.

Everything is small files in the folder of the training, each replaced in one step, so that a viewer
follows a run wherever it computes, comes back to it, and needs no network's library:

==========================  ============================================================
``settings.json``           what was asked for
``watch.json``              curves: what steps said, and what held-back fields say
``watch/crop.npz``          part of a held-back field: planes, truth, and the base model's stains
``watch/now-000120.npy``    the same, stained after 120 steps
``worst.npz``               in the end: the blocks that the base model stained better
``asked.json``              what somebody who follows it asks for: to ``pause`` or to ``end``
==========================  ============================================================
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.datasets.project_files import write_values
from napari_virtualstain.errors import ImageFileError, SettingsError, parse_json
from napari_virtualstain.io.disk import disk_errors

__all__ = [
    "Curves",
    "HeldCrop",
    "Point",
    "Wish",
    "ask_run",
    "forget_looks",
    "forget_wish",
    "looks_in",
    "read_crop",
    "read_curves",
    "read_look",
    "read_settings",
    "read_worst",
    "wish_in",
    "write_crop",
    "write_curves",
    "write_look",
    "write_settings",
    "write_worst",
]

Wish = Literal["pause", "end"]
"""``"pause"``: write a checkpoint and stop. ``"end"``: be done now, with the weights so far."""

_ASKED, _SETTINGS, _CURVES, _WATCH = "asked.json", "settings.json", "watch.json", "watch"
_CROP, _LOOK, _WORST = "crop.npz", "now-", "worst.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What was seen at one step.

    Parameters
    ----------
    step, seconds
        When.
    train
        Mean loss of the steps since the last point, `None` before the first.
    held
        Loss on the held-back fields in the same units, `None` of methods whose steps have another.
    pcc
        By stain, Pearson correlation on the held-back fields; `None` where there is no truth.
    """

    step: int
    seconds: float
    train: float | None
    held: float | None
    pcc: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """How a tuning goes.

    Parameters
    ----------
    stains
        Names.
    fields
        Names of the held-back fields that are watched; the first is the one that is shown.
    judges
        Whether these are the fields that judge in the end: then whoever stops by them chooses.
    steps
        Of the tuning; a very large number while nobody knows what a time budget comes to.
    floor
        By stain, what the best linear filter of the bright field comes to on these fields, which
        needs no network; `None` where nobody can tell.
    base
        What the base model comes to on the same fields, its ``step`` 0.
    points
        In order.
    """

    stains: tuple[str, ...]
    fields: tuple[str, ...]
    judges: bool
    steps: int
    base: Point
    points: tuple[Point, ...] = field(default=())
    floor: tuple[float | None, ...] = ()

    @property
    def best(self) -> Point | None:
        """The point with the highest mean correlation."""
        known = [(np.mean(values), p) for p in self.points if (values := _known(p.pcc))]
        return max(known, key=lambda one: float(one[0]))[1] if known else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldCrop:
    """Part of a held-back field, in grey values but the planes.

    Parameters
    ----------
    planes
        (P, *S), as the network is given them.
    truth, base
        (C, *S); NaN is missing.
    """

    planes: NDArray[np.float32]
    truth: NDArray[np.float32]
    base: NDArray[np.float32]


def _known(values: tuple[float | None, ...]) -> list[float]:
    return [value for value in values if value is not None]


# --- what is asked of a run -----------------------------------------------------------------------


def ask_run(folder: Path, wish: Wish) -> None:
    """Ask the run that writes into a folder to pause or to end; it answers after its next step.

    Raises
    ------
    DiskError
        If the folder cannot be written.
    """
    write_values(folder / _ASKED, {"wish": wish})


def wish_in(folder: Path) -> Wish | None:
    """Return what the run is asked for, `None` if nothing."""
    try:
        word = parse_json((folder / _ASKED).read_bytes())["wish"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return cast("Wish", word) if word in get_args(Wish) else None


def forget_wish(folder: Path) -> None:
    """Note that the run has done what it was asked for."""
    (folder / _ASKED).unlink(missing_ok=True)


def forget_looks(folder: Path) -> None:
    """Delete what an older run showed."""
    shutil.rmtree(folder / _WATCH, ignore_errors=True)
    (folder / _CURVES).unlink(missing_ok=True)


# --- settings -------------------------------------------------------------------------------------


def write_settings(folder: Path, values: Mapping[str, Any]) -> None:
    """Keep what was asked for, so that anybody can go on with it."""
    write_values(folder / _SETTINGS, dict(values))


def read_settings(folder: Path) -> dict[str, Any]:
    """Return what was asked for.

    Raises
    ------
    SettingsError
        If the folder is of no tuning.
    """
    try:
        found = parse_json((folder / _SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise SettingsError(
            f"'{folder}' is no folder of a tuning. Choose one whose name ends in .training and "
            "that `virtualstain finetune` has made."
        )
    return found


# --- curves and pictures --------------------------------------------------------------------------


def write_curves(folder: Path, curves: Curves) -> None:
    """Write the curves as they are now."""
    write_values(folder / _CURVES, asdict(curves))


def read_curves(folder: Path) -> Curves | None:
    """Return the curves, `None` while there are none."""
    try:
        values = parse_json((folder / _CURVES).read_text(encoding="utf-8"))
        points = [Point(**{**one, "pcc": tuple(one["pcc"])}) for one in values.pop("points")]
        base = Point(**{**values["base"], "pcc": tuple(values["base"]["pcc"])})
        return Curves(
            stains=tuple(values["stains"]), fields=tuple(values["fields"]),
            judges=bool(values["judges"]), steps=values["steps"], base=base, points=tuple(points),
            floor=tuple(values.get("floor", ())),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_crop(folder: Path, crop: HeldCrop) -> None:
    """Write what the looks are compared with."""
    place = folder / _WATCH
    with disk_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        scratch = place / f"{os.getpid()}.tmp.npz"
        np.savez(scratch, planes=crop.planes, truth=crop.truth, base=crop.base)
        scratch.replace(place / _CROP)


def read_crop(folder: Path) -> HeldCrop | None:
    """Return the same, `None` while it is not there."""
    try:
        with np.load(folder / _WATCH / _CROP, allow_pickle=False) as file:
            return HeldCrop(planes=file["planes"], truth=file["truth"], base=file["base"])
    except (OSError, ValueError, KeyError):
        return None


def write_look(folder: Path, step: int, stained: NDArray[np.float32], *, most: int) -> None:
    """Write the crop as it is stained now, (C, *S); every other of too many older ones goes."""
    place = folder / _WATCH
    with disk_errors(place):
        scratch = place / f"{os.getpid()}.tmp.npy"
        np.save(scratch, stained)
        scratch.replace(place / f"{_LOOK}{step:06d}.npy")
        steps = looks_in(folder)
        for old in steps[1:-1:2] if len(steps) > most else ():
            (place / f"{_LOOK}{old:06d}.npy").unlink(missing_ok=True)


def looks_in(folder: Path) -> tuple[int, ...]:
    """Return the steps after which there is a look, in order."""
    names = [path.stem for path in (folder / _WATCH).glob(f"{_LOOK}*.npy")]
    return tuple(sorted(int(name.removeprefix(_LOOK)) for name in names))


def read_look(folder: Path, step: int) -> NDArray[np.float32]:
    """Return the crop as it was stained after a step, (C, *S).

    Raises
    ------
    ImageFileError
        If it is gone: of many looks only some are kept.
    """
    try:
        found: NDArray[np.float32] = np.load(
            folder / _WATCH / f"{_LOOK}{step:06d}.npy", allow_pickle=False
        )
    except (OSError, ValueError) as error:
        raise ImageFileError(
            f"The picture of step {step} is not kept any more. Look at another step."
        ) from error
    return found


def write_worst(folder: Path, pictures: Sequence[NDArray[np.float32]]) -> None:
    """Write the blocks that lost most, each (4, Y, X): bright field, base, tuned, truth."""
    place = folder / _WORST
    with disk_errors(place):
        np.savez(place, *pictures)


def read_worst(folder: Path) -> tuple[NDArray[np.float32], ...]:
    """Return the same; none where they are gone."""
    try:
        with np.load(folder / _WORST, allow_pickle=False) as file:
            return tuple(file[f"arr_{n}"] for n in range(len(file.files)))
    except (OSError, ValueError, KeyError):
        return ()
