"""What do classifiers, neighbours and replicates say, in words? Kept, changed, or not known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_virtualstain.embedding.intervals import Interval, of_difference
from napari_virtualstain.evaluation.actives import ActiveAgreement
from napari_virtualstain.evaluation.findings import Finding, finding, said
from napari_virtualstain.evaluation.mechanisms import Classifiers
from napari_virtualstain.evaluation.reasons import Reasons
from napari_virtualstain.evaluation.recognition import Recognised
from napari_virtualstain.evaluation.replicates import Replicates
from napari_virtualstain.evaluation.toxicity import ToxicityAgreement

__all__ = [
    "about_classes",
    "about_recognition",
    "about_replicates",
    "about_toxicity",
    "actives_in_words",
    "reasons_in_words",
]

F1 = -0.1
"""Least difference of the macro F1 that is no change."""
RECOGNITION = -0.1
"""Least difference of the balanced accuracy of a network."""
PRECISION = -0.1
"""Least difference of the mean average precision."""
SENSITIVITY = 0.8
"""Least share of the truth's toxic wells that are found."""


def about_classes(
    question: str, what: str, found: Classifiers, truth: str, prediction: str
) -> Finding:
    """Say whether classes are told apart as well as in truth.

    Parameters
    ----------
    question, what
        Name of the question, and of the classes.
    found
        Of both sources.
    truth, prediction
        Their names.
    """
    own, theirs = found.score(truth, truth), found.score(prediction, prediction)
    if not own.f1.low > own.chance:
        return Finding(
            question=question, state="unsure",
            sentence=f"{what} are told apart no better than by chance in truth, with a macro F1 of "
            f"{said(own.f1)} ({own.chance:.2f} by chance): there is nothing that could be lost.",
        )  # fmt: skip
    across = found.score(truth, prediction), found.score(prediction, truth)
    return finding(
        question, found.differences[prediction], (F1, None),
        f"{what} are told apart with a macro F1 of {said(own.f1)} in truth and "
        f"{said(theirs.f1)} in prediction ({own.chance:.2f} by chance). Taught by truth and asked "
        f"of prediction it is {across[0].f1.value:.2f}, the other way {across[1].f1.value:.2f}.",
    )  # fmt: skip


def about_recognition(
    prediction: Recognised, truth: Recognised, loss: Interval, label: str
) -> Finding:
    """Say whether a network that true stains taught knows predicted ones.

    Parameters
    ----------
    prediction, truth
        What its guesses come to.
    loss
        Balanced accuracy of prediction minus truth.
    label
        What is learnt.
    """
    classes = len(truth.table.classes)
    if not truth.balanced.low > truth.chance_balanced:
        return Finding(
            question="recognition", state="unsure",
            sentence=f"The network knows the {classes} values of {label} no better than by chance "
            f"in true stains, {said(truth.balanced)} of each ({truth.chance_balanced:.2f} by "
            "chance): there is nothing that could be lost. Teach it longer, or with more wells.",
        )  # fmt: skip
    return finding(
        "recognition", loss, (RECOGNITION, None),
        f"Taught by true stains, a network knows {said(truth.balanced)} of each of {classes} "
        f"values of {label} in the true stains of other wells, and {said(prediction.balanced)} in "
        f"the predicted stains of the same wells ({truth.chance_balanced:.2f} by chance).",
    )  # fmt: skip


def reasons_in_words(found: Reasons) -> str:
    """Say whether both decide by the same features."""
    names = f": {', '.join(found.shared)}" if found.shared else ""
    return (
        f"Of the {found.most} features that decide most, truth and prediction share "
        f"{len(found.shared)}{names} ({found.chance * found.most:.1f} by chance; two classifiers "
        f"of the truth share {found.ceiling * found.most:.1f})."
    )


def about_replicates(
    prediction: Replicates, truth: Replicates, treatments: Sequence[str], *, draws: int, seed: int
) -> Finding:
    """Say whether replicates are as alike as in truth.

    Parameters
    ----------
    prediction, truth
        Of the same wells.
    treatments
        Of all wells.
    draws, seed
        Of the bootstrap over treatments.
    """
    both, p, t = np.intersect1d(prediction.wells, truth.wells, return_indices=True)
    interval = of_difference(
        prediction.precision[p], truth.precision[t], [treatments[well] for well in both.tolist()],
        draws=draws, seed=seed,
    )  # fmt: skip
    return finding(
        "replicates", interval, (PRECISION, None),
        "Replicates find each other among controls with a mean average precision of "
        f"{said(truth.mean)} in truth and {said(prediction.mean)} in prediction "
        f"({truth.chance.mean():.2f} by chance).",
    )  # fmt: skip


def actives_in_words(found: ActiveAgreement) -> str:
    """Say whether the same treatments are selected as active.

    This is no answer that is kept or changed: where k-means cuts is too much a matter of chance.
    """
    p, t = found.active
    lost, more = ([n for n, one in zip(found.treatments, which.tolist(), strict=True) if one]
                  for which in (t & ~p, p & ~t))  # fmt: skip
    which = "".join(
        f" {what}: {', '.join(names[:8])}{' and others' if len(names) > 8 else ''}."
        for what, names in (("Active in truth alone", lost), ("In prediction alone", more))
        if names
    )
    return (
        f"Of {len(found.treatments)} treatments, {int(t.sum())} are selected as active in truth "
        f"and {int(p.sum())} in prediction; the two lists overlap by {said(found.overlap)} "
        f"({found.chance:.2f} by chance).{which}"
    )


def about_toxicity(found: ToxicityAgreement) -> Finding:
    """Say whether the same wells are called toxic."""
    counted = (
        f"Of {found.asked} wells, {found.truth} are called toxic in truth and {found.prediction} "
        f"in prediction, {found.both} in both"
    )
    if not found.truth:
        return Finding(
            question="toxicity", state="unsure",
            sentence=f"{counted}: where the truth has none, nobody can tell whether any would be "
            "found.",
        )  # fmt: skip
    return finding(
        "toxicity", found.sensitivity, (SENSITIVITY, None),
        f"{counted}: sensitivity {said(found.sensitivity)} ({found.chance:.2f} by chance), "
        f"specificity {_known(found.specificity)}.",
    )  # fmt: skip


def _known(interval: Interval) -> str:
    return "not known" if interval.value != interval.value else said(interval)
