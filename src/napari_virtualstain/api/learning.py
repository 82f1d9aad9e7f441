"""Verbs that teach: pairs, training, tuning, and which fields to stain next."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_virtualstain.jobs.base import Progress, make_settings

if TYPE_CHECKING:
    from napari_virtualstain.jobs.finetune import FinetuneResult
    from napari_virtualstain.jobs.index import IndexResult
    from napari_virtualstain.jobs.pairs import PairsResult
    from napari_virtualstain.jobs.suggest import SuggestResult
    from napari_virtualstain.jobs.train import TrainResult
    from napari_virtualstain.jobs.tuning_plan import FinetunePlan

__all__ = ["finetune", "index", "pairs", "suggest", "train"]


def index(
    source: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str],
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> IndexResult:
    """Keep what the images are like that taught a model: for `qc` and `explain`.

    Parameters
    ----------
    source
        Bright field that taught it: a plate, folder or file; or a pairs file.
    model
        Name or folder.
    on_progress
        Told of fields; raises `errors.RunCancelled` to end the run, and nothing is written.
    on_note
        Called with each sentence about what was guessed or left out.
    **settings
        ``target``, ``out``, ``alarms``, ``pictures`` and the others of
        `napari_virtualstain.jobs.index.IndexSettings`.

    Returns
    -------
    IndexResult
        ``out``, the file; how many ``fields`` and ``patches`` it is of.

    Raises
    ------
    VirtualStainError
        If images and model do not fit, or there are fewer than six fields.
    """
    from napari_virtualstain.jobs import index as job

    values = {"input": os.fspath(source), "model": os.fspath(model), **settings}
    made = make_settings(job.IndexSettings, values)
    return job.run(made, on_progress=on_progress, on_note=on_note)


def pairs(
    source: str | os.PathLike[str],
    *,
    target: str | os.PathLike[str] | None = None,
    on_progress: Progress | None = None,
    **settings: Any,
) -> PairsResult:
    """Match bright field with its stains, measure how they lie on each other, and split them.

    Parameters
    ----------
    source
        File, folder or plate with the bright field, or a table with the columns input and target.
    target
        File, folder or plate with the stains; ``source`` if `None`.
    on_progress
        Told of pairs checked.
    **settings
        ``out`` (a pairs file, which `train` takes as ``pairs``), ``stains``, ``match``,
        ``split``, ``test``, ``correct`` and the others of
        `napari_virtualstain.jobs.pairs.PairsSettings`.

    Returns
    -------
    PairsResult
        ``file.pairs`` with their shifts and sets, ``file.unmatched`` with the reasons,
        ``file.notes``, and ``text()`` for people.

    Raises
    ------
    VirtualStainError
        If nothing can be paired, or fields of two sets share pixels.
    """
    from napari_virtualstain.jobs import pairs as job

    values = {"input": os.fspath(source), **settings}
    values |= {} if target is None else {"target": os.fspath(target)}
    return job.run(make_settings(job.PairsSettings, values), on_progress=on_progress)


def train(
    *, out: str | os.PathLike[str], on_progress: Progress | None = None, **settings: Any
) -> TrainResult:
    """Train a model on matched images; see `jobs.train.TrainSettings`."""
    from napari_virtualstain.jobs import train as job

    values = {"out": os.fspath(out), **settings}
    return job.run(make_settings(job.TrainSettings, values), on_progress=on_progress)


def finetune(
    *,
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> FinetuneResult | FinetunePlan:
    """Tune a trained model on a handful of images, and say whether that helped.

    Parameters
    ----------
    model
        Name of the model, or its folder or zip.
    out
        Folder for the tuned model.
    on_progress
        Called with steps done, steps in all, and what they came to.
    should_stop
        Asked after each step; a checkpoint is written before stopping.
    **settings
        ``input``, ``target`` or ``pairs``, ``preset`` and the others of
        `napari_virtualstain.jobs.finetune.FinetuneSettings`.

    Returns
    -------
    FinetuneResult or FinetunePlan
        ``gains``: by stain, what the tuning did on fields that did not teach. With ``plan=True``,
        what would be done.

    Raises
    ------
    VirtualStainError
        If images, model or output do not fit.
    """
    from napari_virtualstain.jobs import finetune as job

    values = {"model": os.fspath(model), "out": os.fspath(out), **settings}
    return job.run(
        make_settings(job.FinetuneSettings, values), on_progress=on_progress,
        should_stop=should_stop,
    )  # fmt: skip


def suggest(
    *sources: str | os.PathLike[str],
    model: str | os.PathLike[str] = "demo",
    pairs: str | os.PathLike[str] | None = None,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> SuggestResult:
    """Say which of many fields should be stained next, to tune a model.

    Parameters
    ----------
    *sources
        Bright field to choose from: plates, images, or folders of either.
    model
        That is to be tuned.
    pairs
        Fields that have a true stain already: a pairs file, or a plate or folder of their bright
        field.
    on_progress
        Called with fields looked at, fields in all, and what they are; raises
        `errors.RunCancelled` to end the run between two fields.
    on_note
        Called with each sentence about what was left out.
    **settings
        ``count``, ``out`` (a table), ``encoder``, ``turns``, ``most``, ``seed`` and the others of
        `napari_virtualstain.jobs.suggest.SuggestSettings`.

    Returns
    -------
    SuggestResult
        ``fields``: the first should be stained first; each says why.

    Raises
    ------
    VirtualStainError
        If no field can be looked at, or the table cannot be written.
    """
    from napari_virtualstain.jobs import suggest as job

    values = {
        "input": tuple(os.fspath(one) for one in sources), "model": os.fspath(model),
        "pairs": None if pairs is None else os.fspath(pairs), **settings,
    }  # fmt: skip
    return job.run(
        make_settings(job.SuggestSettings, values), on_progress=on_progress, on_note=on_note
    )
