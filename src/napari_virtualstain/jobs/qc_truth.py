"""Is a prediction like its truth, and may it be read as an amount? Where there is a true stain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_virtualstain.datasets.stain_names import find_stain
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.compare import compare_planes, grid_of, grid_words, read_rows
from napari_virtualstain.jobs.matched_channels import match_channels, read_match
from napari_virtualstain.jobs.qc_field import JudgedImage
from napari_virtualstain.objects.match import match_objects
from napari_virtualstain.objects.segment import segment_nuclei
from napari_virtualstain.qc.check import Finding, State
from napari_virtualstain.qc.field import NUCLEUS_UM
from napari_virtualstain.qc.guard import Guard, bright_ranks, judge_amount

if TYPE_CHECKING:
    from napari_virtualstain.jobs.qc import QcSettings

__all__ = ["TruthComparer"]

_WRONG = (0.1, 0.2)
"""Share of nuclei without a partner that is amber, and red."""


class TruthComparer:
    """Compares fields with their truth, and gathers what that says of amounts.

    Parameters
    ----------
    settings
        Of the run.
    """

    def __init__(self, settings: QcSettings) -> None:
        self._settings = settings
        self._gains: dict[str, list[tuple[float, float, float]]] = {}

    def compare(self, image: JudgedImage, truth: LazyImage, t: int) -> list[Finding]:
        """Return what a truth says of one time point.

        Raises
        ------
        PixelDataError
            If the truth is of another size.
        ChannelError
            If it has none of the stains.
        """
        prediction, truth = image.prediction, truth.with_gaps()
        if grid_of(prediction) != grid_of(truth):
            raise PixelDataError(
                f"The prediction is {grid_words(prediction)} and its truth {grid_words(truth)}. "
                "Give the truth of the same field and size; project or select z planes first."
            )
        wanted = read_match(prediction.channel_names, self._settings.match)
        pairs = match_channels(prediction, truth, wanted)
        z = prediction.shape[2] // 2 if self._settings.z is None else self._settings.z
        numbers = {}
        for stain, name in pairs:
            one = compare_planes(prediction, truth, None, (stain, name), t, z)
            mean = one.compared.truth_mean
            offset = one.compared.offset / mean if mean else float("nan")
            predicted = read_rows(prediction, t, prediction.channel_index(stain), z, slice(None))
            true = read_rows(truth, t, truth.channel_index(name), z, slice(None))
            rank = bright_ranks(predicted, true, image.pixel_um)
            self._gains.setdefault(stain, []).append((one.compared.gain, offset, rank))
            numbers[f"{stain} PCC"] = one.compared.pearson
            numbers[f"{stain} gain"] = one.compared.gain
        return [_finding(image, truth, t, z, pairs, numbers)]

    def guard(self) -> dict[str, Guard]:
        """Return the verdict of each stain on amounts."""
        found = {}
        for stain, rows in self._gains.items():
            gains, offsets, ranks = zip(*rows, strict=True)
            one = judge_amount(gains, offsets, ranks)
            if one is not None:
                found[stain] = one
        return found


def _finding(
    image: JudgedImage, truth: LazyImage, t: int, z: int, pairs: list[tuple[str, str]],
    numbers: dict[str, float],
) -> Finding:  # fmt: skip
    """Count nuclei on both sides, where there is a stain of DNA."""
    title = "Nuclei beside the true ones"
    dna = find_stain("DNA", [stain for stain, _ in pairs])
    if dna is None:
        return Finding(
            check="truth", title=title, state="not assessable", numbers=numbers,
            reason="not assessable: no channel is surely DNA",
        )  # fmt: skip
    own = dict(pairs)
    size = (NUCLEUS_UM[0] / image.pixel_um, NUCLEUS_UM[1] / image.pixel_um)
    predicted, true = (
        segment_nuclei(
            read_rows(picture, t, picture.channel_index(name), z, slice(None)), diameter_px=size
        )
        for picture, name in (
            (image.prediction, dna.channel), (truth, own[dna.channel]),
        )
    )  # fmt: skip
    match = match_objects(predicted, true)
    if not match.n_true and not match.n_predicted:
        return Finding(
            check="truth", title=title, state="not assessable", numbers=numbers,
            reason="not assessable: there is no nucleus, predicted or true",
        )  # fmt: skip
    lost = len(match.missed) / max(match.n_true, 1)
    invented = len(match.invented) / max(match.n_predicted, 1)
    numbers |= {"missed": lost, "invented": invented}
    worst = max(lost, invented)
    state: State = "red" if worst > _WRONG[1] else "amber" if worst > _WRONG[0] else "green"
    wrong = np.isin(predicted, match.invented) | np.isin(true, match.missed)
    return Finding(
        check="truth", title=title, state=state, score=worst / _WRONG[0],
        number="missed" if lost >= invented else "invented", value=worst, numbers=numbers,
        reason="" if state == "green" else
        f"{lost:.0%} of {match.n_true} true nuclei have no predicted one, {invented:.0%} of "
        f"{match.n_predicted} predicted ones no true one",
        advice="" if state == "green" else "Do not count cells here.",
        where=None if state == "green" else wrong,
    )  # fmt: skip
