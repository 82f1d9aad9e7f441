"""How the fields of a pairs file become what a network learns from; test fields stay closed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import hypot
from pathlib import Path
from typing import Any

from napari_virtualstain.datasets.alignment import shift_channels
from napari_virtualstain.datasets.excluded import leave_out
from napari_virtualstain.datasets.leakage import Footprint, block_prints, same_file
from napari_virtualstain.datasets.pairing_file import FilePair, PairsFile, load_pairs
from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.datasets.split import SetName
from napari_virtualstain.errors import ChannelError, SettingsError, did_you_mean
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.pair_check import open_planes
from napari_virtualstain.jobs.pair_images import Images, StainPlace, join_stains
from napari_virtualstain.jobs.pair_sets import groups_of
from napari_virtualstain.jobs.pairs import opening_of
from napari_virtualstain.jobs.training_denoised import denoised_truths
from napari_virtualstain.jobs.training_fields import FieldData, PairSettings, card_of, fields_of
from napari_virtualstain.jobs.training_light import TrainingLight

__all__ = ["open_pairs_file"]

_IN_FILE = (
    "input", "target", "channel", "scene", "axes", "target_scene", "target_axes", "exclude",
)  # fmt: skip
"""Settings that a pairs file has said already."""


def open_pairs_file(settings: PairSettings, *, name: str) -> FieldData:
    """Open the training and validation fields of a pairs file: each time point is a field.

    Stains that the file says to move are moved when they are read; the bright field never is.

    Parameters
    ----------
    settings
        With ``pairs``; ``stains``, ``z`` and ``pixel_size`` outrank the file, which knows
        nothing of ``illumination``.
    name
        Of the model, for its card.

    Raises
    ------
    VirtualStainError
        If file and settings contradict each other, or an image cannot be opened.
    """
    path = Path(settings.pairs or "")
    file = load_pairs(path)
    _refuse_other_words(settings, file)
    stains = _stains(settings, file)
    pairs = [p for p in file.pairs if file.split is None or p.set in ("train", "validation")]
    if not any(pair.set == "train" for pair in pairs) and file.split is not None:
        raise SettingsError(
            f"No pair of '{path}' is in the set train. Write it anew with smaller shares."
        )
    if file.split is None:
        groups = groups_of(pairs, settings.split_by)
    else:
        groups = [pair.field for pair in pairs]
    images = Images()
    light = TrainingLight(settings.illumination)
    fields: list[PairedField] = []
    sets: list[SetName] = []
    prints: list[Footprint] = []
    opened: list[LazyImage] = []
    moved: dict[str, dict[str, tuple[float, float]]] = {}
    for pair, group in zip(pairs, groups, strict=True):
        planes, truth = _open(pair, file, settings, stains, images)
        shifts = {at: by for at, by in file.corrections(pair).items() if at[0] in stains}
        truth = shift_channels(truth, {(t, stains.index(s)): by for (s, t), by in shifts.items()})
        for (stain, t), by in shifts.items():
            moved.setdefault(f"{pair.name} t{t}", {})[stain] = by
        opened.append(planes)
        z = settings.z if settings.z is not None else file.z
        even = light.corrected(planes, z, path=pair.path, plate=pair.plate)
        found = fields_of(even, truth, name=pair.name, group=group)
        fields += found
        sets += [pair.set or "train"] * len(found)
        files = {(same_file(pair.path), pair.scene)}
        files |= {(same_file(stain.path), stain.scene) for stain in pair.stains.values()}
        prints += [
            Footprint(
                name=field.name,
                files=frozenset(files),
                prints=frozenset(block_prints(planes, 0, t=t, z=planes.shape[2] // 2)),
            )
            for t, field in enumerate(found)
        ]
    return FieldData(
        fields=fields,
        stains=stains,
        card=card_of(
            opened,
            name=name,
            label=pairs[0].channel,
            sources=[pair.path for pair in pairs],
            settings=settings,
        ),
        sets=None if file.split is None else tuple(sets),
        footprints=tuple(prints),
        record=_record(path, file, moved),
        light=light.fingerprints,
        notes=(
            *_notes(file, pairs, stains, moved),
            *light.notes,
            *denoised_truths(
                {
                    stain: [
                        (known.path, known.channel)
                        for pair in pairs
                        if (known := pair.stains.get(stain)) is not None
                    ]
                    for stain in stains
                }
            ),
        ),
    )


def _refuse_other_words(settings: PairSettings, file: PairsFile) -> None:
    """Refuse settings that contradict the file."""
    fields = type(settings).model_fields
    twice = [name for name in _IN_FILE if getattr(settings, name) != fields[name].default]
    if twice:
        raise SettingsError(
            f"The pairs file says which images there are. Leave --{twice[0].replace('_', '-')} "
            "out, or use it without --pairs."
        )
    if file.split is None:
        return
    stated = [
        name
        for name in ("validation", "split_by")
        if name in fields and getattr(settings, name) != fields[name].default
    ]
    if stated:
        raise SettingsError(
            "The pairs file says which fields examine. Leave "
            f"--{stated[0].replace('_', '-')} out, or write the file without --split."
        )


def _stains(settings: PairSettings, file: PairsFile) -> tuple[str, ...]:
    """Return the stains to learn, as the file spells them."""
    spelled = {stain.casefold(): stain for stain in file.stains}
    for stain in settings.stains:
        if stain.casefold() not in spelled:
            raise ChannelError(
                f"The pairs file has no stain {stain!r}.{did_you_mean(stain, file.stains)} "
                f"It has: {', '.join(file.stains)}. Choose some of these with --stains."
            )
    return tuple(spelled[s.casefold()] for s in settings.stains) or file.stains


def _open(
    pair: FilePair,
    file: PairsFile,
    settings: PairSettings,
    stains: Sequence[str],
    images: Images,
) -> tuple[LazyImage, LazyImage]:
    """Return the bright field (T, 1, P, Y, X) and the stains (T, C, 1, Y, X) of a pair."""
    how, target_how = opening_of(file)
    planes = open_planes(
        pair.path, pair.scene, pair.channel,
        z=settings.z if settings.z is not None else file.z,
        pixel_size_um=settings.pixel_size or file.pixel_size_um, how=how, images=images,
    )  # fmt: skip
    places = {
        stain: StainPlace(known.path, known.scene, known.channel, known.z)
        if (known := pair.stains.get(stain)) is not None
        else None
        for stain in stains
    }
    joined = join_stains(places, planes, target_how, images)
    return planes, joined if pair.exclude is None else leave_out(joined, pair.exclude)


def _record(
    path: Path, file: PairsFile, moved: Mapping[str, Mapping[str, tuple[float, float]]]
) -> dict[str, Any]:
    """Return what the card says: sets, and by how many pixels (dy, dx) which stain was moved."""
    counts = {
        name: sum(pair.set == name for pair in file.pairs)
        for name in ("train", "validation", "test")
    }
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "split": None if file.split is None else {**file.split.model_dump(), "pairs": counts},
        "moved_px": {
            field: {stain: list(by) for stain, by in stains.items()}
            for field, stains in moved.items()
        },
    }


def _notes(
    file: PairsFile,
    pairs: Sequence[FilePair],
    stains: Sequence[str],
    moved: Mapping[str, Mapping[str, tuple[float, float]]],
) -> tuple[str, ...]:
    """Return what should be known of shifts and of what is missing."""
    notes = []
    lengths = [hypot(*by) for some in moved.values() for by in some.values()]
    if lengths:
        notes.append(
            f"{len(lengths)} stains of {len(moved)} fields were moved by {min(lengths):.1f} to "
            f"{max(lengths):.1f} px, as the pairs file says; the model's card lists them."
        )
    shifted = sum(
        shift.verdict == "shifted" and shift.stain in stains
        for pair in pairs
        for shift in pair.registration
    )
    if shifted and not file.correct:
        notes.append(
            f"{shifted} stains are surely shifted and teach as they are; write the pairs file "
            "with --correct to move them."
        )
    for stain in stains:
        lacking = sum(stain not in pair.stains for pair in pairs)
        if lacking == len(pairs):
            raise SettingsError(
                f"No training field has the stain {stain}. Leave it out of --stains."
            )
        if lacking:
            notes.append(f"{stain} is missing in {lacking} of {len(pairs)} pairs.")
    return tuple(notes)
