"""Can mechanisms be told apart, as well as in truth, and by the same features? A classifier says.

Four of them: taught by truth or by prediction, asked of truth or of prediction. All are asked of
wells that neither side taught, so that a well is never recognised by its own other picture.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.embedding.intervals import Interval, bootstrap
from napari_virtualstain.errors import PixelDataError, from_extra
from napari_virtualstain.metrics.classification import Confusion, confusion

__all__ = [
    "Classified",
    "Classifiers",
    "classify_sources",
    "teachable",
]

_SHUFFLES = 200
EXTRA = "phenotype"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classified:
    """What a classifier of one source says of another.

    Parameters
    ----------
    taught, asked
        Names of the sources.
    table
        Which classes are taken for which.
    guess
        (N,) class of each well, said by a classifier that its group did not teach.
    f1
        Macro F1, with its interval over groups of wells.
    chance
        Macro F1 of the same guesses in random order.
    """

    taught: str
    asked: str
    table: Confusion
    guess: tuple[str, ...]
    f1: Interval
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classifiers:
    """All that were taught by some sources.

    Parameters
    ----------
    scores
        Each source asked of each.
    weights
        (D,) by source: how much each feature decides, of a sum of 1, taught by all wells; empty
        where the border is curved.
    of_folds
        (folds, D) by source: the same of each classifier that was scored.
    differences
        By source: its own F1 minus that of the first source, with its interval.
    """

    scores: tuple[Classified, ...]
    weights: Mapping[str, NDArray[np.float64]]
    of_folds: Mapping[str, NDArray[np.float64]]
    differences: Mapping[str, Interval]

    def score(self, taught: str, asked: str) -> Classified:
        """Return one of the scores."""
        return next(s for s in self.scores if (s.taught, s.asked) == (taught, asked))


def teachable(
    classes: Sequence[str], groups: Sequence[Hashable], folds: int
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Return which wells can be classified, and of each class that cannot its number of groups.

    Parameters
    ----------
    classes
        Of each well, ``""`` for none.
    groups
        What is never split between teaching and asking: well, plate or treatment.
    folds
        In so many parts wells are asked; a class needs as many groups.

    Raises
    ------
    PixelDataError
        If fewer than two classes are left.
    """
    there: dict[str, set[Hashable]] = {}
    for one, group in zip(classes, groups, strict=True):
        if one:
            there.setdefault(one, set()).add(group)
    few = {one: len(inside) for one, inside in there.items() if len(inside) < folds}
    if len(there) - len(few) < 2:
        most = sorted((len(inside) for inside in there.values()), reverse=True)
        then = "Name more than one" if len(there) < 2 else (
            f"Ask with --folds {most[1]}" if most[1] > 1 else "Compare more wells"
        )  # fmt: skip
        raise PixelDataError(
            f"Only {len(there) - len(few)} of {len(there)} classes have {folds} groups of wells or "
            f"more, and two are needed to tell one from another. {then}, or group by something "
            "smaller with --group."
        )
    return np.array([bool(one) and one not in few for one in classes]), few


