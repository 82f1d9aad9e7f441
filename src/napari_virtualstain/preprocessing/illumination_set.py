"""Which illumination functions belong to a plate: one for each channel and z plane, in one file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.preprocessing.illumination import (
    KIND as SINGLE,
)
from napari_virtualstain.preprocessing.illumination import (
    IlluminationFunction,
    function_of,
)
from napari_virtualstain.preprocessing.sealed import (
    checksum,
    damaged,
    read_sealed,
    write_sealed,
)

__all__ = ["FittedOn", "IlluminationSet", "PlaneLight", "load_illumination_set"]

_KIND = "napari-virtualstain illumination functions"
_VERSION = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FittedOn(_Frozen):
    """What the functions of a file were fitted on.

    Parameters
    ----------
    input
        As it was named.
    plate
        Name of the plate, ``""`` if there is none.
    fields
        Names of the fields in the sample, with the time point where there are several.
    of
        Fields that there were.
    seed
        Of the sample.
    """

    input: str
    plate: str = ""
    fields: tuple[str, ...]
    of: int = Field(ge=1)
    seed: int = 0


class PlaneLight(_Frozen):
    """The illumination function of one plane.

    Parameters
    ----------
    channel
        Its name; `None` for a function that names none, which holds for any.
    z
        Plane of the stack, from 0; `None` for any.
    function
        Its light.
    """

    channel: str | None
    z: int | None = Field(default=None, ge=0)
    function: IlluminationFunction


class IlluminationSet(_Frozen):
    """The light on all planes of a plate.

    Parameters
    ----------
    planes
        Each channel and z plane once.
    fitted_on
        `None` if nobody knows.
    """

    planes: tuple[PlaneLight, ...] = Field(min_length=1)
    fitted_on: FittedOn | None = None

    @property
    def fingerprint(self) -> str:
        """The sha256 of the functions: equal ones correct alike."""
        return checksum({"planes": self.model_dump(mode="json")["planes"]})

    def functions_for(
        self, channel: str, z: Sequence[int], shape: tuple[int, int]
    ) -> tuple[IlluminationFunction, ...]:
        """Return the functions of some planes of a channel.

        Parameters
        ----------
        channel
            Its name; upper and lower case are equal.
        z
            Planes of the stack, from 0.
        shape
            (Y, X) of the planes in pixels.

        Raises
        ------
        SettingsError
            If there is none for one of them, or it is for planes of another size.
        """
        mine = [
            plane
            for plane in self.planes
            if plane.channel is None or plane.channel.casefold() == channel.casefold()
        ]
        if not mine:
            known = ", ".join(dict.fromkeys(str(plane.channel) for plane in self.planes))
            raise SettingsError(
                f"The illumination functions are of {known}, none is of channel {channel!r}. "
                "Fit them on this channel with `virtualstain illumination --channels`, or choose "
                "another file with --illumination."
            )
        found = []
        for plane in z:
            fitting = [light for light in mine if light.z in (None, plane)]
            if not fitting:
                there = ", ".join(str(light.z) for light in mine)
                raise SettingsError(
                    f"The illumination functions of channel {channel!r} are of z planes {there}, "
                    f"none is of plane {plane}. Fit them on whole stacks like this one, or choose "
                    "another file with --illumination."
                )
            found.append(fitting[0].function)
        for function in found:
            if function.shape != tuple(shape):
                height, width = function.shape
                raise SettingsError(
                    f"The illumination functions are for planes of {height} x {width} px, those of "
                    f"the image have {shape[0]} x {shape[1]}. Fit them on fields of the same "
                    "camera settings, or choose another file with --illumination."
                )
        return tuple(found)

    def save(self, path: Path | str) -> None:
        """Write them into one JSON file, which is whole or not there.

        Raises
        ------
        DiskError
            If it cannot be written.
        """
        write_sealed(path, self.model_dump(mode="json"), kind=_KIND, version=_VERSION)


def load_illumination_set(path: Path | str) -> IlluminationSet:
    """Read what `IlluminationSet.save` or `IlluminationFunction.save` wrote.

    A single function names neither channel nor plane, and holds for any.

    Raises
    ------
    MissingInputError
        If there is no such file.
    ImageFileError
        If it is damaged, altered, or something else.
    """
    kind, content = read_sealed(path, {_KIND: _VERSION, SINGLE: 1})
    if kind == SINGLE:
        alone = PlaneLight(channel=None, function=function_of(content, path))
        return IlluminationSet(planes=(alone,))
    try:
        return IlluminationSet.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise damaged(path) from error
