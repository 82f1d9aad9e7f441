"""The verbs of the command line as functions, for scripts and notebooks.

Each takes what its settings model takes, as keywords; see the models in
`napari_virtualstain.jobs` for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import Progress, make_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from napari_virtualstain.jobs.batch import BatchResult
    from napari_virtualstain.jobs.batch_item import Item
    from napari_virtualstain.jobs.blind import BlindResult
    from napari_virtualstain.jobs.embed import EmbedResult
    from napari_virtualstain.jobs.evaluation import Evaluation
    from napari_virtualstain.jobs.explain import ExplainResult
    from napari_virtualstain.jobs.export import ExportResult
    from napari_virtualstain.jobs.finetune import FinetuneResult
    from napari_virtualstain.jobs.focus import FocusResult
    from napari_virtualstain.jobs.generalise import GeneraliseResult
    from napari_virtualstain.jobs.measure import MeasureResult
    from napari_virtualstain.jobs.pairs import PairsResult
    from napari_virtualstain.jobs.passport import Passport
    from napari_virtualstain.jobs.phenotype import PhenotypeResult
    from napari_virtualstain.jobs.qc import QcResult
    from napari_virtualstain.jobs.scores import ScoresResult
    from napari_virtualstain.jobs.suggest import SuggestResult
    from napari_virtualstain.jobs.train import TrainResult
    from napari_virtualstain.jobs.tuning_plan import FinetunePlan
    from napari_virtualstain.jobs.uncertainty import UncertaintyResult
    from napari_virtualstain.jobs.verdict import VerdictResult
    from napari_virtualstain.preprocessing.illumination_set import IlluminationSet

__all__ = [
    "batch",
    "blind",
    "denoise",
    "embed",
    "evaluate",
    "explain",
    "export",
    "finetune",
    "focus",
    "generalise",
    "illumination",
    "info",
    "measure",
    "pairs",
    "passport",
    "phenotype",
    "plan",
    "qc",
    "scores",
    "stain",
    "suggest",
    "train",
    "uncertainty",
    "verdict",
    "watch",
]


def info(source: str | os.PathLike[str], **settings: Any) -> dict[str, Any]:
    """Say what is in a file or folder, without reading its pixels.

    Parameters
    ----------
    source
        Image file, plate or folder.
    **settings
        ``scene``, ``axes``, ``most`` and ``pattern``.

    Returns
    -------
    dict
        What `virtualstain info --json` prints: ``images``, ``plates``, ``images_total`` and, for
        those that cannot be opened, ``unopened``.

    Raises
    ------
    VirtualStainError
        If nothing can be opened.
    """
    from napari_virtualstain.jobs import info as job

    return job.run(make_settings(job.InfoSettings, {"input": os.fspath(source), **settings}))


def stain(
    source: str | os.PathLike[str] | LazyImage | ArrayLike,
    *,
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] = "demo",
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    on_store: Callable[[Path], None] | None = None,
    **settings: Any,
) -> LazyImage:
    """Predict the stains of an image and write them to an OME-Zarr.

    Parameters
    ----------
    source
        Path, image, or array; for an array of more than two axes give ``axes``.
    out
        Store to write.
    model
        Name or folder of a model.
    on_progress
        Called with units done, units in all, and what they are; raises `errors.RunCancelled`
        to end the run between two tiles.
    on_note
        Called with each sentence about what was guessed or assumed, for example `print`.
    on_store
        Called with the place of the store as soon as it is there, before the first tile.
    **settings
        ``channel``, ``z``, ``pixel_size`` (µm), ``resample``, ``tile`` (px),
        ``region``, ``times``, ``device``, ``resume``, ``overwrite`` and the others of
        `napari_virtualstain.jobs.stain.StainSettings`.

    Returns
    -------
    LazyImage
        The result, opened: (T, stains, 1, Y, X) float32 in the units that the
        model's card names.

    Raises
    ------
    VirtualStainError
        If input, model or output cannot be used; the message says what to do.
    """
    from napari_virtualstain.jobs import stain as job

    image, name = _opened(source, settings)
    values = {"input": name, "out": os.fspath(out), "model": os.fspath(model), **settings}
    result = job.run(
        make_settings(job.StainSettings, values),
        image=image,
        on_progress=on_progress,
        on_note=on_note,
        on_store=on_store,
    )
    return open_image(result.out)


def plan(
    source: str | os.PathLike[str] | LazyImage | ArrayLike,
    *,
    model: str | os.PathLike[str] = "demo",
    **settings: Any,
) -> str:
    """Say in words what `stain` would do, without doing it."""
    from napari_virtualstain.jobs import prepare as job

    image, name = _opened(source, settings)
    values = {"input": name, "model": os.fspath(model), **settings}
    return job.prepare(make_settings(job.InputSettings, values), image=image).describe()


def passport(
    source: str | os.PathLike[str] | LazyImage | ArrayLike,
    *,
    model: str | os.PathLike[str] = "demo",
    **settings: Any,
) -> Passport:
    """Say whether a model will work on a picture, by what it was trained on; nothing is stained.

    Parameters
    ----------
    source
        Path, image, or array; for an array of more than two axes give ``axes``.
    model
        Name or folder of a model.
    **settings
        ``scene``, ``channel``, ``z``, ``axes``, ``pixel_size`` (µm) and ``t``.

    Returns
    -------
    Passport
        ``status`` (``"green"``, ``"amber"`` or ``"red"``), ``verdict`` in words, ``checks``, and
        ``text()`` for people.

    Raises
    ------
    VirtualStainError
        If the input or the model is not there, or a setting names what is not there.
    """
    from napari_virtualstain.jobs import passport as job

    image, name = _opened(source, settings)
    values = {"input": name, "model": os.fspath(model), **settings}
    return job.run(make_settings(job.PassportSettings, values), image=image)


def explain(
    source: str | os.PathLike[str] | LazyImage | ArrayLike,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] = "demo",
    encoder: str | os.PathLike[str] | None = None,
    at: tuple[int, int] | None = None,
    on_progress: Progress | None = None,
    **settings: Any,
) -> ExplainResult:
    """Show what a model or an encoder looked at, each map beside those that say nothing.

    Parameters
    ----------
    source
        Path, image, or array; for an array of more than two axes give ``axes``.
    out
        OME-Zarr to write, one channel a map.
    model
        Name or folder of a model, one of whose stains is explained.
    encoder
        Name or folder of an encoder whose attention is shown instead.
    at
        Row and column of the pixel that is explained, or whose patch asks.
    on_progress
        Told of pictures computed. What it raises ends the run.
    **settings
        Such as ``method`` (names of `napari_virtualstain.explain.methods.METHODS`), ``stain``,
        ``target``, ``region``, ``against``, ``block`` and ``mass``; see
        `napari_virtualstain.jobs.explain.ExplainSettings`.

    Returns
    -------
    ExplainResult
        ``sentences`` that the maps come to, ``maps`` with the verdict of each, and ``out``.

    Raises
    ------
    VirtualStainError
        If the network has no such map, or the picture does not fit it.
    """
    from napari_virtualstain.jobs import explain as job

    image, name = _opened(source, settings)
    values = {
        "input": name, "out": os.fspath(out), "model": os.fspath(model), "at": at,
        "encoder": None if encoder is None else os.fspath(encoder), **settings,
    }  # fmt: skip
    made = make_settings(job.ExplainSettings, values)
    return job.run(made, image=image, on_progress=on_progress)


def illumination(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
    **settings: Any,
) -> IlluminationSet:
    """Fit how unevenly the planes of a plate are lit, on a sample of its fields, and save it.

    Parameters
    ----------
    source
        Plate, file with several images, or folder of images.
    out
        File to write; give it to `stain` and `passport` as ``illumination``.
    on_progress
        Called with planes read, planes in all, and what they are.
    **settings
        ``channels``, ``z``, ``fields``, ``seed``, ``dark`` and the others of
        `napari_virtualstain.jobs.illumination.IlluminationSettings`.

    Returns
    -------
    IlluminationSet
        One function a channel and z plane.

    Raises
    ------
    VirtualStainError
        If there is nothing to fit, or the file cannot be written.
    """
    from napari_virtualstain.jobs import illumination as job

    values = {"input": os.fspath(source), "out": os.fspath(out), **settings}
    found = job.run(make_settings(job.IlluminationSettings, values), on_progress=on_progress)
    return found.functions


def focus(source: str | os.PathLike[str] | LazyImage | ArrayLike, **settings: Any) -> FocusResult:
    """Say how sharp each z plane of a stack is, and which are in focus.

    Parameters
    ----------
    source
        Path, image, or array; for an array of more than two axes give ``axes``.
    **settings
        ``channel``, ``measure``, ``direction``, ``known``, ``model``, ``keep`` and the others of
        `napari_virtualstain.jobs.focus.FocusSettings`.

    Returns
    -------
    FocusResult
        ``profile`` (all measures), ``range`` (planes in focus, and the best of them) and ``notes``.

    Raises
    ------
    VirtualStainError
        If it cannot be opened, or is no stack.
    """
    from napari_virtualstain.jobs import focus as job

    image, name = _opened(source, settings)
    return job.run(make_settings(job.FocusSettings, {"input": name, **settings}), image=image)


def denoise(
    source: str | os.PathLike[str] | LazyImage | ArrayLike,
    *,
    channel: str,
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] = lambda _text: None,
    **settings: Any,
) -> LazyImage:
    """Take the noise from a channel by Noise2Void, learnt from the channel itself.

    Parameters
    ----------
    source
        Path, image, or array; for an array of more than two axes give ``axes``.
    channel
        Name of the channel.
    out
        OME-Zarr to write.
    on_progress
        Called with units done, units in all, and what they are.
    on_note
        Called with each sentence about what was guessed, for example `print`.
    **settings
        ``steps`` or ``budget``, ``preset``, ``preview`` (PNG), ``keep_as`` or ``model`` (folder of
        a denoiser), ``learn_from``, ``seed`` and the others of
        `napari_virtualstain.jobs.denoise.DenoiseSettings`.

    Returns
    -------
    LazyImage
        The result, opened: (T, 1, Z, Y, X) float32 grey values, the channel named
        ``"NAME (denoised)"``.

    Raises
    ------
    VirtualStainError
        If input, denoiser or output cannot be used; the message says what to do.
    """
    from napari_virtualstain.jobs import denoise as job

    image, name = _opened(source, settings)
    values = {"input": name, "channel": channel, "out": os.fspath(out), **settings}
    result = job.run(
        make_settings(job.DenoiseSettings, values), image=image, on_progress=on_progress,
        on_note=on_note,
    )  # fmt: skip
    return open_image(result.out)


def export(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
    **settings: Any,
) -> ExportResult:
    """Write an image in another form, or all images of a plate as TIFFs with a LoadData table.

    Parameters
    ----------
    source
        Image file, plate or folder.
    out
        File to write; its ending (``.ome.zarr``, ``.ome.tif``, ``.png``, ``.csv``) says what.
    on_progress
        Called with parts or fields written, how many there are, and what they are.
    **settings
        ``scene``, ``channels``, ``planes``, ``t``, ``z``, ``limits``, ``overwrite`` and the others
        of `napari_virtualstain.jobs.export.ExportSettings`.

    Returns
    -------
    ExportResult
        ``out``, ``kind``, ``notes`` and, of a PNG, how it is ``shown``.

    Raises
    ------
    VirtualStainError
        If input and output do not fit.
    """
    from napari_virtualstain.jobs import export as job

    values = {"input": os.fspath(source), "out": os.fspath(out), **settings}
    return job.run(make_settings(job.ExportSettings, values), on_progress=on_progress)


def batch(
    source: str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] = "demo",
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    on_item: Callable[[Item], None] | None = None,
    **settings: Any,
) -> BatchResult:
    """Stain many images, one after the other; the same call goes on with what is left.

    Parameters
    ----------
    source
        Plate, file with several images, or folder of images; the list in ``out`` if `None`.
    out
        Folder for the stains; a name that ends in ``.zarr`` becomes one OME-Zarr plate.
    model
        Name or folder of a model.
    on_progress
        Called with the tiles of each image.
    on_note
        Called with what was left out, and what became of images.
    on_item
        Called with each image as it is begun, and as it has ended.
    **settings
        ``scene``, ``times``, ``retry`` and those of `stain`; see
        `napari_virtualstain.jobs.batch.BatchSettings`.

    Returns
    -------
    BatchResult
        ``items`` with their states, and ``failures()`` by the sentence that says why.

    Raises
    ------
    VirtualStainError
        If there is nothing to stain or nowhere to write.
    """
    from napari_virtualstain.jobs import batch as job

    values = {"out": os.fspath(out), "model": os.fspath(model), **settings}
    values |= {} if source is None else {"input": os.fspath(source)}
    return job.run(
        make_settings(job.BatchSettings, values),
        on_progress=on_progress,
        on_note=on_note,
        on_item=on_item,
    )


def watch(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] = "demo",
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> BatchResult:
    """Stain the images of a folder as a microscope writes them.

    Parameters
    ----------
    source
        The folder.
    out, model, on_progress, on_note
        As in `batch`. What `on_progress` raises ends the watch, which can be gone on with.
    **settings
        ``idle`` (seconds without anything new after which it ends; never if not given),
        ``settle``, ``every`` and those of `batch`.

    Returns
    -------
    BatchResult
        As that of `batch`.

    Raises
    ------
    VirtualStainError
        If there is no such folder, or nowhere to write.
    """
    from napari_virtualstain.jobs import watch as job

    values = {
        "input": os.fspath(source), "out": os.fspath(out), "model": os.fspath(model), **settings
    }  # fmt: skip
    return job.run(
        make_settings(job.WatchSettings, values), on_progress=on_progress, on_note=on_note
    )


def _opened(source: Any, settings: dict[str, Any]) -> tuple[LazyImage | None, str]:
    """Return an image unless the job can open the path itself, and a name for the record."""
    if isinstance(source, str | os.PathLike):
        return None, os.fspath(source)
    image = (
        source if isinstance(source, LazyImage) else open_image(source, axes=settings.get("axes"))
    )
    return image, image.source.path or "array in memory"


def embed(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    model: str | os.PathLike[str],
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> EmbedResult:
    """Write what an encoder sees on a plate: features of fields, wells and treatments, as tables.

    Parameters
    ----------
    source
        Plate, image, or folder of either.
    out
        Folder for the tables.
    model
        Name or folder of an encoder.
    on_progress
        Called with fields done, fields in all, and what they are; raises `errors.RunCancelled` to
        end the run between two fields.
    on_note
        Called with each sentence about what was guessed, left out or is missing.
    **settings
        ``labels`` (a table), ``label``, ``moa``, ``controls``, ``resume`` and the others of
        `napari_virtualstain.jobs.embed.EmbedSettings`.

    Returns
    -------
    EmbedResult
        ``matches`` (NSC and NSCB where mechanisms are known), ``verdict`` of a classifier, and
        how many fields there are in the tables.

    Raises
    ------
    VirtualStainError
        If images and encoder do not fit, or nothing can be looked at.
    """
    from napari_virtualstain.jobs import embed as job

    values = {
        "input": os.fspath(source), "out": os.fspath(out), "model": os.fspath(model), **settings
    }  # fmt: skip
    return job.run(
        make_settings(job.EmbedSettings, values), on_progress=on_progress, on_note=on_note
    )


def measure(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> MeasureResult:
    """Count and measure nuclei and cells, of predicted or true stains; as tables.

    Parameters
    ----------
    source
        Image, plate, or folder of either.
    out
        Folder for the tables.
    on_progress
        Called with fields done, fields in all, and what they are; raises `errors.RunCancelled` to
        end the run.
    on_note
        Called with each sentence about what was guessed, left out or is missing.
    **settings
        ``nuclei``, ``cells``, ``stains`` and the others of
        `napari_virtualstain.jobs.measure.MeasureSettings`.

    Raises
    ------
    VirtualStainError
        If images or channels do not fit, or nothing can be measured.
    """
    from napari_virtualstain.jobs import measure as job

    values = {"input": os.fspath(source), "out": os.fspath(out), **settings}
    return job.run(
        make_settings(job.MeasureSettings, values), on_progress=on_progress, on_note=on_note
    )


def evaluate(
    prediction: str | os.PathLike[str], *, target: str | os.PathLike[str], **settings: Any
) -> Evaluation:
    """Compare predicted stains with the truth; see `jobs.evaluate.EvaluateSettings`.

    Returns
    -------
    Evaluation
        One score a channel, with the floor beside.
    """
    from napari_virtualstain.jobs import evaluate as job

    values = {"prediction": os.fspath(prediction), "target": os.fspath(target), **settings}
    return job.run(make_settings(job.EvaluateSettings, values))


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


def train(
    *, out: str | os.PathLike[str], on_progress: Progress | None = None, **settings: Any
) -> TrainResult:
    """Train a model on matched images; see `jobs.train.TrainSettings`."""
    from napari_virtualstain.jobs import train as job

    values = {"out": os.fspath(out), **settings}
    return job.run(make_settings(job.TrainSettings, values), on_progress=on_progress)


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
        ``source``, ``target``, ``reference``, ``calibrate``, ``alarms``, ``maps`` and the others
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
