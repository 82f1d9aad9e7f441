"""Which stains teach without their noise? Those of which a denoiser is given, in training only.

What examines keeps its noise. Its denoised twin is compared with too, and those scores stand beside
and are labelled, since a network that stains smooth is alike to it for the wrong reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import LazyArray
from napari_virtualstain.datasets.grey_planes import GreyPlanes
from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.datasets.stain_names import find_stain
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.origin import DenoisedTarget
from napari_virtualstain.jobs.base import Progress
from napari_virtualstain.jobs.denoise_record import denoised_name, is_denoised
from napari_virtualstain.jobs.denoise_write import denoise_into

if TYPE_CHECKING:
    from napari_virtualstain.denoising.package import DenoiserModel

__all__ = ["Denoisers", "denoised_truths", "open_denoisers"]

_TOLERANCE = 0.2
"""Relative difference of pixel sizes that is not worth a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denoisers:
    """What takes the noise from which stains of a training.

    Parameters
    ----------
    stains
        Names of all stains.
    models
        By place among the stains.
    """

    stains: tuple[str, ...]
    models: Mapping[int, DenoiserModel]

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self.models)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the denoisers, in the order of the stains."""
        return tuple(self.models[place].fingerprint for place in sorted(self.models))

    @property
    def names(self) -> dict[int, str]:
        """What the denoised truth of each stain is called, by its place."""
        return {place: denoised_name(self.stains[place]) for place in sorted(self.models)}

    def notes(self, pixel_size_um: float) -> tuple[str, ...]:
        """Say what follows for the scores, and which denoiser is of other pixels."""
        if not self:
            return ()
        named = ", ".join(self.stains[place] for place in sorted(self.models))
        notes = [
            (
                f"{named}: taught denoised. Scores are against the truth with its noise; those "
                "against denoised truth stand beside and are called so"
            )
        ]
        for place, model in self.models.items():
            size = model.card.pixel_size_um
            if size is not None and abs(size / pixel_size_um - 1) > _TOLERANCE:
                notes.append(
                    f"the denoiser of {self.stains[place]} learnt from pixels of {size:g} µm, and "
                    f"these have {pixel_size_um:g} µm: look at what it makes of them"
                )
        return tuple(notes)

    def reported(self, pcc: Mapping[int, float]) -> dict[str, DenoisedTarget]:
        """Return what the card says of each stain that is denoised, of correlations by place."""
        return {
            self.stains[place]: DenoisedTarget(
                denoiser=model.fingerprint,
                validation_pcc=(
                    round(pcc[place], 4) if isfinite(pcc.get(place, float("nan"))) else None
                ),
            )
            for place, model in self.models.items()
        }

    def applied(
        self,
        fields: Sequence[PairedField],
        *,
        device: str,
        folder: Path,
        on_progress: Progress | None = None,
    ) -> list[PairedField]:
        """Return fields with denoised stains: in memory where the stains are, else in files.

        Parameters
        ----------
        fields
            As they came.
        device
            A torch device that is there.
        folder
            Takes the files.
        on_progress
            Told of fields denoised.
        """
        if on_progress is not None:
            on_progress(0, len(fields), "training fields denoised")
        found = []
        for number, field in enumerate(fields):
            found.append(replace(field, stains=self._of(field, device, folder / f"{number}.npy")))
            if on_progress is not None:
                on_progress(number + 1, len(fields), "training fields denoised")
        return found

    def _of(self, field: PairedField, device: str, file: Path) -> LazyArray:
        shape = tuple(field.stains.shape)
        clean: NDArray[Any]
        if isinstance(field.stains, np.ndarray):
            clean = np.empty(shape, np.float32)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            clean = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
        for place in range(shape[0]):
            noisy = field.stains[place]
            planes = [noisy[z] for z in range(shape[1])] if len(shape) > 3 else [noisy]
            into = clean[place].reshape(len(planes), *shape[-2:])
            model = self.models.get(place)
            if model is None:
                for z, plane in enumerate(planes):
                    into[z] = np.asarray(plane)
                continue
            grey = GreyPlanes(planes, model.card.normalisation, gaps=True)
            denoise_into(into, model.denoiser, grey, device=device)
        return clean


def open_denoisers(paths: Sequence[str], stains: tuple[str, ...]) -> Denoisers:
    """Load the denoisers of a training, each for the stain whose channel it was taught on.

    Parameters
    ----------
    paths
        Folders that `denoise` kept.
    stains
        Names.

    Raises
    ------
    MissingInputError, ModelPackageError
        If one is not there, or none.
    SettingsError
        If one fits no stain, or a stain has two.
    """
    from napari_virtualstain.denoising.package import load_denoiser

    models: dict[int, DenoiserModel] = {}
    for path in paths:
        model = load_denoiser(path)
        channel = model.card.channel
        fitting = [n for n, stain in enumerate(stains) if stain.casefold() == channel.casefold()]
        fitting = fitting or [n for n, stain in enumerate(stains) if find_stain(stain, [channel])]
        if len(fitting) != 1:
            raise SettingsError(
                f"The denoiser '{path}' was taught on the channel {channel!r}, which is "
                f"{'several' if fitting else 'none'} of the stains ({', '.join(stains)}). Teach "
                "one on a channel that is learnt, or leave it out of --denoised-targets."
            )
        if fitting[0] in models:
            raise SettingsError(
                f"Two denoisers are of {stains[fitting[0]]}: '{models[fitting[0]].path}' and "
                f"'{path}'. Name one with --denoised-targets."
            )
        models[fitting[0]] = model
    return Denoisers(stains=stains, models=models)


def denoised_truths(truths: Mapping[str, Sequence[tuple[str, str]]]) -> tuple[str, ...]:
    """Say which stains have no truth with its noise, so that no score of them is fair.

    Parameters
    ----------
    truths
        By stain, the paths and channels that it is taken from.
    """
    named = [
        stain for stain, places in truths.items() if any(is_denoised(*place) for place in places)
    ]
    if not named:
        return ()
    said = (
        f"{', '.join(named)}: the truth itself is denoised, and every score is against it. Teach "
        "from the channel as it was recorded, and name its denoiser with --denoised-targets."
    )
    return (said,)
