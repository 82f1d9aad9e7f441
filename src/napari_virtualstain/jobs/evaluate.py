"""Compare a prediction with the truth, channel by channel, beside the floor."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_virtualstain.errors import (
    ChannelError,
    DiskError,
    PixelDataError,
    VirtualStainError,
    did_you_mean,
)
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs.base import JobSettings, Progress
from napari_virtualstain.metrics.floor import linear_floor
from napari_virtualstain.metrics.pixel import data_range, mae, mse, pearson, psnr
from napari_virtualstain.metrics.structure import ssim

__all__ = ["ChannelScore", "EvaluateSettings", "Evaluation", "run"]

_SMALLEST_FOR_SSIM = 7


class EvaluateSettings(JobSettings):
    """Settings of `virtualstain evaluate`."""

    prediction: str = Field(description="predicted stains, for example stain.ome.zarr")
    target: str = Field(description="image with the true fluorescence")
    brightfield: str | None = Field(
        default=None, description="bright field for the floor; that of the run if not given"
    )
    match: tuple[str, ...] = Field(
        default=(), description="PREDICTED=TRUE channel names where they differ, e.g. DNA=DAPI"
    )
    scene: str | None = Field(default=None, description="which image of the target")
    csv: str | None = Field(default=None, description="also write the table to this file")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelScore:
    """How one predicted channel compares with its truth.

    Parameters
    ----------
    stain, target
        Names of the two channels.
    pcc, ssim, psnr, mae, mse
        Means over planes and time points; see `napari_virtualstain.metrics`.
    data_range
        Of the truth, in its unit; SSIM and PSNR are relative to it.
    floor_pcc
        Of the best linear combination of the bright-field planes (3 x 3
        neighbourhoods, fitted to this truth), `None` without bright field.
    missing
        Share of pixels that the prediction or truth does not have.
    """

    stain: str
    target: str
    pcc: float
    ssim: float | None
    psnr: float
    mae: float
    mse: float
    data_range: float
    floor_pcc: float | None
    missing: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Scores of all channels, and what they were computed on."""

    scores: tuple[ChannelScore, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``; what is not a number becomes `None`."""
        rows = [
            {
                k: None if isinstance(v, float) and not np.isfinite(v) else v
                for k, v in asdict(s).items()
            }
            for s in self.scores
        ]
        return {"channels": rows, "notes": list(self.notes)}

    def table(self) -> str:
        """Return the scores as lines of text."""
        lines = ["stain         PCC  floor   SSIM   PSNR        MAE        MSE"]
        for s in self.scores:
            floor = "   -  " if s.floor_pcc is None else f"{s.floor_pcc:6.3f}"
            local = "   -  " if s.ssim is None else f"{s.ssim:6.3f}"
            lines.append(
                f"{s.stain:<10} {s.pcc:6.3f} {floor} {local} {s.psnr:6.2f} "
                f"{s.mae:10.4g} {s.mse:10.4g}"
            )
        return "\n".join(lines)


def run(settings: EvaluateSettings, *, on_progress: Progress | None = None) -> Evaluation:
    """Compare every predicted channel with its truth.

    Parameters
    ----------
    settings
        Which files.
    on_progress
        Told of channels done.

    Raises
    ------
    VirtualStainError
        If files cannot be read, sizes differ, or no channel has a truth.
    """
    prediction = open_image(settings.prediction)
    pairs = _match(prediction.channel_names, settings)
    target = open_image(
        settings.target, scene=settings.scene, channels=[truth for _, truth in pairs] or None
    )
    pairs = _resolve(prediction, target, pairs)
    if prediction.shape[3:] != target.shape[3:] or prediction.shape[0] != target.shape[0]:
        raise PixelDataError(
            f"The prediction has {_size(prediction)} and the target {_size(target)}. "
            "Choose the target of the same field, or another --scene."
        )
    notes = [*prediction.guesses, *target.guesses]
    planes, note = _brightfield(settings)
    if note:
        notes.append(note)
    if planes is not None and planes.shape[3:] != target.shape[3:]:
        planes = None
        notes.append("no floor: the bright field has another size")
    scores = []
    for index, (stain, truth) in enumerate(pairs):
        scores.append(_score(prediction, target, planes, stain, truth))
        if on_progress is not None:
            on_progress(index + 1, len(pairs), "channels compared")
    result = Evaluation(scores=tuple(scores), notes=tuple(notes))
    if settings.csv is not None:
        _write_csv(Path(settings.csv), result)
    return result


def _size(image: LazyImage) -> str:
    t, _, _, y, x = image.shape
    return f"{y} x {x} px" + (f" and {t} time points" if t > 1 else "")


def _match(names: Sequence[str], settings: EvaluateSettings) -> list[tuple[str, str]]:
    """Parse ``PREDICTED=TRUE`` pairs."""
    pairs = []
    for text in settings.match:
        stain, sign, truth = text.partition("=")
        if not sign or stain not in names:
            raise ChannelError(
                f"--match {text!r} does not say PREDICTED=TRUE with a predicted channel "
                f"({', '.join(names)}).{did_you_mean(stain, list(names))} "
                "Write for example --match DNA=DAPI."
            )
        pairs.append((stain, truth))
    return pairs


def _resolve(
    prediction: LazyImage, target: LazyImage, pairs: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    if pairs:
        return [
            (stain, target.channel_names[target.channel_index(truth)]) for stain, truth in pairs
        ]
    folded = {name.casefold(): name for name in target.channel_names}
    same = [
        (name, folded[name.casefold()])
        for name in prediction.channel_names
        if name.casefold() in folded
    ]
    if not same:
        raise ChannelError(
            f"No channel of the target ({', '.join(target.channel_names)}) has the name of a "
            f"predicted stain ({', '.join(prediction.channel_names)}). "
            "Pair them with --match, for example --match DNA=DAPI."
        )
    return same


def _brightfield(settings: EvaluateSettings) -> tuple[LazyImage | None, str | None]:
    """Open what the floor is fitted on: named, or that of the run; (1, 1, P, Y, X)."""
    from napari_virtualstain.jobs.stain import StainSettings, prepare

    if settings.brightfield is not None:
        return open_image(settings.brightfield), None
    try:
        stored = read_record(settings.prediction)["record"]["settings"]
        return prepare(StainSettings.model_validate(stored)).planes.image, None
    except (VirtualStainError, KeyError, ValueError):
        return (
            None,
            "no floor: the bright field of the run is not at hand, give it by --brightfield",
        )


def _score(
    prediction: LazyImage, target: LazyImage, planes: LazyImage | None, stain: str, truth: str
) -> ChannelScore:
    """Average over time points and z planes of one pair of channels."""
    p_index, t_index = prediction.channel_index(stain), target.channel_index(truth)
    n_t, _, n_z, height, width = prediction.shape
    if target.shape[2] != n_z:
        raise PixelDataError(
            f"The prediction has {n_z} z planes and the target {target.shape[2]}. "
            "Project or select the target's planes first."
        )
    rows, floors = [], []
    for t in range(n_t):
        below = None if planes is None else _plane_stack(planes, t)
        for z in range(n_z):
            p, y = _plane(prediction, t, p_index, z), _plane(target, t, t_index, z)
            peak = data_range(y)
            large = min(height, width) >= _SMALLEST_FOR_SSIM
            rows.append(
                (
                    pearson(p, y), ssim(p, y, range_=peak) if large else np.nan,
                    psnr(p, y, range_=peak), mae(p, y), mse(p, y), peak,
                    1 - float((np.isfinite(p) & np.isfinite(y)).mean()),
                )
            )  # fmt: skip
            if below is not None:
                floors.append(linear_floor(below, y))
    mean = [float(value) for value in np.mean(rows, axis=0)]
    return ChannelScore(
        stain=stain, target=truth, pcc=mean[0],
        ssim=mean[1] if np.isfinite(mean[1]) else None,
        psnr=mean[2], mae=mean[3], mse=mean[4], data_range=mean[5],
        floor_pcc=float(np.mean(floors)) if floors else None, missing=mean[6],
    )  # fmt: skip


def _plane(image: LazyImage, t: int, c: int, z: int) -> NDArray[np.float32]:
    everything = slice(None)
    region = (slice(t, t + 1), slice(c, c + 1), slice(z, z + 1), everything, everything)
    pixels: NDArray[np.float32] = image.read(region)[0, 0, 0].astype(np.float32)
    return pixels


def _plane_stack(image: LazyImage, t: int) -> NDArray[np.float32]:
    """Return the channel's planes at a time point: (P, Y, X)."""
    region = (slice(t, t + 1), slice(0, 1), slice(None), slice(None), slice(None))
    pixels: NDArray[np.float32] = image.read(region)[0, 0].astype(np.float32)
    return pixels


def _write_csv(path: Path, result: Evaluation) -> None:
    rows = [asdict(score) for score in result.scores]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise DiskError(
            f"The table cannot be written to '{path}': {error.strerror}. Choose another --csv."
        ) from error