def classify_sources(
    sources: Mapping[str, NDArray[np.float64]],
    classes: Sequence[str],
    groups: Sequence[Hashable],
    *,
    folds: int = 5,
    linear: bool = True,
    draws: int = 500,
    seed: int = 0,
) -> Classifiers:
    """Teach a classifier by each source, and ask it of each.

    Parameters
    ----------
    sources
        (N, D) by name, of the same wells and features, nothing missing.
    classes, groups
        Of each well; see `teachable`.
    folds
        Wells are asked in so many parts, the same for all sources; each group lies in one.
    linear
        Whether classes lie on two sides of a plane, so that weights say by what it decides. What
        lies all around the other class, as treatments around controls, needs a curved border
        (radial basis functions).
    draws, seed
        Of the bootstrap over groups, which keeps the classifiers as they are; the seed also deals
        groups out.

    Raises
    ------
    MissingExtraError
        If scikit-learn is not installed.
    PixelDataError
        If there are fewer groups than folds.

    Notes
    -----
    A support vector machine over features of mean 0 and variance 1, one class against another,
    classes weighted by their size, as in Xing et al. 2024 ("Can generative AI replace
    immunofluorescent staining processes?"), who use five folds and say nothing of kernel and
    groups.
    """
    svm, selection, pipeline, scaling = (
        from_extra(
            f"sklearn.{name}", extra=EXTRA,
            needs="Classifiers of mechanisms take scikit-learn, of the extra [phenotype].",
        )
        for name in ("svm", "model_selection", "pipeline", "preprocessing")
    )  # fmt: skip
    names = np.asarray(classes)
    if len(set(groups)) < folds:
        raise PixelDataError(
            f"{len(set(groups))} groups of wells do not fall into {folds} folds. "
            f"Ask with --folds {max(len(set(groups)), 2)}, or with a smaller --group."
        )
    codes = {group: n for n, group in enumerate(dict.fromkeys(groups))}
    numbers = np.array([codes[group] for group in groups])

    def taught(values: NDArray[np.float64], rows: NDArray[np.int64]) -> Any:
        machine = svm.SVC(kernel="linear" if linear else "rbf", class_weight="balanced")
        return pipeline.make_pipeline(scaling.StandardScaler(), machine).fit(
            values[rows], names[rows]
        )

    dealt = selection.StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    guesses = {pair: np.empty_like(names) for pair in ((a, b) for a in sources for b in sources)}
    of_folds: dict[str, list[NDArray[np.float64]]] = {name: [] for name in sources}
    for teach, ask in dealt.split(numbers[:, None], names, numbers):
        if len(set(names[teach].tolist())) < len(set(classes)):
            raise PixelDataError(
                f"With {folds} folds a class is never taught, since its wells lie in too few "
                "groups. Ask with fewer --folds, or with a smaller --group."
            )
        for name, values in sources.items():
            machine = taught(values, teach)
            if linear:
                of_folds[name].append(_weights(machine))
            for other, theirs in sources.items():
                guesses[name, other][ask] = machine.predict(theirs[ask])
    every = np.arange(len(names))
    first = next(iter(sources))
    own = {name: guesses[name, name] for name in sources}
    return Classifiers(
        scores=tuple(
            _scored(*pair, guess, names, groups, draws, seed) for pair, guess in guesses.items()
        ),
        weights={name: _weights(taught(values, every)) for name, values in sources.items()}
        if linear else {},
        of_folds={name: np.array(each) for name, each in of_folds.items()},
        differences={
            name: bootstrap(
                _difference(names, guess, own[first]), groups, draws=draws, seed=seed
            )
            for name, guess in own.items() if name != first
        },
    )  # fmt: skip


def _weights(machine: Any) -> NDArray[np.float64]:
    """Return how much each feature decides: root mean square over pairs of classes, of sum 1."""
    size = np.sqrt((machine[-1].coef_ ** 2).mean(axis=0))
    return np.asarray(size / max(size.sum(), 1e-300), np.float64)


def _f1(true: NDArray[np.str_], guess: NDArray[np.str_]) -> float:
    """Return the macro F1 over classes that are true."""
    scores = []
    for one in np.unique(true):
        here, said = true == one, guess == one
        scores.append(2 * (here & said).sum() / (here.sum() + said.sum()))
    return float(np.mean(scores))


def _difference(
    true: NDArray[np.str_], guess: NDArray[np.str_], other: NDArray[np.str_]
) -> Callable[[NDArray[np.int64]], float]:
    return lambda drawn: _f1(true[drawn], guess[drawn]) - _f1(true[drawn], other[drawn])


def _scored(
    name: str, other: str, guess: NDArray[np.str_], true: NDArray[np.str_],
    groups: Sequence[Hashable], draws: int, seed: int,
) -> Classified:  # fmt: skip
    rng = np.random.default_rng(seed)
    return Classified(
        taught=name, asked=other, table=confusion(true.tolist(), guess.tolist()),
        guess=tuple(guess.tolist()),
        f1=bootstrap(lambda d: _f1(true[d], guess[d]), groups, draws=draws, seed=seed),
        chance=float(np.mean([_f1(true, rng.permutation(guess)) for _ in range(_SHUFFLES)])),
    )  # fmt: skip
