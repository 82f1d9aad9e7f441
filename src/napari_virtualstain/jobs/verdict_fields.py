"""What do a predicted field and its truth come to? Both measured in the same way, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_virtualstain.errors import ChannelError, ImageFileError, PixelDataError
from napari_virtualstain.evaluation.profiles import Key
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.compare import compare_planes
from napari_virtualstain.jobs.measure import MeasureSettings
from napari_virtualstain.jobs.measure_field import FieldMeasurer
from napari_virtualstain.jobs.target_shift import seen_to
from napari_virtualstain.jobs.verdict_pairs import FieldPair, PairOpener
from napari_virtualstain.objects.match import KINDS, match_objects
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    from napari_virtualstain.jobs.verdict import VerdictSettings
    from napari_virtualstain.jobs.verdict_cells import CellSample

__all__ = ["SCORES", "ComparedField", "FieldComparer"]

SCORES = ("pcc", "ssim", "psnr", "mae", "mse", "gain")
"""Of each stain; see `jobs.evaluation.ChannelScore`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedField:
    """One time point of a field.

    Parameters
    ----------
    key
        Plate, well, site and time point.
    pair
        The images.
    scores
        ``pcc_DNA`` and so on, of the pictures.
    nuclei
        ``true``, ``predicted``, and what became of them; see `objects.match.KINDS`.
    truth, prediction
        What `measure` finds in a field; see `jobs.measure_field.Measured.summary`.
    """

    key: Key
    pair: FieldPair
    scores: dict[str, float]
    nuclei: dict[str, int]
    truth: dict[str, float]
    prediction: dict[str, float]


class FieldComparer:
    """Compares fields, one after the other, that have the channels of the first.

    Attributes
    ----------
    notes
        What was taken for what, left out or shifted; complete after the last field.

    Parameters
    ----------
    settings
        Of the run.
    sample
        Is shown the single cells of both sides, if given.
    """

    def __init__(self, settings: VerdictSettings, sample: CellSample | None = None) -> None:
        self._settings = settings
        self._sample = sample
        self._measurer: FieldMeasurer | None = None
        self._left_out: list[str] = []
        self._shifted: list[str] = []
        self._first: Exception | None = None
        self._opener = PairOpener(settings.match, settings.pixel_size)

    @property
    def measurer(self) -> FieldMeasurer:
        """How both are measured.

        Raises
        ------
        VirtualStainError
            If no field could be; that of the first.
        """
        if self._measurer is None:
            raise self._first or PixelDataError("There is no field to compare. Give others.")
        return self._measurer

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Channel of the prediction, channel of the truth."""
        return self._opener.pairs

    @property
    def said(self) -> tuple[str, ...]:
        """What was taken for what when the first field was opened."""
        return tuple(self._opener.said)

    @property
    def notes(self) -> list[str]:
        """Sentences about fields and channels."""
        found = [*self._opener.said, *self.measurer.notes]
        if self._left_out:
            left = plural(len(self._left_out), "field")
            found.append(f"{left} left out; the first, {self._left_out[0]}")
        if self._shifted:
            shifted = plural(len(self._shifted), "field")
            found.append(
                f"the truth of {shifted} does not lie on its prediction, which lowers all scores; "
                f"the first, {self._shifted[0]}"
            )
        return found

    def plane(self, image: LazyImage) -> int:
        """Return which z plane of an image is looked at."""
        return image.shape[2] // 2 if self._settings.z is None else self._settings.z

    def compare(
        self, pairs: list[FieldPair], on_field: Callable[[int], None]
    ) -> Iterator[ComparedField]:
        """Yield what can be compared; pixels of one field are held at a time.

        Raises
        ------
        ChannelError
            If the first field has no such channels.
        """
        for number, pair in enumerate(pairs):
            on_field(number)
            try:
                found = list(self._field(pair))
            except (ImageFileError, PixelDataError, ChannelError) as error:
                if isinstance(error, ChannelError) and self._measurer is None:
                    raise
                self._first = self._first or error
                self._left_out.append(f"{pair.prediction.name}: {error}")
                continue
            yield from found
        on_field(len(pairs))

    def _field(self, pair: FieldPair) -> Iterator[ComparedField]:
        prediction, truth = self.opened(pair)
        if self._measurer is None:
            self._measurer = self._first_measurer(prediction)
        measurer = self._measurer
        nuclei = measurer.nuclei
        _, shifts = seen_to(prediction, truth, [(nuclei, nuclei)], correct=False)
        self._shifted += [f"{pair.prediction.name}: {one}" for one in shifts]
        plane = self.plane(prediction)
        both = zip(measurer.measure(prediction), measurer.measure(truth), strict=True)
        for predicted, true in both:
            scores: dict[str, float] = {}
            for stain in measurer.stains:
                names = (stain, stain)
                one = compare_planes(prediction, truth, None, names, predicted.t, plane)
                c = one.compared
                values = (c.pearson, one.ssim, c.psnr, c.mae, c.mse, c.gain)
                scores |= {f"{s}_{stain}": v for s, v in zip(SCORES, values, strict=True)}
            if self._sample is not None:
                self._sample.add(pair.key[:2], true.table, predicted.table)
            match = match_objects(predicted.nuclei, true.nuclei).to_json()
            yield ComparedField(
                key=(*pair.key, str(predicted.t)), pair=pair, scores=scores,
                nuclei={name: match[name] for name in ("true", "predicted", *KINDS)},
                truth=true.summary(), prediction=predicted.summary(),
            )  # fmt: skip

    def opened(self, pair: FieldPair) -> tuple[LazyImage, LazyImage]:
        """Open both, with the channels that are compared, under the names of the prediction."""
        return self._opener.open(pair)

    def _first_measurer(self, prediction: LazyImage) -> FieldMeasurer:
        own = self._settings
        settings = MeasureSettings(
            input=own.prediction, out=own.out, nuclei=own.nuclei, cells=own.cells,
            stains=prediction.channel_names, nucleus=own.nucleus, reach=own.reach, z=own.z,
            pixel_size=own.pixel_size,
        )  # fmt: skip
        return FieldMeasurer.for_image(settings, prediction)
