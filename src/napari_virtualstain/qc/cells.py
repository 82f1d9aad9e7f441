"""Are the cells those of the bright field? Lost, invented, merged; each stain in its place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from skimage.measure import regionprops_table

from napari_virtualstain.qc.expectation import of_light, of_stains
from napari_virtualstain.qc.field import Picture, QcField, softened
from napari_virtualstain.qc.found import CannotTell, Found, places
from napari_virtualstain.qc.reference import QcReference, StainUsual

__all__ = [
    "channels",
    "grain",
    "inner",
    "invented",
    "lost",
    "merged",
    "nucleus_table",
    "registration",
    "surprises",
]

_SMOOTH_UM = 2.4
_RING_UM = 4.0
_LARGER, _HOLLOW = 1.2, 0.04
"""Beyond nearly all good nuclei: by which factor, and by how much of the convex hull."""
_BRIDGE = 0.75
"""Of the brightness of the darker nucleus, what a gap between two has not."""
_COARSE = 8.0
_LACKS = 0.3
"""Of the contrast of a nucleus, what DNA lacks at least where one was lost."""
_DIM = 0.3
_FARTHEST = 12
"""Squares of the coarse grid within which a shift is looked for."""


def _edge(field: QcField) -> float:
    return field.bin * field.pixel_um


def surprises(field: QcField, reference: QcReference) -> dict[str, Picture]:
    """Return where DNA is less than foretold, over the contrast of a nucleus, (y, x) by witness.

    Raises
    ------
    CannotTell
        If there is no DNA stain, or the reference foretells none.
    """
    dna = field.stain("DNA")
    if dna is None:
        raise CannotTell("no channel is surely DNA; name one so")
    if reference.nucleus is None or dna not in reference.stains:
        raise CannotTell("the reference knows no nuclei of this stain")
    kept: list[Any] = field.once("surprises", list)
    if not kept or kept[0] is not reference:
        kept[:] = [reference, _surprises(field, reference, dna)]
    found: dict[str, Picture] = kept[1]
    if not found:
        raise CannotTell("the reference foretells no DNA from what is at hand")
    return found


def _surprises(field: QcField, reference: QcReference, dna: str) -> dict[str, Picture]:
    contrast = reference.nucleus[3] if reference.nucleus else 1.0
    # Both above their own darkness: a shift of level is no nucleus.
    lifted = np.float32(field.dark(dna) - reference.stains[dna].dark)
    sigma = _SMOOTH_UM / _edge(field)
    found = {}
    for witness, known, features in (
        ("bright field", reference.light, of_light), ("stains", reference.others, of_stains),
    ):  # fmt: skip
        expectation = known.get(dna)
        if expectation is None:
            continue
        seen = of_light(field) if features is of_light else of_stains(field, dna)
        if seen is None or len(seen) + 1 != len(expectation.weights):
            continue
        less = expectation.of(seen) - (field.coarse(dna) - lifted)
        found[witness] = softened(less, sigma) / np.float32(contrast)
    return found


def lost(field: QcField, reference: QcReference | None) -> Found:
    """Measure the area where bright field or other stains foretell a nucleus that DNA lacks."""
    return _surprising(field, reference, 1)


def invented(field: QcField, reference: QcReference | None) -> Found:
    """Measure the area of DNA that neither bright field nor other stains foretell."""
    return _surprising(field, reference, -1)


def _surprising(field: QcField, reference: QcReference | None, sign: int) -> Found:
    if reference is None:
        raise CannotTell("what the bright field foretells is learnt from good fields")
    maps = surprises(field, reference)
    least = 0.25 * (reference.nucleus[2] if reference.nucleus else 50.0) / _edge(field) ** 2
    one = 4 * least
    count = max(len(np.unique(field.nuclei)) - 1, 1) if field.nuclei is not None else 1
    numbers, where = {}, np.zeros(next(iter(maps.values())).shape, bool)
    for witness, less in maps.items():
        usual = reference.beyond.get(f"{'lost' if sign > 0 else 'invented'} {witness}", 0.5)
        limit = max(usual, _LACKS)
        mask = _large(sign * less > limit, least)
        numbers[witness] = float(mask.sum()) / one / count
        where |= mask
    return Found(numbers=numbers, where=places(field, where))


def _large(mask: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    if not count:
        return mask
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    kept: NDArray[np.bool_] = (areas >= least)[labels]
    return kept


def nucleus_table(field: QcField) -> dict[str, NDArray[np.float64]]:
    """Return area in µm², solidity and number of each predicted nucleus that no edge cuts.

    Raises
    ------
    CannotTell
        If there is no DNA stain, or no nucleus.
    """
    labels = field.nuclei
    if labels is None:
        raise CannotTell("no channel is surely DNA; name one so")
    if not labels.any():
        raise CannotTell("there is no nucleus in this field")
    table: dict[str, NDArray[np.float64]] = regionprops_table(
        labels, properties=("label", "area", "solidity", "bbox")
    )
    inside = (table["bbox-0"] > 0) & (table["bbox-1"] > 0)
    inside &= (table["bbox-2"] < labels.shape[0]) & (table["bbox-3"] < labels.shape[1])
    return {
        "label": table["label"][inside], "area": table["area"][inside] * _edge(field) ** 2,
        "solidity": table["solidity"][inside],
    }  # fmt: skip


def merged(field: QcField, reference: QcReference | None) -> Found:
    """Measure the share of nuclei that are larger or less convex than nearly all, or bridged."""
    if reference is None or reference.nucleus is None:
        raise CannotTell("how large a good nucleus is, only a reference tells")
    table = nucleus_table(field)
    if len(table["area"]) < 3:
        raise CannotTell("fewer than 3 whole nuclei are in this field")
    largest, solid, _, _ = reference.nucleus
    odd = (table["area"] > _LARGER * largest) | (table["solidity"] < solid - _HOLLOW)
    labels, dna = field.nuclei, field.stain("DNA")
    if labels is None or dna is None:
        raise CannotTell("no channel is surely DNA; name one so")
    bridged = _bridged(labels, field.coarse(dna) - field.dark(dna))
    count = len(np.unique(labels)) - 1
    where = np.isin(labels, [*table["label"][odd], *bridged])
    numbers = {"odd shapes": float(odd.mean()), "bridges": len(bridged) / count}
    return Found(numbers=numbers, where=places(field, where))


def _bridged(labels: NDArray[np.int32], over: Picture) -> list[int]:
    """Return nuclei that touch another where DNA is nearly as bright as in both of them."""
    names = np.arange(labels.max() + 1)
    middle = np.zeros(len(names))
    middle[1:] = ndimage.median(over, labels, names[1:])
    between: dict[tuple[int, int], list[float]] = {}
    for one, other, level in (
        (labels[1:], labels[:-1], np.minimum(over[1:], over[:-1])),
        (labels[:, 1:], labels[:, :-1], np.minimum(over[:, 1:], over[:, :-1])),
    ):
        touching = (one != other) & (one > 0) & (other > 0)
        for a, b, value in zip(one[touching], other[touching], level[touching], strict=True):
            between.setdefault((min(a, b), max(a, b)), []).append(float(value))
    found: set[int] = set()
    for pair, values in between.items():
        if np.median(values) > _BRIDGE * min(middle[list(pair)]):
            found |= set(pair)
    return sorted(int(name) for name in found)


def channels(field: QcField, reference: QcReference | None) -> Found:
    """Measure how much brighter each stain is in nuclei than around them: log of a factor."""
    labels = field.nuclei
    if labels is None:
        raise CannotTell("no channel is surely DNA; name one so")
    dna = field.stain("DNA")
    inside = labels > 0
    numbers = {}
    if _holds_cells(field, reference):
        share = (inside.sum() + 1) / max(int(field.cells.sum()), 1)
        numbers[f"{dna} nuclei over cells"] = float(np.log(share))
    if inside.sum() < 16:
        if not numbers:
            raise CannotTell("there is no nucleus in this field")
        return Found(numbers=numbers)
    wide = ndimage.binary_dilation(inside, iterations=max(1, round(_RING_UM / _edge(field))))
    ring = wide & ~inside
    if not ring.any():
        raise CannotTell("nuclei have no surroundings in this field")
    for name in field.stains:
        over = field.coarse(name) - field.dark(name)
        here, around = (max(float(over[m].mean()), 1e-3 * abs(field.bright(name)) + 1e-9)
                        for m in (inside, ring))  # fmt: skip
        numbers[f"{name} nucleus over ring"] = float(np.log(here / around))
    if dna is not None and len(field.stains) > 1:
        over = np.maximum(field.coarse(dna) - field.dark(dna), 0)
        numbers[f"{dna} outside cells"] = float(
            over[~(field.cells | wide)].sum() / max(float(over.sum()), 1e-9)
        )
    return Found(numbers=numbers)


def _holds_cells(field: QcField, reference: QcReference | None) -> bool:
    """Return whether stains other than DNA are as bright somewhere as cells usually are."""
    if reference is None:
        return False
    return any(
        field.bright(name) > _DIM * usual.bright
        for name, usual in reference.stains.items()
        if name in field.stains and name != field.stain("DNA")
    )


def grain(field: QcField, name: str) -> tuple[Picture, Picture, NDArray[np.bool_]]:
    """Return logs of fine and of coarse brightness (y, x) of a stain, and where cells are.

    Fine is the spread of what a Gaussian of 1.5 squares takes away, over some 5 µm.
    """

    def make() -> tuple[Picture, Picture, NDArray[np.bool_]]:
        small = field.coarse(name)
        fine = small - softened(small, 1.5)
        energy = np.sqrt(softened(fine * fine, 2.5))
        level = softened(small, 2.5) - np.float32(field.dark(name))
        unit = np.float32(max(field.bright(name), 1e-9))
        inside = field.cells & (level > 0.1 * unit)
        return (
            np.log(energy / unit + 1e-6), np.log(np.maximum(level / unit, 1e-3)), inside
        )  # fmt: skip

    found: tuple[Picture, Picture, NDArray[np.bool_]] = field.once(f"grain {name}", make)
    return found


def smoothness(field: QcField, stains: dict[str, StainUsual]) -> tuple[Picture, NDArray[np.bool_]]:
    """Return how much smoother cells are than good ones: SDs, mean over stains; and where."""
    total, count = None, None
    for name, usual in stains.items():
        if name not in field.stains or usual.grain is None:
            continue
        fine, level, inside = grain(field, name)
        at_one, slope, sd = usual.grain
        less = np.where(inside, (at_one + slope * level - fine) / np.float32(max(sd, 1e-3)), 0)
        total = less if total is None else total + less
        count = inside.astype(int) if count is None else count + inside
    if total is None or count is None:
        raise CannotTell("the reference knows the inner structure of none of these stains")
    mean = (total / np.maximum(count, 1)).astype(np.float32)
    return mean, count >= max(1, (len(stains) + 1) // 2)


def inner(field: QcField, reference: QcReference | None) -> Found:
    """Measure the share of the cells that is smoother inside than nearly all good ones."""
    if reference is None:
        raise CannotTell("how structured a good cell is, only a reference tells")
    mean, inside = smoothness(field, reference.stains)
    if inside.sum() < 64:
        raise CannotTell("there are too few cells in this field")
    limit = reference.beyond.get("smooth", 2.0)
    flat = (mean > limit) & inside
    flat = ndimage.binary_opening(flat)
    where = ndimage.binary_dilation(flat, iterations=2) & field.cells
    return Found(numbers={"share": float(flat.sum() / inside.sum())}, where=places(field, where))


def registration(field: QcField, reference: QcReference | None) -> Found:
    """Measure how far the stains lie off what the bright field foretells of them, in pixels."""
    features = of_light(field)
    if features is None:
        raise CannotTell("the bright field is not at hand; give it with --source")
    if reference is None:
        raise CannotTell("what the bright field foretells is learnt from good fields")
    total = None
    for name, expectation in reference.light.items():
        if name not in field.stains or len(features) + 1 != len(expectation.weights):
            continue
        if expectation.r < 0.2:
            continue
        cross = _cross(expectation.of(features), field.coarse(name)) * expectation.r
        total = cross if total is None else total + cross
    if total is None:
        raise CannotTell("the bright field foretells none of these stains well enough")
    span = min(_FARTHEST, min(total.shape) // 4)
    near = np.roll(total, (span, span), (0, 1))[: 2 * span + 1, : 2 * span + 1]
    at = np.unravel_index(int(near.argmax()), near.shape)
    shift = [_parabola(near, at, axis) - span for axis in (0, 1)]
    return Found(numbers={"shift": float(np.hypot(*shift)) * field.bin})


def _cross(one: Picture, other: Picture) -> NDArray[np.float64]:
    """Return the correlation at every shift of two pictures without their coarsest waves."""
    fine = [fft.fftfreq(one.shape[0])[:, None], fft.rfftfreq(one.shape[1])[None]]
    kept = 1 - np.exp(-2 * np.pi**2 * _COARSE**2 * (fine[0] ** 2 + fine[1] ** 2))
    kept = kept.astype(np.float32)
    both = []
    for picture in (one, other):
        waves = fft.rfft2(picture) * kept
        both.append(waves / max(float(np.sqrt(np.square(np.abs(waves)).sum())), 1e-9))
    found: NDArray[np.float64] = fft.irfft2(both[0].conj() * both[1], s=one.shape)
    return found


def _parabola(near: NDArray[np.float64], at: tuple[np.intp, ...], axis: int) -> float:
    """Return the place of a maximum between the pixels of an axis."""
    here = int(at[axis])
    if not 0 < here < near.shape[axis] - 1:
        return float(here)
    line = near[:, at[1]] if axis == 0 else near[at[0]]
    before, top, after = (float(line[here + n]) for n in (-1, 0, 1))
    bend = before - 2 * top + after
    return here + (0.5 * (before - after) / bend if bend < 0 else 0.0)
