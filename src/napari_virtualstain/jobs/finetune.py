"""Tune a trained model on a handful of images, and say whether that helped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dask
import numpy as np
from pydantic import Field

from napari_virtualstain.jobs.base import ModelText, PathText, Progress
from napari_virtualstain.jobs.training_fields import FieldData, PairSettings, check_alike
from napari_virtualstain.jobs.training_run import (
    KEPT_OF_DATA,
    KeptOfData,
    check_training_output,
    devices_of,
    training_folder,
)
from napari_virtualstain.jobs.tuning_fields import (
    check_planes,
    fitting_patch,
    open_tuning,
    tuning_parts,
)
from napari_virtualstain.jobs.tuning_keep import write_result
from napari_virtualstain.jobs.tuning_run import (
    forget_looks,
    forget_wish,
    wish_in,
    write_settings,
    write_worst,
)
from napari_virtualstain.training.settings import Duration, LoopSettings

if TYPE_CHECKING:
    from napari_virtualstain.datasets.pairs import PairedField, PairedSet
    from napari_virtualstain.generators.base import Generator
    from napari_virtualstain.generators.package import Model
    from napari_virtualstain.generators.tuning import Tuned
    from napari_virtualstain.intensity import Normalisation, Rule
    from napari_virtualstain.jobs.tuning_judge import StainGain, WorseBlock
    from napari_virtualstain.jobs.tuning_plan import FinetunePlan
    from napari_virtualstain.metrics.learning_curve import Outlook

__all__ = ["FinetuneResult", "FinetuneSettings", "Tuning", "make_ready", "run"]

_PRESETS: dict[str, dict[str, Any]] = {
    "recalibrate": {"steps": 1, "learning_rate": 1e-3},  # no step is done
    "quick": {"steps": 300, "learning_rate": 1e-3},
    "adapter": {"steps": 400, "learning_rate": 1e-3},
    "full": {"steps": 600, "learning_rate": 2e-4},
    "scratch": {"steps": 2000, "learning_rate": None},
}

_SLIGHT, _MOST = 0.01, 0.8
"""Of a correlation, and of a mean absolute error: what is not worth a tuning, and what is most."""


class FinetuneSettings(PairSettings):
    """Settings of `virtualstain finetune`."""

    model: ModelText = Field(description="name of the model to tune, or its folder or zip")
    out: PathText = Field(description="folder for the tuned model")
    preset: Literal["recalibrate", "quick", "adapter", "full", "scratch"] = Field(
        default="quick",
        description="what moves: gain and offset of the stains and no weight, the last layer and "
        "the normalisation, besides a small change of every other layer, or all weights; scratch: "
        "all, from random ones",
    )
    rank: int = Field(default=4, ge=1, description="of adapter: ranks of the change of a layer")
    steps: int | None = Field(
        default=None, ge=1, description="steps of the tuning; those of the preset if not given"
    )
    budget: Duration | None = Field(
        default=None, description="time for the steps instead of their number, for example 2min"
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="largest learning rate; that of the preset if not given"
    )
    batch: int = Field(default=8, ge=1, description="patches a step")
    patch: int | None = Field(
        default=None, ge=8, description="edge of a patch in pixels; what fits, up to 128"
    )
    foreground: float = Field(
        default=0.5, ge=0, le=1, description=LoopSettings.model_fields["foreground"].description
    )
    hold_back: float = Field(
        default=0.3,
        gt=0,
        lt=1,
        description="share of the fields that do not teach, on which the gain is judged; of a "
        "single field, a part of it",
    )
    judge_each: bool = Field(
        default=False,
        description="let every field judge once, by tuning again without it, so that what is said "
        "of the gain does not hang on which was held back; takes as many times as long",
    )
    validate_every: int = Field(
        default=50, ge=1, description="steps between log lines and checkpoints"
    )
    watch: bool = Field(
        default=False,
        description="stain a part of a held-back field every few seconds, into OUT.training, where "
        "the page Tune shows it",
    )
    curve: bool = Field(
        default=False,
        description="tune on fewer of the fields as well, to say what more of them would bring; "
        "takes several times as long",
    )
    plan: bool = Field(
        default=False,
        description="say what would teach and judge, what is doubtful about it, and how long it "
        "takes here, without doing it",
    )
    seed: int = Field(default=0, ge=0, description="decides patches, flips, and what is held back")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps")
    training_index: KeptOfData = Field(default="pictures", description=KEPT_OF_DATA)
    resume: bool = Field(default=False, description="go on from the last checkpoint")
    overwrite: bool = Field(default=False, description="replace the model if it exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneResult:
    """What the tuning came to.

    Parameters
    ----------
    out
        Folder of the tuned model.
    finished
        False if it was stopped early; ``--resume`` goes on.
    steps, seconds
        Done, and how long they took.
    moving, of
        Numbers of the network that could move, and that there are.
    gains
        By stain, on what did not teach.
    folds
        Tunings that judged, each other fields; 1 but for ``judge_each``.
    worst
        The blocks that lost most of what did not teach.
    outlooks
        By stain, what more fields would likely bring, if that was asked for.
    like_before
        PCC with what the base model stained of its own test picture: 1 is all that it could.
    notes
        Sentences about what should be known.
    """

    out: Path
    finished: bool
    steps: int
    seconds: float
    moving: int
    of: int
    folds: int = 1
    gains: tuple[StainGain, ...] = ()
    worst: tuple[WorseBlock, ...] = ()
    outlooks: tuple[Outlook, ...] = ()
    like_before: float = float("nan")
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "out": str(self.out), "finished": self.finished, "steps": self.steps,
            "seconds": round(self.seconds, 1), "moving": self.moving, "of": self.of,
            "folds": self.folds, "gains": [gain.to_json() for gain in self.gains],
            "worst": [one.to_json() for one in self.worst],
            "outlooks": [asdict(one) for one in self.outlooks],
            "like_before": None if np.isnan(self.like_before) else self.like_before,
            "notes": list(self.notes),
        }  # fmt: skip

    def text(self) -> str:
        """Return the same for people."""
        head = f"{'stain':<12}{'PCC before':>10} {'after':>6}  {'gain (95 %)':<26}"
        lines = [f"{head}{'MAE before':>10} {'recalibrated':>13} {'after':>10}"]
        for g in self.gains:
            gain = "-"
            if g.by == "MAE":
                gain = "same picture"
            elif g.pcc_gain is not None:
                ends = f"{g.pcc_gain.low:+.3f} to {g.pcc_gain.high:+.3f}"
                gain = f"{g.pcc_gain.value:+.3f} ({ends})"
            lines.append(
                f"{g.stain:<12}{g.pcc_before:10.3f} {g.pcc_after:6.3f}  {gain:<26}"
                f"{g.mae_before:10.4g} {g.mae_recalibrated:13.4g} {g.mae_after:10.4g}  {g.verdict}"
            )
        share = f"{self.moving / max(self.of, 1):.1%} of the weights could move"
        lines += [
            f"worst: {w.stain} at {w.y},{w.x} of {w.field}, {w.pcc_before:.3f} before, "
            f"{w.pcc_after:.3f} after"
            for w in self.worst
        ]
        lines.append(
            f"{self.out} after {self.steps} steps ({self.seconds:.0f} s), {share}; like the model "
            f"before on its own test picture: {self.like_before:.3f}"
        )
        return "\n".join(lines)


def run(
    settings: FinetuneSettings,
    *,
    on_progress: Progress | None = None,
    on_store: Callable[[Path], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> FinetuneResult | FinetunePlan:
    """Tune a model on the pairs of a user.

    Fields that are held back do not teach, and the gain is judged on them. Three groups of them or
    more, and the first chooses which weights are kept and the others judge; else the last weights
    are kept, since whoever chooses cannot judge.

    Parameters
    ----------
    settings
        Which model, images and weights.
    on_progress
        Told of steps done.
    on_store
        Told the folder of the training, in which the run can be followed and asked to pause or to
        end; see `jobs.tuning_run`.
    should_stop
        Asked after each step; a checkpoint is written before stopping.

    Raises
    ------
    VirtualStainError
        If images, model or output do not fit.
    """
    # Imported here, since they load torch: whoever builds a form or a command needs settings only.
    from napari_virtualstain.inference.memory import release_freed_memory
    from napari_virtualstain.zoo import load_generator

    check_training_output(settings.out, resume=settings.resume, overwrite=settings.overwrite)
    model = load_generator(settings.model)
    data, notes = open_tuning(settings, model.card)
    check_alike(data)
    check_planes(data, model.card)
    whole = data
    data, parts, more = tuning_parts(data, settings)
    notes += more
    try:
        if settings.plan:
            from napari_virtualstain.jobs.tuning_plan import plan_tuning

            tuning = make_ready(settings, model, data, parts)
            return plan_tuning(
                settings, model.card, whole, tuning, model.generator, notes, on_progress
            )
        if on_store is not None:
            on_store(training_folder(settings.out))
        return _tune(settings, model, data, parts, notes, on_progress, should_stop)
    finally:
        release_freed_memory()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """A tuning that may begin.

    Parameters
    ----------
    generator
        That learns.
    tuned
        What of it moves.
    train, choose, judge
        Fields, normalised alike; nothing chooses where there are too few.
    base
        By stain: what returns a prediction of the base model to grey values.
    loop
        How it learns.
    """

    generator: Generator
    tuned: Tuned
    train: PairedSet
    choose: PairedSet | None
    judge: PairedSet
    base: Sequence[Normalisation]
    loop: LoopSettings


def make_ready(
    settings: FinetuneSettings,
    model: Model,
    data: FieldData,
    parts: tuple[list[int], list[int], list[int]],
) -> Tuning:
    """Return a tuning that may begin.

    Parameters
    ----------
    settings
        What moves, and how.
    model
        Loaded for this tuning alone: its weights will move.
    data
        Fields.
    parts
        Numbers of those that teach, choose and judge.
    """
    from napari_virtualstain.datasets.pairs import pair_up
    from napari_virtualstain.generators.registry import build_generator
    from napari_virtualstain.generators.tuning import hold_weights, tune_weights
    from napari_virtualstain.intensity import Rule
    from napari_virtualstain.jobs.tuning_lines import recalibrated

    card, generator = model.card, model.generator
    teach, choose, judge = ([data.fields[n] for n in part] for part in parts)
    with dask.config.set(scheduler="synchronous"):
        base = [stain.normalisation for stain in card.stains]
        rule = Rule(kind="zscore", clip_sd=None)
        pair = partial(
            pair_up, input_rule=card.input_rule, output_rule=rule, stain_names=data.stains
        )
        train = pair(teach, outputs=_outputs(teach, base, rule))
        if settings.preset == "recalibrate":
            train = replace(train, outputs=recalibrated(generator, train, base))
            tuned = hold_weights(generator)
        else:
            tuned = tune_weights(generator, settings.preset, rank=settings.rank, seed=settings.seed)
        as_taught = partial(pair, outputs=train.outputs, typical_contrast=train.typical_contrast)
        if settings.preset == "scratch":
            generator = build_generator(
                card.generator, in_channels=len(card.inputs), out_channels=len(card.stains),
                architecture=card.architecture, seed=settings.seed,
            )  # fmt: skip
        usual = _PRESETS[settings.preset]
        loop = LoopSettings(
            steps=settings.steps or usual["steps"], budget=settings.budget, batch=settings.batch,
            learning_rate=settings.learning_rate or usual["learning_rate"],
            patch=settings.patch or fitting_patch(teach, generator), clip=1.0, ema=0.98,
            validate_every=settings.validate_every, seed=settings.seed,
            foreground=settings.foreground,
        )  # fmt: skip
        return Tuning(
            generator=generator, tuned=tuned, train=train, judge=as_taught(judge), base=base,
            choose=as_taught(choose) if choose else None, loop=loop,
        )  # fmt: skip


def _tune(
    settings: FinetuneSettings,
    model: Model,
    data: FieldData,
    parts: tuple[list[int], list[int], list[int]],
    notes: list[str],
    on_progress: Progress | None,
    should_stop: Callable[[], bool],
) -> FinetuneResult:
    from napari_virtualstain.generators.package import read_test_pair
    from napari_virtualstain.inference.memory import keep_freed_memory
    from napari_virtualstain.jobs.tuning_again import fewer_fields, other_folds
    from napari_virtualstain.jobs.tuning_blocks import block_scores, forgotten
    from napari_virtualstain.jobs.tuning_card import save_tuned
    from napari_virtualstain.jobs.tuning_judge import compare_blocks, judge_blocks
    from napari_virtualstain.jobs.tuning_watch import TuningWatch
    from napari_virtualstain.training.loop import TrainingResult
    from napari_virtualstain.training.painting import fit
    from napari_virtualstain.zoo import load_generator

    keep_freed_memory()
    folder = training_folder(settings.out)
    ready = make_ready(settings, model, data, parts)
    generator, tuned = ready.generator, ready.tuned
    forget_wish(folder)
    if not settings.resume:
        forget_looks(folder)
    write_settings(folder, settings.model_dump(mode="json"))
    with dask.config.set(scheduler="synchronous"):
        watch = None
        still = settings.preset == "recalibrate"
        if settings.watch and not still:
            watch = TuningWatch(
                folder, generator, model.generator, ready.choose or ready.judge,
                stains=data.stains, base=ready.base, judges=ready.choose is None,
                loss=ready.loop.loss, resume=settings.resume,
            )  # fmt: skip
        result = TrainingResult(steps=0, finished=True, best=None, seconds=0.0) if still else fit(
            generator, ready.train, ready.loop, validation=ready.choose, folder=folder,
            stain_names=data.stains, resume=settings.resume, devices=devices_of(settings.device),
            on_step=on_progress, watch=watch,
            should_stop=lambda: should_stop() or wish_in(folder) == "pause",
            should_end=lambda: wish_in(folder) == "end",
        )  # fmt: skip
        forget_wish(folder)
        tuned.finish()
        generator.module().to("cpu")
        found = partial(
            FinetuneResult, out=Path(settings.out), steps=result.steps, seconds=result.seconds,
            moving=tuned.moving, of=tuned.of,
        )  # fmt: skip
        if not result.finished:
            return found(finished=False, notes=tuple(notes))
        pause = lambda: should_stop() or wish_in(folder) == "pause"  # noqa: E731
        scores = [
            compare_blocks(
                load_generator(settings.model).generator, generator, teach=ready.train,
                held=ready.judge, stains=data.stains, base=ready.base,
            )
        ]  # fmt: skip
        if settings.judge_each:
            others = other_folds(settings, data, parts, on_progress, pause)
            if others is None:
                forget_wish(folder)
                return found(finished=False, notes=tuple(notes))
            scores += others
        judged = judge_blocks(scores, stains=data.stains, seed=settings.seed)
        gains = judged.gains
        outlooks: tuple[Outlook, ...] = ()
        if settings.curve:
            learnt = fewer_fields(
                settings, data, parts, block_scores(generator, ready.judge), on_progress, pause
            )  # fmt: skip
            if learnt is None:
                forget_wish(folder)
                return found(finished=False, notes=tuple(notes))
            outlooks = learnt
            notes += [one.words for one in outlooks]
        like_before = forgotten(generator, *read_test_pair(model.path))
        notes += _said(gains, still=still)
        done = found(
            finished=True, folds=len(scores), gains=gains, worst=judged.worst, outlooks=outlooks,
            like_before=like_before, notes=tuple(notes),
        )  # fmt: skip
        untold = save_tuned(
            settings, model, data, ready.train, ready.judge, ready.loop, generator, result, done,
            on_progress=on_progress,
        )  # fmt: skip
        done = replace(done, notes=(*done.notes, *untold))
        write_result(Path(settings.out), done.to_json())
        write_worst(folder, [block.pictures for block in done.worst])
    return done


def _said(gains: Sequence[StainGain], *, still: bool) -> list[str]:
    notes = []
    if still:
        notes.append(
            "gain and offset alone have changed, so that the verdict is of the mean absolute error"
        )
    by = {
        verdict: [g.stain for g in gains if g.verdict == verdict]
        for verdict in ("worse", "inside the noise")
    }
    if by["worse"]:
        notes.append(f"{', '.join(by['worse'])}: worse than before. Keep the model as it was")
    if by["inside the noise"]:
        notes.append(f"{', '.join(by['inside the noise'])}: the gain is inside the noise")
    for gain in gains:
        whole = gain.mae_before - gain.mae_after
        alone = gain.mae_before - gain.mae_recalibrated
        same = gain.pcc_gain is None or gain.pcc_gain.value < _SLIGHT
        if not still and same and alone > _MOST * whole > 0:
            notes.append(
                f"{gain.stain}: a gain and an offset alone explain what the tuning mended; "
                "--preset recalibrate does that, and moves no weight"
            )
    return notes


def _outputs(
    fields: Sequence[PairedField], base: Sequence[Normalisation], rule: Rule
) -> list[Normalisation]:
    """Return what normalises each stain: fitted here, that of the model where there is none."""
    from napari_virtualstain.datasets.pairs import gather_statistics

    found = []
    for place, own in enumerate(base):
        (seen,) = gather_statistics(field.stains[place : place + 1] for field in fields)
        found.append(rule.fit(seen, what="stain", may_lack=True) if seen.count else own)
    return found
