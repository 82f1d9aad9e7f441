"""What a comparison with the truth came to: numbers of each channel, doubts about them, a table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtualstain.errors import DiskError, PixelDataError
from napari_virtualstain.jobs.compare import PlaneScore

__all__ = ["ChannelScore", "Evaluation", "check_csv", "doubts_about", "score_of", "write_csv"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelScore:
    """How one predicted channel compares with its truth.

    Parameters
    ----------
    stain, target
        Names of the two channels.
    pcc, ssim, psnr, mae, mse
        Means over planes and time points where they are defined, else NaN; see
        `napari_virtualstain.metrics`.
    data_range
        Of the truth, in its unit; SSIM and PSNR are relative to it.
    floor_pcc
        Of the best linear combination of the bright-field planes (3 x 3
        neighbourhoods, fitted to this truth on the same pixels), `None` without
        bright field.
    missing
        Share of pixels that the prediction or truth does not have.
    perceptual
        Distance of the features that a classifier has of both, from 0, alike, to 4; `None` where
        none was asked, or it knows no such stain.
    perceptual_misplaced
        The same of the truth from itself turned round: what the right texture in the wrong places
        would have.
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
    perceptual: float | None = None
    perceptual_misplaced: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Scores of all channels, and what they were computed on.

    Parameters
    ----------
    scores
        By channel.
    notes
        What to know of them.
    perceptual
        Of the classifier that was asked: ``encoder``, ``fingerprint``, ``window_px``, ``together``
        and ``mean``, over stains; `None` if none was.
    """

    scores: tuple[ChannelScore, ...]
    notes: tuple[str, ...] = ()
    perceptual: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``; what is not a number becomes `None`."""
        rows = [
            {
                k: None if isinstance(v, float) and not np.isfinite(v) else v
                for k, v in asdict(s).items()
            }
            for s in self.scores
        ]
        found = {"channels": rows, "notes": list(self.notes)}
        return found if self.perceptual is None else {**found, "perceptual": self.perceptual}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Evaluation:
        """Return the scores that `to_json` was called on, perhaps in another process."""
        may_be_absent = ("ssim", "floor_pcc", "perceptual", "perceptual_misplaced")
        rows: list[dict[str, Any]] = [
            {
                name: float("nan") if value is None and name not in may_be_absent else value
                for name, value in row.items()
            }
            for row in values["channels"]
        ]
        return cls(
            scores=tuple(ChannelScore(**row) for row in rows),
            notes=tuple(values["notes"]),
            perceptual=values.get("perceptual"),
        )

    def table(self) -> str:
        """Return the scores as lines of text."""
        asked = self.perceptual is not None
        lines = ["stain         PCC  floor   SSIM   PSNR        MAE        MSE"]
        lines[0] += "  features  misplaced" if asked else ""
        for s in self.scores:
            floor = "   -  " if s.floor_pcc is None else f"{s.floor_pcc:6.3f}"
            local = "   -  " if s.ssim is None else f"{s.ssim:6.3f}"
            lines.append(
                f"{s.stain:<10} {s.pcc:6.3f} {floor} {local} {s.psnr:6.2f} "
                f"{s.mae:10.4g} {s.mse:10.4g}"
            )
            for value, width in ((s.perceptual, 9), (s.perceptual_misplaced, 10)):
                if asked:
                    lines[-1] += f" {'-':>{width}}" if value is None else f" {value:{width}.4f}"
        return "\n".join(lines)


def score_of(
    stain: str, truth: str, rows: Sequence[PlaneScore], *, with_floor: bool
) -> ChannelScore:
    """Average over the planes of one pair of channels."""
    if not any(row.compared.count for row in rows):
        raise PixelDataError(
            f"Prediction {stain!r} and truth {truth!r} have no pixel in common: all are missing "
            "(NaN). Check that the run was finished, and choose the target of the same field."
        )
    compared = [row.compared for row in rows]
    similar, floor = _mean(row.ssim for row in rows), _mean(row.floor for row in rows)
    return ChannelScore(
        stain=stain,
        target=truth,
        pcc=_mean(c.pearson for c in compared),
        ssim=similar if np.isfinite(similar) else None,
        psnr=_mean(c.psnr for c in compared),
        mae=_mean(c.mae for c in compared),
        mse=_mean(c.mse for c in compared),
        data_range=_mean(c.data_range for c in compared),
        floor_pcc=floor if with_floor and np.isfinite(floor) else None,
        missing=_mean(c.missing for c in compared),
    )


def _mean(values: Iterable[float]) -> float:
    """Return the mean of what is defined, NaN if nothing is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def doubts_about(score: ChannelScore, rows: Sequence[PlaneScore]) -> list[str]:
    """Say what the numbers of a channel leave out."""
    doubts = []
    if score.missing > 0:
        doubts.append(
            f"{score.stain}: {_percent(score.missing)} of the pixels are missing (NaN) in "
            "prediction or truth and count for nothing"
        )
    flat = sum(bool(row.compared.count) and np.isnan(row.compared.pearson) for row in rows)
    if flat:
        where = "" if len(rows) == 1 else f" on {flat} of {len(rows)} planes"
        doubts.append(
            f"{score.stain}: no correlation{where}, where prediction or truth is constant"
        )
    return doubts


def _percent(share: float) -> str:
    return "less than 0.1 %" if share < 1e-3 else f"{100 * share:.1f} %"


def check_csv(path: Path) -> None:
    """Find out before the work whether the table can be written after it."""
    there = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8"):
            pass
        if not there:
            path.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> DiskError:
    return DiskError(
        f"The table cannot be written to '{path}': {error.strerror}. Choose another --csv."
    )


def write_csv(path: Path, result: Evaluation) -> None:
    """Write six digits a number, and nothing where there is none."""
    rows = [
        {
            name: (f"{value:.6g}" if np.isfinite(value) else "")
            if isinstance(value, float)
            else value
            for name, value in asdict(score).items()
        }
        for score in result.scores
    ]
    if result.perceptual is None:
        rows = [{k: v for k, v in row.items() if not k.startswith("perceptual")} for row in rows]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise _unwritable(path, error) from error
