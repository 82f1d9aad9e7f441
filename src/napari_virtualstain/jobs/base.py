"""What all jobs share: settings that describe a run once, and progress."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_virtualstain.errors import SettingsError

__all__ = ["JobSettings", "Plane", "Progress", "make_settings", "versions"]

S = TypeVar("S", bound=BaseModel)

Progress = Callable[[int, int, str], None]
"""Called with units done, units in all, and what they are."""

Plane = Annotated[int, Field(ge=0)]
"""Index of a z plane."""


class JobSettings(BaseModel):
    """Settings of one run: parsed by the command line, edited by the form, kept in the record."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


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


def versions() -> dict[str, str]:
    """Return the versions of what decides the numbers of a run."""
    found = {}
    for name in ("napari-virtualstain", "torch", "numpy", "scikit-image", "zarr", "tifffile"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
