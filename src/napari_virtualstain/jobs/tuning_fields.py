"""Which images tune a model, which stains of it they have, and which of them judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtualstain.datasets.leakage import find_leaks
from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.datasets.split import split_by_group
from napari_virtualstain.datasets.stain_names import find_stain
from napari_virtualstain.errors import ChannelError, SettingsError
from napari_virtualstain.jobs.matched_channels import open_truth
from napari_virtualstain.jobs.training_fields import FieldData, open_pairs
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    from napari_virtualstain.generators.base import Generator
    from napari_virtualstain.generators.card import ModelCard
    from napari_virtualstain.jobs.finetune import FinetuneSettings

__all__ = ["check_planes", "fitting_patch", "open_tuning", "tuning_parts"]

_FEW = 5
"""Fields below which what is said of a gain hangs on which ones were held back."""
_GUARD = 64
"""Pixels between the parts of a field that teach and that judge."""
_PATCHES = (128, 96, 64, 48, 32, 16)
_CHOOSING = 3
"""Held-back groups from which one can choose the weights, and the others judge."""


def open_tuning(settings: FinetuneSettings, card: ModelCard) -> tuple[FieldData, list[str]]:
    """Open the pairs, with the model's stains under its names; those that are missing are NaN."""
    if settings.pairs is not None:
        from napari_virtualstain.jobs.training_pairs import open_pairs_file

        data = open_pairs_file(settings, name=Path(settings.out).name)
        found = dict(zip(data.stains, data.stains, strict=True))
    else:
        channels = _channels(settings, card)
        named = settings.model_copy(update={"stains": tuple(channels.values())})
        data = open_pairs(named, name=Path(settings.out).name, volume=card.volume is not None)
        found = {channel: stain for stain, channel in channels.items()}
    own = {found.get(name, name).casefold(): n for n, name in enumerate(data.stains)}
    places = [own.get(name.casefold()) for name in card.stain_names]
    if all(place is None for place in places):
        raise ChannelError(
            f"None of the stains ({', '.join(data.stains)}) is one of the model "
            f"({', '.join(card.stain_names)}). Choose another model, or train one with "
            "`virtualstain train`."
        )
    missing = [n for n, p in zip(card.stain_names, places, strict=True) if p is None]
    notes = list(data.notes)
    if missing:
        notes.append(f"not in these images, and left as the model had it: {', '.join(missing)}")
    fields = [replace(one, stains=_in_order(one.stains, places)) for one in data.fields]
    return replace(data, fields=fields, stains=card.stain_names), notes


def _channels(settings: FinetuneSettings, card: ModelCard) -> dict[str, str]:
    """Return the channel of each stain of the model that the targets have."""
    targets = settings.target or settings.input
    if not targets:
        raise SettingsError(
            "Nothing to tune on. Name images with --input and --target, or a file of --pairs."
        )
    names = settings.stains
    if not names:
        axes = settings.target_axes or settings.axes
        truth = open_truth(targets[0], card.stain_names, scene=settings.target_scene, axes=axes)
        names = truth.channel_names
    found = {stain: find_stain(stain, names) for stain in card.stain_names}
    there = {stain: one.channel for stain, one in found.items() if one is not None}
    strange = [name for name in settings.stains if name not in there.values()]
    if strange:
        raise ChannelError(
            f"The model has no stain {', '.join(strange)}, but {', '.join(card.stain_names)}. "
            "Leave it out of --stains, or train a model that has it with `virtualstain train`."
        )
    if not there:
        raise ChannelError(
            f"No channel of the target ({', '.join(names)}) is a stain of the model "
            f"({', '.join(card.stain_names)}). Name the channels with --stains."
        )
    return there


def _in_order(stains: Any, places: Sequence[int | None]) -> Any:
    """Return (C, *S) with the model's stains in its order."""
    if isinstance(stains, np.ndarray):
        gone = np.full(stains.shape[1:], np.nan, np.float32)
        return np.stack([gone if p is None else stains[p].astype(np.float32) for p in places])
    import dask.array as da

    gone = da.full(stains.shape[1:], np.nan, dtype=np.float32)
    return da.stack([gone if p is None else stains[p].astype(np.float32) for p in places])


