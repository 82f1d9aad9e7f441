"""One model a stain instead of one for all: how are they trained? One after the other, alike.

From the same fields, with the same settings, split and seed, into a folder that holds a model for
each stain. Each is a training of its own, so that the run can be stopped at any step: what is
finished stays, and what is not is gone on with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from napari_virtualstain.errors import OutputExistsError, SettingsError
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.io.model_files import PAINTS
from napari_virtualstain.jobs.base import Progress
from napari_virtualstain.jobs.batch_items import safe_name
from napari_virtualstain.jobs.training_denoised import open_denoisers
from napari_virtualstain.jobs.training_run import TrainResult, training_folder
from napari_virtualstain.training.settings import LoopSettings

if TYPE_CHECKING:
    from napari_virtualstain.jobs.train import TrainSettings
    from napari_virtualstain.jobs.training_fields import FieldData

__all__ = ["check_apart", "train_apart"]


class Train(Protocol):
    """How one model is trained; see `jobs.train.train_on_fields`."""

    def __call__(
        self,
        data: FieldData,
        settings: TrainSettings,
        *,
        on_progress: Progress | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> TrainResult: ...


def check_apart(settings: TrainSettings) -> None:
    """Refuse what models of single stains cannot be trained with, before images are read.

    Raises
    ------
    SettingsError, OutputExistsError
        If so.
    """
    if settings.overwrite:
        raise SettingsError(
            "A folder of models is not replaced as a whole. Leave out --overwrite, and choose "
            "another --out, or delete the folder."
        )
    if settings.start is not None:
        raise SettingsError(
            "No model is one to start all stains from. Leave out --start, or train each stain by "
            "itself, with --stains."
        )
    if (Path(settings.out) / PAINTS).is_file():
        raise OutputExistsError(
            f"'{settings.out}' is a model, and --one-model-a-stain makes a folder of models. "
            "Choose another --out."
        )


def train_apart(
    data: FieldData,
    settings: TrainSettings,
    train: Train,
    *,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train a model for each stain.

    Parameters
    ----------
    data
        Fields with all stains.
    settings
        Of every one of them; ``out`` is the folder of the models.
    train
        Trains one.
    on_progress
        Told of steps done, and of which stain.
    should_stop
        Asked after each step.

    Returns
    -------
    TrainResult
        Of all together: their steps and seconds added up.

    Raises
    ------
    VirtualStainError
        If one cannot be trained; those before it stay.
    """
    places = _places(data.stains, Path(settings.out))
    denoisers = open_denoisers(settings.denoised_targets, data.stains)
    own: list[TrainSettings] = []
    for number, stain in enumerate(data.stains):
        model = denoisers.models.get(number)
        changes = {
            "out": str(places[stain]), "resume": False,
            "denoised_targets": () if model is None else (str(model.path),),
        }  # fmt: skip
        own.append(settings.model_copy(update=changes))
    left = [n for n, one in enumerate(own) if not _is_finished(one, resume=settings.resume)]
    found: list[TrainResult] = []
    for number in left:
        begun = (training_folder(own[number].out) / "checkpoint.pt").exists()
        found.append(
            train(
                _only(data, number),
                own[number].model_copy(update={"resume": settings.resume and begun}),
                on_progress=_told(on_progress, data.stains[number], number + 1, len(own)),
                should_stop=should_stop,
            )
        )
        if not found[-1].finished:
            break
    done = [data.stains[n] for n in range(len(own)) if n not in left]
    notes = [f"{', '.join(done)}: finished before, and left as they are"] if done else []
    notes += dict.fromkeys(note for one in found for note in one.notes)
    return TrainResult(
        out=Path(settings.out),
        finished=len(found) == len(left) and all(one.finished for one in found),
        steps=sum(one.steps for one in found),
        seconds=sum(one.seconds for one in found),
        validation_loss=None,
        validation_pcc={k: v for one in found for k, v in one.validation_pcc.items()},
        validation_pcc_denoised={
            k: v for one in found for k, v in one.validation_pcc_denoised.items()
        },
        notes=tuple(notes),
    )


def _places(stains: tuple[str, ...], out: Path) -> Mapping[str, Path]:
    """Return the folder of each model, named like its stain as far as files can be."""
    places = {stain: out / safe_name(stain) for stain in stains}
    if len({str(place).casefold() for place in places.values()}) < len(stains):
        raise SettingsError(
            f"The stains {', '.join(stains)} would have folders of one name. Train them by "
            "themselves, with --stains and an --out each."
        )
    return places


def _is_finished(settings: TrainSettings, *, resume: bool) -> bool:
    """Return whether a model is there, of the same training; refuse one that is in the way."""
    place = Path(settings.out)
    checkpoint = training_folder(settings.out) / "checkpoint.pt"
    if not resume and (place.exists() or checkpoint.exists()):
        raise OutputExistsError(
            f"'{place if place.exists() else checkpoint}' exists. Go on with --resume, or choose "
            "another --out."
        )
    if checkpoint.exists() or not place.exists():
        return False
    card = read_card(place)
    stated = settings.model_dump(mode="json", include=set(LoopSettings.model_fields))
    had = card.model_dump(mode="json")["training"]["settings"]
    # What is left to the method stands in the card with its value.
    wrong = [n for n, value in stated.items() if value is not None and had.get(n, value) != value]
    if card.generator != settings.generator or wrong:
        what = wrong[0] if wrong else "generator"
        raise SettingsError(
            f"The model '{place}' was trained with another {what}. Use the same settings, or "
            "choose another --out."
        )
    return True


def _only(data: FieldData, number: int) -> FieldData:
    """Return fields with one of their stains."""
    stain, part = data.stains[number], slice(number, number + 1)
    fields = [replace(field, stains=field.stains[part]) for field in data.fields]
    name = f"{data.card['name']}-{stain}"
    return replace(data, fields=fields, stains=(stain,), card={**data.card, "name": name})


def _told(on_progress: Progress | None, stain: str, number: int, count: int) -> Progress | None:
    if on_progress is None:
        return None
    return lambda done, total, what: on_progress(
        done, total, f"{what}, for {stain}, model {number} of {count}"
    )
