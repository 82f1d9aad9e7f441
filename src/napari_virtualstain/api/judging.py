"""Verbs that judge predicted stains, with the true ones beside or without."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_virtualstain.jobs.base import Progress, make_settings

if TYPE_CHECKING:
    from napari_virtualstain.jobs.blind import BlindResult
    from napari_virtualstain.jobs.evaluation import Evaluation
    from napari_virtualstain.jobs.generalise import GeneraliseResult
    from napari_virtualstain.jobs.phenotype import PhenotypeResult
    from napari_virtualstain.jobs.qc import QcResult
    from napari_virtualstain.jobs.recognise import RecogniseResult
    from napari_virtualstain.jobs.scores import ScoresResult
    from napari_virtualstain.jobs.uncertainty import UncertaintyResult
    from napari_virtualstain.jobs.verdict import VerdictResult

__all__ = [
    "blind",
    "evaluate",
    "generalise",
    "phenotype",
    "qc",
    "recognise",
    "scores",
    "uncertainty",
    "verdict",
]


def evaluate(
    prediction: str | os.PathLike[str], *, target: str | os.PathLike[str], **settings: Any
) -> Evaluation:
    """Compare predicted stains with the truth; see `jobs.evaluate.EvaluateSettings`.

    Returns
    -------
    Evaluation
        One score a channel, with the floor beside; with ``objects="DNA"`` what became of the
        nuclei, and with ``cells="AGP"`` of the cells around them, as its ``objects``.
    """
    from napari_virtualstain.jobs import evaluate as job

    values = {"prediction": os.fspath(prediction), "target": os.fspath(target), **settings}
    return job.run(make_settings(job.EvaluateSettings, values))


def scores(
    prediction: str | os.PathLike[str],
    *,
    target: str | os.PathLike[str],
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> ScoresResult:
    """Score each field, plane and stain of one or more models, with floors and ceilings beside.

    Parameters
    ----------
    prediction, target
        A plate, file, or folder of images; fields are put together by plate, well and site, else by
        name.
    on_progress
        Called with fields done, fields in all, and what they are; raises `errors.RunCancelled` to
        end the run between two fields.
    on_note
        Called with each sentence about what was guessed or left out.
    **settings
        ``also`` (other predictions of the same fields), ``out``, ``replicate``, ``labels``,
        ``foreground``, ``regions``, ``match`` and the others of
        `napari_virtualstain.jobs.scores.ScoresSettings`.

    Returns
    -------
    ScoresResult
        ``rows``, one a plane, stain and model, and ``models``, their means and places.

    Raises
    ------
    VirtualStainError
        If images or channels do not fit, or nothing can be compared.
    """
    from napari_virtualstain.jobs import scores as job

    values = {"prediction": os.fspath(prediction), "target": os.fspath(target), **settings}
    return job.run(
        make_settings(job.ScoresSettings, values), on_progress=on_progress, on_note=on_note
    )


def qc(
    prediction: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> QcResult:
    """Say which predicted fields can be trusted, worst first, and why not.

    Parameters
    ----------
    prediction
        An image, a plate, or a folder of images.
    out
        Folder for the page and the tables; may be left out with ``calibrate=True`` and a
        ``reference`` to write.
    on_progress
        Called with images done, images in all, and what they are; raises `errors.RunCancelled` to
        end the run between two images.
    on_note
        Called with each sentence about what was guessed, left out or could not be judged.
    **settings
        ``source``, ``target``, ``reference``, ``calibrate``, ``alarms``, ``maps``, ``artifacts``,
        ``clicks`` (learn from them instead of judging; see ``learnt`` of the result) and the others
        of `napari_virtualstain.jobs.qc.QcSettings`.

    Returns
    -------
    QcResult
        ``state``, ``fields`` worst first with the findings of each, and ``guard``: by stain,
        whether intensity may be read as amount.

    Raises
    ------
    VirtualStainError
        If images do not fit, or no field can be judged.
    """
    from napari_virtualstain.jobs import qc as job

    values = {
        "prediction": os.fspath(prediction), "out": None if out is None else os.fspath(out),
        **settings,
    }  # fmt: skip
    return job.run(make_settings(job.QcSettings, values), on_progress=on_progress, on_note=on_note)


def uncertainty(
    prediction: str | os.PathLike[str],
    *,
    target: str | os.PathLike[str],
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> UncertaintyResult:
    """Say what the spread of predicted stains is worth: whether intervals made of it hold.

    Parameters
    ----------
    prediction
        A plate, or a folder of images, whose stains have their spread beside them (``views=8`` or
        ``draws=8`` of `stain`).
    target
        The true stains of the same fields, at least 4.
    out
        Folder for the page and the table.
    on_progress
        Called with fields done, fields in all, and what they are; raises `errors.RunCancelled` to
        end the run between two fields.
    on_note
        Called with each sentence about what was guessed or left out.
    **settings
        ``calibrate``, ``level``, ``match`` and the others of
        `napari_virtualstain.jobs.uncertainty.UncertaintySettings`.

    Returns
    -------
    UncertaintyResult
        ``stains``, each with ``coverage``, ``interval`` and error-retention curves, and ``kept``.

    Raises
    ------
    VirtualStainError
        If images do not fit, have no spread, or are too few.
    """
    from napari_virtualstain.jobs import uncertainty as job

    values = {
        "prediction": os.fspath(prediction), "target": os.fspath(target), "out": os.fspath(out),
        **settings,
    }  # fmt: skip
    return job.run(
        make_settings(job.UncertaintySettings, values), on_progress=on_progress, on_note=on_note
    )


def verdict(
    prediction: str | os.PathLike[str],
    *,
    target: str | os.PathLike[str],
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> VerdictResult:
    """Say whether what is concluded from predicted stains is what is concluded from true ones.

    Parameters
    ----------
    prediction, target
        A plate, or a folder of images; fields are put together by plate, well and site, else by
        name.
    out
        Folder for the page and the tables.
    on_progress
        Called with fields done, fields in all, and what they are; raises `errors.RunCancelled` to
        end the run between two fields.
    on_note
        Called with each sentence about what was guessed, left out or not asked.
    **settings
        ``labels`` (a table), ``label``, ``controls``, ``moa``, ``match``, ``nuclei``, ``cells`` and
        the others of `napari_virtualstain.jobs.verdict.VerdictSettings`.

    Returns
    -------
    VerdictResult
        ``state`` and ``sentence``, ``answers`` with all tables, and the worst fields.

    Raises
    ------
    VirtualStainError
        If images, channels or labels do not fit, or nothing can be concluded.
    """
    from napari_virtualstain.jobs import verdict as job

    values = {
        "prediction": os.fspath(prediction), "target": os.fspath(target), "out": os.fspath(out),
        **settings,
    }  # fmt: skip
    return job.run(
        make_settings(job.VerdictSettings, values), on_progress=on_progress, on_note=on_note
    )


def phenotype(
    prediction: str | os.PathLike[str],
    *,
    target: str | os.PathLike[str],
    out: str | os.PathLike[str],
    brightfield: str | os.PathLike[str] | None = None,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> PhenotypeResult:
    """Say whether phenotypes are told apart on predicted stains as they are on true ones.

    Parameters
    ----------
    prediction, target, brightfield
        Tables of features, put together by plate and well: of `measure`, `embed`, or others with
        columns ``Metadata_Well`` and ``Metadata_Plate``.
    out
        Folder for the page and the tables.
    on_progress
        Called with questions done, questions in all, and what they are; raises
        `errors.RunCancelled` to end the run between two questions.
    on_note
        Called with each sentence about what was left out or not asked.
    **settings
        ``labels`` (a table), ``label``, ``controls``, ``moa``, ``toxic``, ``group`` and the others
        of `napari_virtualstain.jobs.phenotype.PhenotypeSettings`.

    Returns
    -------
    PhenotypeResult
        ``state`` and ``sentence``, and ``found`` with answers, scores and tables.

    Raises
    ------
    VirtualStainError
        If tables or labels do not fit, or what was asked for cannot be answered.
    """
    from napari_virtualstain.jobs import phenotype as job

    values = {
        "prediction": os.fspath(prediction), "target": os.fspath(target), "out": os.fspath(out),
        "brightfield": None if brightfield is None else os.fspath(brightfield), **settings,
    }  # fmt: skip
    return job.run(
        make_settings(job.PhenotypeSettings, values), on_progress=on_progress, on_note=on_note
    )


def recognise(
    prediction: str | os.PathLike[str],
    *,
    target: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    out: str | os.PathLike[str],
    brightfield: str | os.PathLike[str] | None = None,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> RecogniseResult:
    """Say whether a network that true stains taught knows treatments in predicted ones.

    Parameters
    ----------
    prediction, target, brightfield
        Plates or folders of images, put together by plate, well and site.
    labels
        Table of what was done to each well.
    out
        Folder for the page and the tables.
    on_progress
        Called with steps learnt, steps in all, and what they are; raises `errors.RunCancelled` to
        end the run.
    on_note
        Called with each sentence about what was guessed or left out.
    **settings
        ``label``, ``match``, ``preset``, ``steps``, ``patch``, ``folds`` and the others of
        `napari_virtualstain.jobs.recognise.RecogniseSettings`.

    Returns
    -------
    RecogniseResult
        ``finding`` in words, ``known`` by source, and the rows of the tables.

    Raises
    ------
    VirtualStainError
        If images, channels or labels do not fit, or too few wells have a label.
    """
    from napari_virtualstain.jobs import recognise as job

    values = {
        "prediction": os.fspath(prediction), "target": os.fspath(target), "out": os.fspath(out),
        "labels": os.fspath(labels),
        "brightfield": None if brightfield is None else os.fspath(brightfield), **settings,
    }  # fmt: skip
    return job.run(
        make_settings(job.RecogniseSettings, values), on_progress=on_progress, on_note=on_note
    )


def generalise(
    table: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> GeneraliseResult:
    """Say what models lose on domains that they were not trained on.

    Parameters
    ----------
    table
        With the columns ``train``, ``test`` and ``result``: the folder of a `verdict`, or what
        `evaluate` wrote.
    out
        Folder for the page and the table.
    on_progress
        Called with steps done, steps in all, and what they are.
    on_note
        Called with each sentence about what was left out.
    **settings
        ``draws``, ``seed`` and ``overwrite``.

    Returns
    -------
    GeneraliseResult
        ``entries`` and ``losses``, and the same in `GeneraliseResult.sentences`.

    Raises
    ------
    VirtualStainError
        If a result is not there, or they cannot be compared.
    """
    from napari_virtualstain.jobs import generalise as job

    values = {"table": os.fspath(table), "out": os.fspath(out), **settings}
    return job.run(
        make_settings(job.GeneraliseSettings, values), on_progress=on_progress, on_note=on_note
    )


def blind(
    prediction: str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> BlindResult:
    """Write pairs of predicted and real pictures for somebody to tell apart, or score answers.

    Parameters
    ----------
    prediction, target
        A plate, or a folder of images, as for `verdict`; left out where ``answers`` are scored.
    out
        Folder of the page, its key and the score.
    on_progress
        Called with pairs drawn, pairs in all, and what they are; raises `errors.RunCancelled` to
        end the run between two pairs.
    on_note
        Called with each sentence about what was left out.
    **settings
        ``answers`` (files that the page saved), ``count``, ``edge`` (px), ``stains``, ``seed`` and
        the others of `napari_virtualstain.jobs.blind.BlindSettings`.

    Returns
    -------
    BlindResult
        ``score``, ``by_stain`` and ``by_file`` where answers were scored.

    Raises
    ------
    VirtualStainError
        If images or channels do not fit, or answers are not of this review.
    """
    from napari_virtualstain.jobs import blind as job

    values = {
        "prediction": None if prediction is None else os.fspath(prediction),
        "target": None if target is None else os.fspath(target), "out": os.fspath(out), **settings,
    }  # fmt: skip
    return job.run(
        make_settings(job.BlindSettings, values), on_progress=on_progress, on_note=on_note
    )
