"""Which illumination functions belong to a training image? Those of its plate, or the only ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from napari_virtualstain.datasets.light import corrected_planes
from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.scene import listed
from napari_virtualstain.preprocessing.illumination_set import (
    IlluminationSet,
    load_illumination_set,
)

__all__ = ["TrainingLight"]


class TrainingLight:
    """Corrects bright-field images for uneven light, each by the functions of its plate.

    Parameters
    ----------
    files
        Of `virtualstain illumination`. A single one holds for all images, of several each
        holds for the plate that it was fitted on; without any nothing is corrected.

    Raises
    ------
    VirtualStainError
        If a file is not there or damaged.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._known = [(file, load_illumination_set(file)) for file in files]
        self._used: dict[str, None] = {}
        self._said: dict[str, None] = {}
        self._strangers: dict[str, None] = {}

    @property
    def several(self) -> bool:
        """Whether an image has to say which plate it is of."""
        return len(self._known) > 1

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the functions by which images were corrected."""
        return tuple(self._used)

    @property
    def notes(self) -> tuple[str, ...]:
        """What makes the functions doubtful; one sentence each."""
        notes = list(self._said)
        if self._strangers:
            (fitted,) = (known.fitted_on for _, known in self._known)
            notes.append(
                f"The illumination functions were fitted on plate {fitted.plate if fitted else ''},"
                f" and correct images of {listed(list(self._strangers))} too; fit each plate by "
                "itself, and give all files to --illumination."
            )
        return tuple(notes)

    def corrected(
        self, image: LazyImage, z: Sequence[int] | None, *, path: str, plate: str = ""
    ) -> LazyImage:
        """Return bright-field planes as they would be under even light.

        Parameters
        ----------
        image
            One channel, (T, 1, P, Y, X), as it was recorded.
        z
            Which planes of the stack these are; `None` for all of them.
        path
            Of the image.
        plate
            Name of its plate, if it is known.

        Raises
        ------
        SettingsError
            If no function fits, or several do.
        """
        if not self._known:
            return image
        planes = InputPlanes(image, tuple(z) if z is not None else tuple(range(image.shape[2])))
        known = self._choose(path, plate)
        try:
            height, width = image.shape[3:]
            functions = known.functions_for(image.channel_names[0], planes.z, (height, width))
        except SettingsError as error:
            raise SettingsError(f"'{path}' cannot be corrected. {error}") from error
        self._used[known.fingerprint] = None
        self._said |= {f"Illumination: {n}": None for f in functions for n in f.notes}
        return corrected_planes(planes, functions).image

    def _choose(self, path: str, plate: str) -> IlluminationSet:
        """Return the functions of the plate that an image is of."""
        if not self.several:
            known = self._known[0][1]
            fitted = known.fitted_on.plate if known.fitted_on else ""
            if fitted and plate and fitted.casefold() != plate.casefold():
                self._strangers[plate] = None
            return known
        # By the name of the plate; where it has none, by the folder that was fitted.
        fitting = [one for one in self._known if _of_plate(one[1], plate)] or [
            one for one in self._known if _fitted_below(one[1], path)
        ]
        if len(fitting) == 1:
            return fitting[0][1]
        files = listed([Path(file).name for file, _ in fitting or self._known])
        of = f" of plate {plate}" if plate else ""
        if fitting:
            raise SettingsError(
                f"'{path}'{of} could be corrected by {files}. Give one file a plate to "
                "--illumination."
            )
        raise SettingsError(
            f"'{path}'{of} is of none of the plates that {files} were fitted on. Fit functions on "
            "its plate by `virtualstain illumination`, and add their file to --illumination."
        )


def _of_plate(known: IlluminationSet, plate: str) -> bool:
    fitted = known.fitted_on.plate if known.fitted_on else ""
    return bool(plate) and fitted.casefold() == plate.casefold()


def _fitted_below(known: IlluminationSet, path: str) -> bool:
    """Return whether an image lies in the folder that was fitted, which may be named in short."""
    if known.fitted_on is None:
        return False
    whole = Path(os.path.normpath(Path(path).expanduser().absolute()))
    folder = Path(os.path.normpath(Path(known.fitted_on.input).expanduser()))
    if folder.is_absolute():
        return whole.is_relative_to(folder)
    parts, n = folder.parts, len(folder.parts)
    return any(whole.parts[i : i + n] == parts for i in range(len(whole.parts) - n + 1))
