"""What all jobs share: settings that describe a run once, and progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.remote import absolute
from napari_virtualstain.zoo import list_encoders, list_models

__all__ = [
    "JobSettings",
    "ModelText",
    "Pace",
    "PathText",
    "Plane",
    "Progress",
    "TimePoint",
    "make_settings",
    "stage",
    "versions",
]

S = TypeVar("S", bound=BaseModel)

Progress = Callable[[int, int, str], None]
"""Called with units done, units in all, and what they are; first of all with none done.

What it raises, for example `errors.RunCancelled`, ends the run at that place.
"""

Plane = Annotated[int, Field(ge=0)]
"""Index of a z plane."""

TimePoint = Annotated[int, Field(ge=0)]
"""Index of a time point."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Marks a setting that says where something lies."""

    named: bool = False


PathText = Annotated[str, _Place()]
"""A setting that is a path."""

ModelText = Annotated[str, _Place(named=True)]
"""A setting that is the name of a model, or a path."""


class JobSettings(BaseModel):
    """Settings of one run: parsed by the command line, edited by the form, kept in the record."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def absolute(self) -> Self:
        """Return the same settings with paths that hold in any folder and process.

        A model is a path only where it is no name that `zoo` lists and exists.
        """
        changed = {}
        for name, field in type(self).model_fields.items():
            mark = next(_marks(field.annotation, field.metadata), None)
            value = getattr(self, name)
            if mark is None or value is None:
                continue
            many = isinstance(value, tuple)
            found = tuple(_absolute(text, mark) for text in (value if many else (value,)))
            if found != (value if many else (value,)):
                changed[name] = found if many else found[0]
        # Not all of them: which settings were stated decides what a recipe may fill in.
        return self.model_copy(update=changed)


def _marks(annotation: Any, metadata: Any) -> Iterator[_Place]:
    """Yield the marks of a setting, also those of ``PathText | None`` and of lists."""
    yield from (entry for entry in metadata if isinstance(entry, _Place))
    for inner in get_args(annotation):
        yield from _marks(inner, getattr(inner, "__metadata__", ()))


def _absolute(text: str, mark: _Place) -> str:
    path = Path(text).expanduser()
    if mark.named and (text in list_models() | list_encoders() or not path.exists()):
        return text
    return absolute(text)


def make_settings(kind: type[S], values: dict[str, Any]) -> S:
    """Build settings, or say in one sentence which value is wrong.

    Raises
    ------
    SettingsError
        For the first value that does not fit.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise SettingsError(
            f"The setting {name} = {first['input']!r} is not possible: {first['msg']}. "
            f"Correct --{name.replace('_', '-')}."
        ) from error


def stage(on_progress: Progress | None, what: str) -> Callable[[int, int], None]:
    """Return what tells of units done, and of what they are."""
    return lambda done, total: on_progress(done, total, what) if on_progress else None


def versions() -> dict[str, str]:
    """Return the versions of what decides the numbers of a run."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    found = {}
    for name in ("napari-virtualstain", "torch", "numpy", "scikit-image", "zarr", "tifffile"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class Pace:
    """How fast a stage goes, and how long it will still take.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.seconds_left(0, 10, "tiles", now=0.0), pace.seconds_left(4, 10, "tiles", now=2.0)
    (None, 3.0)
    """

    def __init__(self) -> None:
        self._began: dict[str, tuple[float, int]] = {}

    def seconds_left(
        self, done: int, total: int, what: str, *, now: float | None = None
    ) -> float | None:
        """Return the seconds that a stage will still take, `None` while nobody can tell.

        Parameters
        ----------
        done, total, what
            As in `Progress`; what stands behind a comma in ``what`` may change from call to call.
        now
            On any clock; that of the process if `None`.
        """
        at = time.monotonic() if now is None else now
        stage = what.partition(",")[0]
        began, first = self._began.setdefault(stage, (at, done))
        if done >= total:
            del self._began[stage]
            return None
        if done <= first:
            return None  # one report says nothing of the pace
        return (at - began) / (done - first) * (total - done)
