"""What a comparison with the truth came to: numbers of each channel, doubts about them, a table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtualstain.errors import DiskError, PixelDataError
from napari_virtualstain.jobs.compare import PlaneScore
from napari_virtualstain.jobs.compare_objects import ObjectScore
from napari_virtualstain.metrics.spectrum import BANDS_PX

__all__ = [
    "ChannelScore", "Evaluation", "check_csv", "doubts_about", "meaning_of", "score_of", "way_gone",
    "write_csv",
]  # fmt: skip

_PERCEPTUAL = ("perceptual", "perceptual_misplaced")
_SETS = ("fid", "kid")
_CEILING = ("ceiling_pcc", "ceiling_ssim")
"""Scores that are there only where they were asked for."""


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
    ceiling_pcc, ceiling_ssim
        Of a second measurement of the same stain against the same truth; `None` where none was
        given.
    ms_ssim
        SSIM over five scales; `None` for pictures below 112 px.
    rank
        Correlation of ranks, of about a million pixels.
    gain, offset
        Of the line through prediction over truth: 1 and 0 are right.
    foreground_pcc, foreground_mae
        Where the truth is above Otsu's threshold.
    constant_ssim, constant_mse
        Of a constant picture at the mean of the truth: what "nothing is there" scores.
    band_correlation, band_power
        By octave of spatial frequency, from coarse to fine (`metrics.spectrum.BANDS_PX`): how
        waves agree, and the power of the prediction over that of the truth.
    finest_px
        Period of the finest waves that still agree, in pixels.
    perceptual
        Distance of the features that a classifier has of both, from 0, alike, to 4; `None` where
        none was asked, or it knows no such stain.
    perceptual_misplaced
        The same of the truth from itself turned round: what the right texture in the wrong places
        would have.
    denoised_truth
        Whether the truth was denoised, so that the numbers are no measure of the stain alone.
    fid, kid
        Fréchet and kernel distance between the crops of both, as sets, by the features that
        `Evaluation.sets` names; `None` where none were asked for, or there are too few crops.
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
    ceiling_pcc: float | None = None
    ceiling_ssim: float | None = None
    ms_ssim: float | None = None
    rank: float = float("nan")
    gain: float = float("nan")
    offset: float = float("nan")
    foreground_pcc: float = float("nan")
    foreground_mae: float = float("nan")
    constant_ssim: float = float("nan")
    constant_mse: float = float("nan")
    band_correlation: tuple[float, ...] = ()
    band_power: tuple[float, ...] = ()
    finest_px: float = float("nan")
    perceptual: float | None = None
    perceptual_misplaced: float | None = None
    denoised_truth: bool = False
    fid: float | None = None
    kid: float | None = None


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
    objects
        What became of the nuclei, if that was asked.
    sets
        Of the features that sets of crops were compared by: ``features``, ``fingerprint``,
        ``crop_px``, ``numbers`` a crop and ``crops`` of each stain; `None` if none were.
    """

    scores: tuple[ChannelScore, ...]
    notes: tuple[str, ...] = ()
    perceptual: dict[str, Any] | None = None
    sets: dict[str, Any] | None = None
    objects: ObjectScore | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``; what is not a number becomes `None`."""
        rows = [{k: _plain(v) for k, v in asdict(s).items()} for s in self.scores]
        found: dict[str, Any] = {"channels": rows, "notes": list(self.notes)}
        found |= {} if self.perceptual is None else {"perceptual": self.perceptual}
        found |= {} if self.sets is None else {"sets": self.sets}
        return found | ({} if self.objects is None else {"objects": self.objects.to_json()})

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Evaluation:
        """Return the scores that `to_json` was called on, perhaps in another process."""
        absent = ("ssim", "ms_ssim", "floor_pcc", *_CEILING, *_PERCEPTUAL, *_SETS)
        rows: list[dict[str, Any]] = [
            {name: value if name in absent else _number(value) for name, value in row.items()}
            for row in values["channels"]
        ]
        return cls(
            scores=tuple(ChannelScore(**row) for row in rows),
            notes=tuple(values["notes"]),
            perceptual=values.get("perceptual"),
            objects=ObjectScore.from_json(values["objects"]) if "objects" in values else None,
            sets=values.get("sets"),
        )

    @property
    def has_ceiling(self) -> bool:
        """Whether a second measurement was compared, too."""
        return any(score.ceiling_pcc is not None for score in self.scores)

    def table(self) -> str:
        """Return the scores as lines of text."""
        lines = ["stain         PCC  floor   SSIM   PSNR        MAE        MSE   gain detail"]
        more: list[tuple[str, str, int, str]] = []
        if self.has_ceiling:
            more += [("PCC of a replicate", "ceiling_pcc", 20, ".3f")]
        if self.perceptual is not None:
            more += [("features", "perceptual", 10, ".4f")]
            more += [("misplaced", "perceptual_misplaced", 11, ".4f")]
        if self.sets is not None:
            more += [("FID", "fid", 11, ".4g")]
            if any(score.kid is not None for score in self.scores):
                more += [("KID", "kid", 11, ".3g")]
        lines[0] += "".join(f"{title:>{width}}" for title, _, width, _ in more)
        for s in self.scores:
            floor = "   -  " if s.floor_pcc is None else f"{s.floor_pcc:6.3f}"
            local = "   -  " if s.ssim is None else f"{s.ssim:6.3f}"
            lines.append(
                f"{s.stain:<10} {s.pcc:6.3f} {floor} {local} {s.psnr:6.2f} "
                f"{s.mae:10.4g} {s.mse:10.4g} {s.gain:6.3f} {_detail(s):>6}"
            )
            for _, name, width, form in more:
                value = getattr(s, name)
                lines[-1] += f"{'-' if value is None else format(value, form):>{width}}"
            lines[-1] += "  against denoised truth" if s.denoised_truth else ""
        ways = [(s.stain, way_gone(asdict(s))) for s in self.scores]
        gone = [f"{stain} {way:.0%}" for stain, way in ways if way is not None]
        if gone:
            best = "a replicate" if self.has_ceiling else "a perfect stain"
            lines += ["", f"The way from the floor to {best}: {', '.join(gone)}."]
        if self.objects is not None:
            lines += ["", self.objects.words()]
        return "\n".join(lines)


def way_gone(values: Mapping[str, Any]) -> float | None:
    """Return how far a stain goes from what the bright field alone gives to the best there is.

    Parameters
    ----------
    values
        ``pcc``, ``floor_pcc`` and, where a replicate was compared, ``ceiling_pcc``.

    Returns
    -------
    float or None
        0 at the floor, below it negative, 1 at the PCC of a replicate or, without one, at 1;
        `None` where the floor is not known, or not below the ceiling.
    """
    pcc, floor = values["pcc"], values["floor_pcc"]
    ceiling = values.get("ceiling_pcc")
    best = 1.0 if ceiling is None else ceiling
    if pcc is None or floor is None or not all(map(np.isfinite, (pcc, floor, best))):
        return None
    return None if best <= floor else float((pcc - floor) / (best - floor))


def meaning_of(values: Mapping[str, Any]) -> str:
    """Return what the PCC of a stain is worth, in a sentence; empty where its floor is not known.

    Parameters
    ----------
    values
        As of `way_gone`, and ``stain``.
    """
    way = way_gone(values)
    if way is None:
        return ""
    stain, floor, ceiling = values["stain"], values["floor_pcc"], values.get("ceiling_pcc")
    if way <= 0:
        return (
            f"{stain}: no better than a filter of the bright field ({floor:.3f}). Nothing here was "
            "learnt from it."
        )
    best = "a perfect stain (1)" if ceiling is None else f"a second measurement ({ceiling:.3f})"
    return (
        f"{stain}: from what a filter of the bright field gives ({floor:.3f}) to {best}, the "
        f"prediction goes {way:.0%} of the way."
    )


def _detail(score: ChannelScore) -> str:
    """Return the power of the finest waves over that of the truth."""
    known = bool(score.band_power) and np.isfinite(score.band_power[-1])
    return f"{score.band_power[-1]:.3f}" if known else "-"


def _plain(value: Any) -> Any:
    """Return what JSON can say: nothing for what is not a number."""
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_number(part) for part in value)
    return float("nan") if value is None else value


def score_of(
    stain: str, truth: str, rows: Sequence[PlaneScore], *, with_floor: bool
) -> ChannelScore:
    """Average over the planes of one pair of channels."""
    if not any(row.compared.count for row in rows):
        raise PixelDataError(
            f"Prediction {stain!r} and truth {truth!r} have no pixel in common: all are missing "
            "(NaN). Check that the run was finished, and choose the target of the same field."
        )
    compared, bright = [row.compared for row in rows], [row.foreground for row in rows]
    similar, floor = _mean(row.ssim for row in rows), _mean(row.floor for row in rows)
    scales = _mean(row.ms_ssim for row in rows)
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
        ms_ssim=scales if np.isfinite(scales) else None,
        rank=_mean(row.rank for row in rows),
        gain=_mean(c.gain for c in compared),
        offset=_mean(c.offset for c in compared),
        foreground_pcc=_mean(c.pearson for c in bright),
        foreground_mae=_mean(c.mae for c in bright),
        constant_ssim=_mean(row.constant_ssim for row in rows),
        constant_mse=_mean(c.truth_variance for c in compared),
        band_correlation=tuple(map(_mean, zip(*(row.correlation for row in rows), strict=True))),
        band_power=tuple(map(_mean, zip(*(row.power for row in rows), strict=True))),
        finest_px=_mean(row.finest_px for row in rows),
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


def _columns(score: ChannelScore) -> dict[str, Any]:
    """Return one number a column: those of bands have the periods in their name."""
    found: dict[str, Any] = {}
    for name, value in asdict(score).items():
        if name.startswith("band_"):
            values = value or (float("nan"),) * len(BANDS_PX)
            bands = zip(BANDS_PX, values, strict=True)
            found |= {f"{name}_{long}_{short}px": one for (long, short), one in bands}
        else:
            found[name] = value
    return found


def _digits(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return f"{value:.6g}" if np.isfinite(value) else ""


def write_csv(path: Path, result: Evaluation) -> None:
    """Write six digits a number, and nothing where there is none."""
    rows = [
        {name: _digits(value) for name, value in _columns(score).items()} for score in result.scores
    ]
    unasked = (
        *(() if result.has_ceiling else _CEILING),
        *(_PERCEPTUAL if result.perceptual is None else ()),
        *(_SETS if result.sets is None else ()),
        *(() if any(score.denoised_truth for score in result.scores) else ("denoised_truth",)),
    )
    rows = [{k: v for k, v in row.items() if k not in unasked} for row in rows]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise _unwritable(path, error) from error
