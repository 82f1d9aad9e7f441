"""What would the same tuning have come to with fewer fields? And so, with more.

Each of these tunings begins anew from the base model, with the settings of the one that is asked
for, and is judged on the same fields; nothing of them is kept but what they scored.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
    from napari_virtualstain.jobs.finetune import FinetuneSettings

__all__ = ["fewer_fields", "subsets_of"]

Parts = tuple[list[int], list[int], list[int]]

_SCORES = "fewer.json"
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
    from napari_virtualstain.jobs.finetune import make_ready
    from napari_virtualstain.jobs.tuning_judge import block_scores
    from napari_virtualstain.training.painting import fit
    from napari_virtualstain.zoo import load_generator

    teach, _, judge = parts
    groups = [data.fields[n].group or data.fields[n].name for n in range(len(data.fields))]
    folder = training_folder(settings.out)
    subsets = subsets_of([groups[n] for n in teach], settings.seed)
    if not settings.resume:
        _forget(folder)
    known = _known(folder)
    told = stage(on_progress, "tunings on fewer fields")
    for number, names in enumerate(subsets):
        told(number, len(subsets))
        if str(number) in known or settings.preset == "recalibrate":
            continue
        own = [n for n in teach if groups[n] in names]
        with dask.config.set(scheduler="synchronous"):
            ready = make_ready(settings, load_generator(settings.model), data, (own, [], judge))
            place = folder / f"fewer-{number}"
            result = fit(
                ready.generator, ready.train, ready.loop, folder=place, stain_names=data.stains,
                resume=(place / "checkpoint.pt").is_file(), devices=devices_of(settings.device),
                should_stop=should_stop,
            )  # fmt: skip
            ready.tuned.finish()
            ready.generator.module().to("cpu")
            if not result.finished:
                return None
            known[str(number)] = block_scores(ready.generator, ready.judge).tolist()
        write_values(folder / _SCORES, known)
        shutil.rmtree(place, ignore_errors=True)
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


def _known(folder: Path) -> dict[str, list[list[float]]]:
    try:
        return dict(read_values(folder / _SCORES))
    except VirtualStainError:
        return {}


def _forget(folder: Path) -> None:
    (folder / _SCORES).unlink(missing_ok=True)
    for place in folder.glob("fewer-*"):
        shutil.rmtree(place, ignore_errors=True)