def check_planes(data: FieldData, card: ModelCard) -> None:
    """Refuse images of other planes than the model takes."""
    planes = data.fields[0].planes.shape[0]
    wanted = 1 if card.volume is not None else len(card.inputs)
    if planes != wanted:
        raise ChannelError(
            f"The model takes {card.takes_words}, and the images have {planes} planes. Choose as "
            "many with --z, in the model's order."
        )


def tuning_parts(
    data: FieldData, settings: FinetuneSettings
) -> tuple[FieldData, tuple[list[int], list[int], list[int]], list[str]]:
    """Return the fields that teach, that choose the weights, and that judge; refuse leaks."""
    notes = []
    if data.sets is not None:
        teach = [n for n, name in enumerate(data.sets) if name == "train"]
        held = [n for n, name in enumerate(data.sets) if name == "validation"]
        groups = [field.group or field.name for field in data.fields]
    else:
        groups = [field.group or field.name for field in data.fields]
        if len(set(groups)) == 1:
            data = _halves(data, settings)
            groups = [field.name for field in data.fields]
            share = len(data.fields) // 2
            teach, held = list(range(share)), list(range(share, len(data.fields)))
            notes.append(
                "judged on a part of the same field, which is weaker than another field: give two "
                "fields or more"
            )
        else:
            one, other = split_by_group(groups, validation=settings.hold_back, seed=settings.seed)
            teach, held = list(one), list(other)
            sets = ["train" if n in set(teach) else "validation" for n in range(len(groups))]
            leaks = [leak for leak in find_leaks(data.footprints, sets) if leak.certain]
            if leaks:
                raise SettingsError(
                    f"What is learnt would leak into what judges: {leaks[0].sentence}"
                )
    of = {groups[n] for n in (*teach, *held)}
    if notes == [] and held and len(of) < _FEW:
        kept = len({groups[n] for n in held})
        notes.append(
            f"each of {len(of)} fields judges once: one tuning is kept, and the others only judge "
            "it"
            if settings.judge_each
            else f"judged on {plural(kept, 'held-back field')}: what is said of the gain "
            "depends on which. Give five fields or more, or use --judge-each"
        )
    if not teach or not held:
        raise SettingsError(
            "There are no fields to teach, or none to judge. Give more, or another --hold-back."
        )
    first = groups[held[0]]
    if len({groups[n] for n in held}) < _CHOOSING:
        return data, (teach, [], held), notes
    choose = [n for n in held if groups[n] == first]
    return data, (teach, choose, [n for n in held if groups[n] != first]), notes


def _halves(data: FieldData, settings: FinetuneSettings) -> FieldData:
    """Return the left part of each frame of one field, then the right part, with a gap between."""
    left: list[PairedField] = []
    right: list[PairedField] = []
    for field in data.fields:
        width = field.shape[-1]
        cut = round(width * (1 - settings.hold_back))
        guard = min(_GUARD, width // 8)
        for name, columns, into in (
            ("left", slice(0, cut), left), ("right", slice(cut + guard, width), right),
        ):  # fmt: skip
            if columns.stop - columns.start < _PATCHES[-1]:
                raise SettingsError(
                    f"The only field is {width} px wide, too narrow to teach with one part and "
                    "judge on another. Give two fields or more."
                )
            into.append(
                replace(
                    field, name=f"{field.name} ({name})", group=f"{field.name} ({name})",
                    planes=field.planes[..., columns], stains=field.stains[..., columns],
                )
            )  # fmt: skip
    return replace(data, fields=[*left, *right], footprints=(), images=())


def fitting_patch(fields: Sequence[PairedField], generator: Generator) -> int:
    """Return the edge of the largest patch that fields and network allow."""
    least = min(min(field.shape[-2:]) for field in fields)
    stride = generator.multiple_of
    fitting = [edge for edge in _PATCHES if edge <= least and edge % stride == 0]
    if not fitting:
        raise SettingsError(
            f"The smallest field is {least} px wide, less than a patch that the network can halve "
            f"(multiples of {stride} px). Give larger fields."
        )
    return fitting[0]
