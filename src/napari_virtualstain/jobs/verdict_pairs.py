"""Which truth is that of a predicted field? That of its plate, well and site, else of its name."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from napari_virtualstain.datasets.labels import name_key, place_key
from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.evaluation.profiles import Key
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.scene import listed
from napari_virtualstain.jobs.compare import grid_of, grid_words
from napari_virtualstain.jobs.listed_images import ListedImage
from napari_virtualstain.jobs.matched_channels import match_channels, read_match, taken_for
from napari_virtualstain.words import plural

__all__ = ["FieldPair", "PairOpener", "pair_fields"]

_SHOWN = 5
_SAME_SIZE = 0.01


@dataclass(frozen=True, slots=True)
class FieldPair:
    """One field, predicted and true."""

    prediction: ListedImage
    truth: ListedImage

    @property
    def key(self) -> Key:
        """Plate, well and site as the truth calls them; an image in no well is a well itself."""
        place = self.truth.place
        if place.well:
            return place.plate, place.well, place.site
        return "", self.truth.name, ""


class PairOpener:
    """Opens predictions with their truths, with the channels of the first pair.

    Attributes
    ----------
    pairs
        Channel of the prediction, channel of the truth; empty before the first.
    said
        What was guessed and taken for what when the first was opened.

    Parameters
    ----------
    match
        ``PREDICTED=TRUE`` names of channels, where they differ.
    pixel_size
        In micrometres, if that of the files does not matter.
    """

    def __init__(self, match: Sequence[str], pixel_size: float | None) -> None:
        self._match, self._pixel_size = match, pixel_size
        self.pairs: list[tuple[str, str]] = []
        self.said: list[str] = []

    def open(self, pair: FieldPair) -> tuple[LazyImage, LazyImage]:
        """Open both, with the channels that are compared, under the names of the prediction.

        Raises
        ------
        VirtualStainError
            If they cannot be opened, have other channels, or are not of one size.
        """
        prediction, truth = pair.prediction.scene.open(), pair.truth.scene.open()
        if not self.pairs:
            wanted = read_match(prediction.channel_names, self._match)
            self.pairs = match_channels(prediction, truth, wanted)
            self.said += [*prediction.guesses, *truth.guesses]
            self.said += taken_for(self.pairs, self._match)
        prediction = prediction.select([stain for stain, _ in self.pairs]).with_gaps()
        own = truth.select([name for _, name in self.pairs]).with_gaps()
        truth = replace(own, channels=prediction.channels)
        if grid_of(prediction) != grid_of(truth):
            raise PixelDataError(
                f"The prediction is {grid_words(prediction)} and its truth {grid_words(truth)}. "
                "Give the truth of the same field and size; project or select z planes first."
            )
        one, other = prediction.pixel_size_um, truth.pixel_size_um
        if one.y is None or other.y is None:  # one of them may know it
            known = other if one.y is None else one
            prediction, truth = (replace(i, pixel_size_um=known) for i in (prediction, truth))
        elif self._pixel_size is None and abs(one.y - other.y) > _SAME_SIZE * other.y:
            raise PixelDataError(
                f"A pixel of the prediction is {one.y:g} µm and one of its truth {other.y:g} µm. "
                "Give the right one with --pixel-size."
            )
        return prediction, truth


def pair_fields(
    predictions: Sequence[ListedImage], truths: Sequence[ListedImage], *, what: str = "truth"
) -> tuple[list[FieldPair], list[str]]:
    """Return the fields that are predicted and true, and what to know of the others.

    Parameters
    ----------
    predictions, truths
        Images of both. Names of plates do not matter where either has one plate only. Where no two
        lie in one well, they are put together by their own names.
    what
        The second are, for messages.

    Raises
    ------
    SettingsError
        If two images of one side are the same field.
    PixelDataError
        If no field is on both sides.
    """
    if len(predictions) == len(truths) == 1:
        return [FieldPair(predictions[0], truths[0])], []
    with_plates = all(_plates(side) > 1 for side in (predictions, truths))
    for by_place in (True, False):
        true = _by_key(truths, with_plates, "true" if what == "truth" else what, by_place=by_place)
        found = _by_key(predictions, with_plates, "predicted", by_place=by_place)
        pairs = [FieldPair(found[key], one) for key, one in true.items() if key in found]
        if pairs:
            break
    if not pairs:
        raise PixelDataError(
            f"No predicted field ({_first(predictions)}) has a {what} ({_first(truths)}). Give the "
            f"{what} of the same wells and sites, with the same names."
        )
    notes = []
    for own, other, said in (
        (found, true, f"predicted {{}} without a {what}"),
        (true, found, f"{'true' if what == 'truth' else what} {{}} without a prediction"),
    ):
        alone = [one.name for key, one in own.items() if key not in other]
        if alone:
            fields = said.format("field" if len(alone) == 1 else "fields")
            notes.append(f"{len(alone)} {fields}, left out: {listed(alone, _SHOWN)}")
    return pairs, notes


def _by_key(
    images: Sequence[ListedImage], with_plates: bool, which: str, *, by_place: bool
) -> dict[Hashable, ListedImage]:
    found: dict[Hashable, ListedImage] = {}
    for one in images:
        place = place_key((one.path, one.scene.place)) if by_place else None
        key: Hashable = (name_key(one.key[0]), one.key[1].casefold())
        if place is not None:
            key = place if with_plates else place[1:]
        if key in found:
            raise SettingsError(
                f"Two {which} images are of the same field: {found[key].name!r} and {one.name!r}. "
                "Choose one of them with --scene, or a folder that has each field once."
            )
        found[key] = one
    return found


def _plates(images: Sequence[ListedImage]) -> int:
    places = [place_key((one.path, one.scene.place)) for one in images]
    return len({place[0] for place in places if place is not None})


def _first(images: Sequence[ListedImage]) -> str:
    return f"{plural(len(images), 'image')}, the first {images[0].name!r}"
