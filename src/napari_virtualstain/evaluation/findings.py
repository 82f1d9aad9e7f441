"""What do the numbers mean, in plain words? Each question answered: kept, changed, or not known.

An answer is *kept* where the whole interval lies within what is allowed, *changed* where the whole
of it lies outside, and not known in between: few wells are no proof that nothing changed. What is
allowed is a choice, and stands beside the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from napari_virtualstain.embedding.intervals import Interval
from napari_virtualstain.evaluation.agreement import HitAgreement
from napari_virtualstain.evaluation.targets import TargetMatch

__all__ = [
    "CAVEAT",
    "Finding",
    "State",
    "about_amounts",
    "about_counts",
    "about_hits",
    "about_targets",
    "conclusion",
    "finding",
    "said",
    "state_of",
    "trust_in",
]

State = Literal["kept", "changed", "unsure"]

CAVEAT = (
    "Virtual staining does not by itself replace staining: what it draws is likely, not seen. "
    "These answers hold for the wells that were compared, and for others only as far as they are "
    "like these."
)
"""What the authors of the methods say of them (Cross-Zamirski et al. 2022, discussion)."""

COUNTS = (0.95, 1.05)
"""Predicted over true number of nuclei that is no change."""
AMOUNTS = (0.9, 1.1)
"""Predicted over true brightness that is none."""
OVERLAP, RANKING, RECOGNISED = 0.8, 0.8, 0.5
"""Least agreement of hits, of their order, and of treatments with themselves."""
TARGETS = -0.1
"""Least difference of the shares of matched targets."""
TRUSTED, DOUBTED = 0.8, 0.5
"""Correlation of features from which, and below which, they are (not) to be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One question and its answer.

    Parameters
    ----------
    question
        ``"counts"``, ``"amounts of DNA"``, ``"hits"``, ...
    state
        What became of it.
    sentence
        For people.
    value, low, high
        The number and its interval, `None` where there is none.
    allowed
        From where to where nothing has changed.
    """

    question: str
    state: State
    sentence: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    allowed: tuple[float | None, float | None] = (None, None)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "question": self.question, "state": self.state, "sentence": self.sentence,
            "value": self.value, "low": self.low, "high": self.high, "allowed": list(self.allowed),
        }  # fmt: skip


def state_of(interval: Interval, low: float | None, high: float | None = None) -> State:
    """Return whether an interval lies inside of what is allowed, outside, or on its border.

    Examples
    --------
    >>> some = [Interval(value=v, low=v - 0.02, high=v + 0.02, level=0.95, groups=9)
    ...         for v in (1.0, 0.9, 0.94)]
    >>> [state_of(one, 0.95, 1.05) for one in some]
    ['kept', 'changed', 'unsure']
    """
    least = float("-inf") if low is None else low
    most = float("inf") if high is None else high
    if interval.low >= least and interval.high <= most:
        return "kept"
    if interval.high < least or interval.low > most:
        return "changed"
    return "unsure"  # also of NaN


def about_counts(ratio: Interval, r: float, *, matched: int, true: int, predicted: int) -> Finding:
    """Say whether there are as many nuclei, and where they should be."""
    many = f"{predicted} nuclei were predicted and {true} are true"
    places = ""
    if true and predicted:
        places = (
            f"; {_percent(1 - matched / true)} of the true ones have no match, and "
            f"{_percent(1 - matched / predicted)} of the predicted ones have none"
        )
    order = "" if r != r else f" Over fields, counts correlate by {r:.2f}."
    return finding(
        "counts", ratio, COUNTS,
        f"{many}, {said(ratio)} times as many{places}.{order}",
    )  # fmt: skip


def about_amounts(channel: str, ratio: Interval, *, relative: bool = False) -> Finding:
    """Say whether a stain is as bright in its objects.

    Parameters
    ----------
    channel
        Which.
    ratio
        Predicted over true amount.
    relative
        Whether the model says itself that its grey values are relative.
    """
    if ratio.value != ratio.value:
        none = f"No object tells how bright {channel} is in prediction and truth."
        return finding(f"amounts of {channel}", ratio, AMOUNTS, none)
    then = ""
    if state_of(ratio, *AMOUNTS) != "kept":
        then = " Compare amounts with those of other predictions only, and after a calibration."
    if relative:
        then += " The model promises no more than relative intensity."
    return finding(
        f"amounts of {channel}", ratio, AMOUNTS,
        f"Objects hold {said(ratio)} times as much {channel} as in truth.{then}",
    )  # fmt: skip


def about_hits(found: HitAgreement) -> list[Finding]:
    """Say whether the same treatments do something, in the same order, and the same thing."""
    true, predicted = int(found.truth.hits.sum()), int(found.prediction.hits.sum())
    total = len(found.truth.treatments)
    if not true and not predicted:
        return [
            Finding(
                question="hits", state="unsure",
                sentence=f"None of the {total} treatments differs from the controls, neither in "
                "truth nor in prediction: this plate cannot tell whether hits would be found.",
            )
        ]  # fmt: skip
    which = "".join(
        f" {what}: {', '.join(names)}."
        for what, names in (("Lost", found.lost), ("Invented", found.invented))
        if names
    )
    answers = [
        finding(
            "hits", found.overlap, (OVERLAP, None),
            f"Of {total} treatments, {true} are hits in truth and {predicted} in prediction; the "
            f"two lists overlap by {said(found.overlap)}.{which}",
        )
    ]  # fmt: skip
    if found.ranking.value == found.ranking.value:
        answers.append(
            finding(
                "ranking", found.ranking, (RANKING, None),
                "The strengths of the treatments correlate in their order by "
                f"{said(found.ranking)}.",
            )
        )  # fmt: skip
    if total > 1 and true:
        answers.append(_directions(found, total))
    return answers


def _directions(found: HitAgreement, total: int) -> Finding:
    taken = [
        f"{name} looks like {found.truth.treatments[near]}"
        for name, near, hit in zip(
            found.truth.treatments, found.nearest.tolist(), found.truth.hits, strict=True
        )
        if hit and near >= 0 and found.truth.treatments[near] != name
    ]
    one = finding(
        "treatments", found.recognised, (RECOGNISED, None),
        f"Of the true hits, {said(found.recognised)} look like themselves more than like any "
        f"other treatment ({1 / total:.2f} by chance)."
        + (f" {'; '.join(taken[:5])}{' and others' if len(taken) > 5 else ''}." if taken else ""),
    )  # fmt: skip
    if not found.swapped:
        return one
    pairs = "; ".join(f"{a} and {b}" for a, b in found.swapped)
    return Finding(
        question="treatments", state="changed", sentence=f"Swapped: {pairs}. {one.sentence}",
        value=one.value, low=one.low, high=one.high, allowed=one.allowed,
    )  # fmt: skip


def about_targets(matches: Sequence[TargetMatch]) -> list[Finding]:
    """Say whether treatments with the same target still look alike."""
    answers = []
    for one in matches:
        if one.difference is None:
            continue
        neighbours = (
            "the nearest treatment" if one.within == 1 else f"one of the {one.within} nearest"
        )
        answers.append(
            finding(
                "targets" if one.within == 1 else f"targets within {one.within}",
                one.difference, (TARGETS, None),
                f"Of {one.treatments} treatments, {neighbours} has the same target for "
                f"{one.truth} in truth and {one.prediction} in prediction "
                f"({one.chance * one.treatments:.1f} by chance).",
            )
        )  # fmt: skip
    return answers


def trust_in(correlation: float) -> str:
    """Say whether features that correlate so are to be trusted.

    Examples
    --------
    >>> trust_in(0.9), trust_in(0.6), trust_in(0.1), trust_in(float("nan"))
    ('trust', 'with care', 'do not trust', 'not known')
    """
    if correlation != correlation:
        return "not known"
    if correlation >= TRUSTED:
        return "trust"
    return "with care" if correlation >= DOUBTED else "do not trust"


def conclusion(findings: Sequence[Finding]) -> tuple[State, str]:
    """Return what became of the whole, and a sentence."""
    changed = [one.question for one in findings if one.state == "changed"]
    unsure = [one.question for one in findings if one.state == "unsure"]
    if changed:
        return "changed", f"The conclusion would have been another one: {', '.join(changed)}."
    if unsure:
        return "unsure", (
            f"Nothing shows that the conclusion would have been another one, but of "
            f"{', '.join(unsure)} these wells do not tell."
        )
    return "kept", "The conclusion would have been the same, as far as was asked."


def finding(
    question: str, interval: Interval, allowed: tuple[float | None, float | None], sentence: str
) -> Finding:
    """Return the answer to a question by its interval; see `state_of`."""

    def known(value: float) -> float | None:
        return None if value != value else value

    return Finding(
        question=question, state=state_of(interval, *allowed), sentence=sentence,
        value=known(interval.value), low=known(interval.low), high=known(interval.high),
        allowed=allowed,
    )  # fmt: skip


def said(interval: Interval) -> str:
    """Return a number and its interval as sentences have them."""
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
