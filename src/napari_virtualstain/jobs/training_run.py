"""What trainings of generators and of encoders share: their result, output and devices."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_virtualstain.encoders.package import check_encoder_output
from napari_virtualstain.errors import OutputExistsError, SettingsError
from napari_virtualstain.generators.package import check_model_output
from napari_virtualstain.io.model_files import SEES

__all__ = [
    "KEPT_OF_DATA",
    "KeptOfData",
    "TrainResult",
    "check_training_output",
    "devices_of",
    "training_folder",
]

KeptOfData = Literal["pictures", "numbers", "none"]
KEPT_OF_DATA = (
    "what the model keeps of its training data, to tell what is unlike it: numbers and small "
    "pictures of patches with their file names, numbers and names alone, or nothing"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a training came to.

    Parameters
    ----------
    out
        Folder of the model.
    finished
        False if it was stopped early; ``--resume`` goes on.
    steps, seconds
        Done, and how long they took.
    validation_loss
        What decided which weights were kept, `None` without an examination.
    validation_pcc
        Of a generator: the Pearson correlation of each stain.
    validation_pcc_denoised
        The same with denoised truth, of stains that taught so.
    validation_scores
        Of an encoder: how it did, by the name of the score.
    notes
        Sentences about what should be known.
    """

    out: Path
    finished: bool
    steps: int
    seconds: float
    validation_loss: float | None
    validation_pcc: dict[str, float] = field(default_factory=dict)
    validation_pcc_denoised: dict[str, float] = field(default_factory=dict)
    validation_scores: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        beside = {
            "validation_pcc_denoised": self.validation_pcc_denoised,
            "validation_scores": self.validation_scores,
        }
        return {
            "out": str(self.out),
            "finished": self.finished,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "validation_loss": _number(self.validation_loss),
            "validation_pcc": {n: _number(v) for n, v in self.validation_pcc.items()},
            **{
                what: {name: _number(value) for name, value in scores.items()}
                for what, scores in beside.items()
                if scores
            },
            "notes": list(self.notes),
        }


def _number(value: float | None) -> float | None:
    """Return `None` for what is not a number, which JSON has no word for."""
    return None if value is None or not np.isfinite(value) else value


def training_folder(out: str) -> Path:
    """Return where checkpoint and log lie, beside the model."""
    path = Path(out)
    return path.with_name(f"{path.name}.training")


def check_training_output(out: str, *, resume: bool, overwrite: bool) -> None:
    """Refuse an output that may not be written, before the training and not after.

    Raises
    ------
    OutputExistsError
        If there is something that may not be replaced.
    SettingsError
        If there is nothing to resume from.
    """
    path = Path(out)
    check = check_encoder_output if (path / SEES).is_file() else check_model_output
    check(path, overwrite=overwrite)
    checkpoint = training_folder(out) / "checkpoint.pt"
    if resume and not checkpoint.exists():
        raise SettingsError(
            f"There is no checkpoint '{checkpoint}' to resume from. Train without --resume."
        )
    if checkpoint.exists() and not (resume or overwrite):
        raise OutputExistsError(
            f"'{checkpoint}' is of a training that was not finished. "
            "Go on with it by --resume, or add --overwrite to begin anew."
        )


def devices_of(text: str) -> list[str]:
    """Return the devices that are named, for example ``cuda:0,cuda:1``.

    Raises
    ------
    SettingsError
        If they are of several kinds.
    """
    from napari_virtualstain.inference.device import choose_device  # loads torch

    devices = [choose_device(name.strip()) for name in text.split(",")]
    if len({device.partition(":")[0] for device in devices}) > 1:
        raise SettingsError(
            f"--device {text} names devices of several kinds, which cannot share a "
            "batch. Name graphics cards only, for example --device cuda:0,cuda:1."
        )
    return devices
