"""Whether a truth lies on its prediction, which scores take for granted."""

from __future__ import annotations

from collections.abc import Sequence

from napari_virtualstain.datasets.alignment import StainShift, measure_shift, shift_channels
from napari_virtualstain.io.image import LazyImage

__all__ = ["seen_to"]


def seen_to(
    prediction: LazyImage,
    target: LazyImage,
    pairs: Sequence[tuple[str, str]],
    *,
    correct: bool,
) -> tuple[LazyImage, list[str]]:
    """Measure how each truth lies on its prediction; move what is surely shifted if asked to.

    Parameters
    ----------
    prediction, target
        Of one size.
    pairs
        Channel of the prediction, channel of the target.
    correct
        Whether to move the target. All its planes and time points are moved alike.

    Returns
    -------
    tuple
        The target, lazily moved where it was asked for, and a sentence a channel that is shifted.
        A prediction may be too poor to tell: then nothing is said or done.
    """
    notes: list[str] = []
    moves: dict[tuple[int, int], tuple[float, float]] = {}
    n_t, _, n_z, _, _ = target.shape
    for stain, truth in pairs:
        shift = _measured(prediction, target, stain, truth, n_t // 2, n_z // 2)
        if shift.verdict != "shifted":
            continue
        if correct:
            channel = target.channel_index(truth)
            moves |= {(t, channel): (shift.dy, shift.dx) for t in range(n_t)}
            notes.append(
                f"{stain}: the target was moved by {shift.words()} onto the prediction, as "
                "--correct-shift says; what moved in from outside counts for nothing"
            )
        else:
            notes.append(
                f"{stain}: the target is shifted by {shift.words()} against the prediction, which "
                "lowers all scores; --correct-shift moves it"
            )
    return shift_channels(target, moves), notes


def _measured(
    prediction: LazyImage, target: LazyImage, stain: str, truth: str, t: int, z: int
) -> StainShift:
    """Compare one plane of each."""
    return measure_shift(prediction.select([stain], z=[z]), target.select([truth], z=[z]), 0, t)
