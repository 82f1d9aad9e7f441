"""What the same tuning would have come to with fewer fields, or judged by other ones.

Each of these tunings begins anew from the base model, with the settings of the one that is asked
for; nothing of them is kept but what they scored.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.datasets.project_files import read_values, write_values
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.jobs.base import Progress, stage
from napari_virtualstain.jobs.training_fields import FieldData
from napari_virtualstain.jobs.training_run import devices_of, training_folder
from napari_virtualstain.metrics.learning_curve import Outlook, outlook

if TYPE_CHECKING:
    from napari_virtualstain.jobs.finetune import FinetuneSettings, Tuning
    from napari_virtualstain.jobs.tuning_judge import BlockScores

__all__ = ["fewer_fields", "folds_of", "other_folds", "subsets_of"]

Parts = tuple[list[int], list[int], list[int]]

_FEWER, _FOLDS = "fewer", "folds"
"""How the files and folders of such tunings begin."""
_REPEATS = 3
"""Tunings of a number of fields, of other fields each, as far as there are so many."""
_MORE = 10
_TIMES = 3
"""More fields than so many times those that there are, nothing can be said of."""


def subsets_of(groups: Sequence[str], seed: int) -> list[tuple[str, ...]]:
    """Return which groups teach in tunings on fewer of them: of 1, 2, 4 and so on.

    Parameters
    ----------
    groups
        Of the fields that teach, as often as you like.
    seed
        Decides which come together.

    Examples
    --------
    >>> [len(some) for some in subsets_of(["a", "b", "c", "d", "e"], 0)]
    [1, 1, 1, 2, 2, 4]
    >>> subsets_of(["a"], 0)
    []
    """
    names = sorted(set(groups))
    order = [names[n] for n in np.random.default_rng(seed).permutation(len(names))]
    found = []
    size = 1
    while size < len(names):
        # No field of one is in another: how much hangs on which is taken is to be seen.
        found += [
            tuple(order[start * size : (start + 1) * size])
            for start in range(min(_REPEATS, len(names) // size))
        ]
        size *= 2
    return found


def fewer_fields(
    settings: FinetuneSettings,
    data: FieldData,
    parts: Parts,
    scores: NDArray[np.float64],
    on_progress: Progress | None,
    should_stop: Callable[[], bool],
) -> tuple[Outlook, ...] | None:
    """Tune on fewer fields, and say what more would bring.

    Parameters
    ----------
    settings
        Of the tuning on all of them.
    data
        Fields.
    parts
        Numbers of those that teach, choose and judge.
    scores
        What it came to: (blocks, stains).
    on_progress
        Told of steps done.
    should_stop
        Asked after each step; what was done stays, and is not done again when the tuning is gone on
        with.

    Returns
    -------
    tuple or None
        By stain that is known; `None` if it was stopped.
    """
    from napari_virtualstain.jobs.tuning_blocks import block_scores

    teach, _, judge = parts
    groups = _groups(data)
    folder = training_folder(settings.out)
    subsets = subsets_of([groups[n] for n in teach], settings.seed)
    if not settings.resume:
        _forget(folder, _FEWER)
    known = _known(folder, _FEWER)
    told = stage(on_progress, "tunings on fewer fields")
    for number, names in enumerate(subsets):
        told(number, len(subsets))
        if str(number) in known or settings.preset == "recalibrate":
            continue
        own = [n for n in teach if groups[n] in names]
        place = folder / f"{_FEWER}-{number}"
        ready = _tuned_anew(settings, data, (own, [], judge), place, should_stop)
        if ready is None:
            return None
        known[str(number)] = block_scores(ready.generator, ready.judge).tolist()
        _keep(folder, _FEWER, known)
    told(len(subsets), len(subsets))
    size = len({groups[n] for n in teach})
    sizes = [*(len(names) for n, names in enumerate(subsets) if str(n) in known), size]
    tables = [*(np.array(known[str(n)], float) for n in range(len(subsets)) if str(n) in known)]
    tables.append(scores)
    more = min(_MORE, _TIMES * size)
    return tuple(
        outlook(sizes, [table[:, c] for table in tables], more=more, what=stain, seed=settings.seed)
        for c, stain in enumerate(data.stains)
        if np.isfinite(scores[:, c]).any()
    )


def folds_of(groups: Sequence[str], held: Collection[str]) -> list[tuple[str, ...]]:
    """Return which groups judge in further tunings, so that every group judges once.

    Parameters
    ----------
    groups
        Of all fields, as often as you like.
    held
        Those that judge already; as many, or nearly, judge in each further tuning.

    Examples
    --------
    >>> folds_of(["a", "b", "c", "d", "e", "c"], {"b"})
    [('a',), ('c',), ('d',), ('e',)]
    >>> folds_of(["a", "b", "c", "d", "e"], {"b", "d"})
    [('a', 'c'), ('e',)]
    """
    left = sorted(set(groups) - set(held))
    size = max(1, len(set(held)))
    return [tuple(left[start : start + size]) for start in range(0, len(left), size)]


def other_folds(
    settings: FinetuneSettings,
    data: FieldData,
    parts: Parts,
    on_progress: Progress | None,
    should_stop: Callable[[], bool],
) -> list[BlockScores] | None:
    """Tune again without each of the fields that taught, and score it there.

    Parameters
    ----------
    settings, data, parts, on_progress, should_stop
        As of `fewer_fields`.

    Returns
    -------
    list or None
        By tuning, what its own fields say; without pictures of the worst of them. `None` if it was
        stopped.
    """
    from napari_virtualstain.jobs.tuning_judge import BlockScores, compare_blocks
    from napari_virtualstain.zoo import load_generator

    groups = _groups(data)
    folder = training_folder(settings.out)
    teach, choose, judge = parts
    all_ = sorted([*teach, *choose, *judge])
    folds = folds_of([groups[n] for n in all_], {groups[n] for n in (*choose, *judge)})
    if not settings.resume:
        _forget(folder, _FOLDS)
    known = _known(folder, _FOLDS)
    told = stage(on_progress, "tunings that judge the other fields")
    for number, names in enumerate(folds):
        told(number, len(folds))
        if str(number) in known:
            continue
        held = [n for n in all_ if groups[n] in names]
        own = [n for n in all_ if groups[n] not in names]
        place = folder / f"{_FOLDS}-{number}"
        ready = _tuned_anew(settings, data, (own, [], held), place, should_stop)
        if ready is None:
            return None
        with dask.config.set(scheduler="synchronous"):
            scores = compare_blocks(
                load_generator(settings.model).generator, ready.generator, teach=ready.train,
                held=ready.judge, stains=data.stains, base=ready.base,
            )  # fmt: skip
        known[str(number)] = {"table": scores.table.tolist(), "places": list(scores.places)}
        _keep(folder, _FOLDS, known)
    told(len(folds), len(folds))
    return [
        BlockScores(table=np.array(one["table"], float), places=tuple(one["places"]))
        for one in (known[str(n)] for n in range(len(folds)))
    ]


def _groups(data: FieldData) -> list[str]:
    return [field.group or field.name for field in data.fields]


def _tuned_anew(
    settings: FinetuneSettings,
    data: FieldData,
    parts: Parts,
    place: Path,
    should_stop: Callable[[], bool],
) -> Tuning | None:
    """Return a tuning of its own that has ended, its checkpoint gone; `None` if it was stopped."""
    from napari_virtualstain.jobs.finetune import make_ready
    from napari_virtualstain.training.painting import fit
    from napari_virtualstain.zoo import load_generator

    with dask.config.set(scheduler="synchronous"):
        ready = make_ready(settings, load_generator(settings.model), data, parts)
        if settings.preset == "recalibrate":
            return ready
        result = fit(
            ready.generator, ready.train, ready.loop, folder=place, stain_names=data.stains,
            resume=(place / "checkpoint.pt").is_file(), devices=devices_of(settings.device),
            should_stop=should_stop,
        )  # fmt: skip
    ready.tuned.finish()
    ready.generator.module().to("cpu")
    if not result.finished:
        return None
    shutil.rmtree(place, ignore_errors=True)
    return ready


def _known(folder: Path, what: str) -> dict[str, Any]:
    """Return what tunings of a kind have scored, by their number."""
    try:
        return dict(read_values(folder / f"{what}.json"))
    except VirtualStainError:
        return {}


def _keep(folder: Path, what: str, known: dict[str, Any]) -> None:
    write_values(folder / f"{what}.json", known)


def _forget(folder: Path, what: str) -> None:
    (folder / f"{what}.json").unlink(missing_ok=True)
    for place in folder.glob(f"{what}-*"):
        shutil.rmtree(place, ignore_errors=True)
