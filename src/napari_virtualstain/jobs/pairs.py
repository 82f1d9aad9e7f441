"""Match bright field with its stains, see how they lie on each other, and split them honestly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from napari_virtualstain.datasets.pairing import Match, Unmatched, find_pairs
from napari_virtualstain.datasets.pairing_file import (
    FileUnmatched,
    PairsFile,
    check_pairs_output,
    save_pairs,
)
from napari_virtualstain.datasets.pairing_half import stains_of
from napari_virtualstain.datasets.split import SetName
from napari_virtualstain.datasets.stain_names import parse_matches
from napari_virtualstain.errors import SettingsError, VirtualStainError
from napari_virtualstain.jobs.base import JobSettings, PathText, Plane, Progress, versions
from napari_virtualstain.jobs.pair_check import CheckedPair, check_pair
from napari_virtualstain.jobs.pair_images import Images, Opening, light_channel, list_halves
from napari_virtualstain.jobs.pair_notes import notes_of, table_of
from napari_virtualstain.jobs.pair_sets import leaks_of, sets_of
from napari_virtualstain.jobs.pair_table import is_pairs_table, read_pairs

__all__ = ["PairsResult", "PairsSettings", "opening_of", "run"]


class PairsSettings(JobSettings):
    """Settings of `virtualstain pairs`."""

    input: PathText = Field(
        description="file, folder or plate with the bright field, or a table (.csv) with the "
        "columns input and target"
    )
    target: PathText | None = Field(
        default=None, description="file, folder or plate with the stains; the input if not given"
    )
    out: PathText | None = Field(default=None, description="pairs file to write, e.g. pairs.json")
    stains: tuple[str, ...] = Field(
        default=(), description="stains that are wanted; all fluorescence channels if not given"
    )
    match: tuple[str, ...] = Field(
        default=(), description="STAIN=CHANNEL where names differ, e.g. DNA=Hoechst"
    )
    channel: str | None = Field(default=None, description="name of the bright-field channel")
    z: tuple[Plane, ...] | None = Field(
        default=None, description="z planes of the bright field, from 0; all if not given"
    )
    target_z: Plane | None = Field(
        default=None, description="z plane of the stains, if they have several"
    )
    axes: str | None = Field(default=None, description="axes of the inputs, if they do not say")
    target_axes: str | None = Field(
        default=None, description="axes of the targets, if they do not say"
    )
    pattern: str | None = Field(
        default=None,
        description="how the files of a folder are named, for example "
        "{well}_{site}_z{z}_{channel}.tif",
    )
    target_pattern: str | None = Field(
        default=None, description="how the files of the targets are named, if otherwise"
    )
    pixel_size: float | None = Field(
        default=None, gt=0, description="pixel size in µm, if the files do not say"
    )
    registration: Literal["each", "best", "none"] = Field(
        default="each",
        description="measure how each stain lies on the bright field; best: what the surest stain "
        "of a field tells counts for all of them; none: do not look",
    )
    tolerance: float = Field(default=1.5, gt=0, description="shifts in pixels that count as none")
    correct: bool = Field(
        default=False, description="record that stains which are surely shifted are to be moved"
    )
    split: Literal["none", "field", "well", "plate"] = Field(
        default="none", description="share the pairs out to sets; what stays together"
    )
    validation: float = Field(
        default=0.1, ge=0, lt=1, description="share of the fields, wells or plates to validate on"
    )
    test: float = Field(
        default=0.0, ge=0, lt=1, description="share that no training may touch, to judge on"
    )
    seed: int = Field(default=0, ge=0, description="decides which are in which set")
    overwrite: bool = Field(default=False, description="replace the pairs file if it exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsResult:
    """What there is.

    Parameters
    ----------
    file
        Pairs, sets, registration, and what was left over; paths as they were found.
    out
        Where it was written, `None` if nowhere.
    """

    file: PairsFile
    out: Path | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {"out": None if self.out is None else str(self.out), **self.file.model_dump()}

    def text(self) -> str:
        """Return the pairs as a table."""
        return table_of(self.file, self.out)


def run(settings: PairsSettings, *, on_progress: Progress | None = None) -> PairsResult:
    """Find pairs, check how they lie, split them, and write the pairs file.

    Parameters
    ----------
    settings
        Where the images are, and what to do.
    on_progress
        Told of pairs checked.

    Raises
    ------
    VirtualStainError
        If nothing can be paired, or fields of two sets share pixels.
    """
    if settings.out is not None:
        check_pairs_output(Path(settings.out), overwrite=settings.overwrite)
    if settings.correct and settings.registration == "none":
        raise SettingsError(
            "--correct needs to know how the stains lie. Use it without --registration none."
        )
    images = Images()
    pairs, lost, stains, told_sets = _found(settings, images)
    if not pairs:
        raise SettingsError(_nothing(lost))
    if told_sets and settings.split != "none":
        raise SettingsError(
            "The table says in its column 'set' who examines. Use it, or --split, not both."
        )
    checked: list[CheckedPair] = []
    if on_progress is not None:
        on_progress(0, len(pairs), "pairs checked")
    for number, match in enumerate(pairs):
        try:
            checked.append(_checked(match, settings, stains, images))
        except VirtualStainError as error:
            lost.append(Unmatched(match.input.path, match.input.scene, str(error)))
        if on_progress is not None:
            on_progress(number + 1, len(pairs), "pairs checked")
    if not checked:
        raise SettingsError(_nothing(lost))
    sets, split = sets_of(
        checked,
        told=told_sets,
        by=None if settings.split == "none" else settings.split,
        validation=settings.validation,
        test=settings.test,
        seed=settings.seed,
    )
    leaks = leaks_of(checked, sets)
    file = PairsFile(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
        stains=stains,
        z=settings.z,
        axes=settings.axes,
        target_axes=settings.target_axes,
        pattern=settings.pattern,
        target_pattern=settings.target_pattern,
        pixel_size_um=settings.pixel_size,
        tolerance_px=settings.tolerance,
        correct=settings.correct,
        split=split,
        pairs=tuple(
            one.pair.model_copy(update={"set": part})
            for one, part in zip(checked, sets, strict=True)
        ),
        unmatched=tuple(FileUnmatched(path=u.path, scene=u.scene, reason=u.reason) for u in lost),
    )
    file = file.model_copy(update={"notes": (*notes_of(file), *leaks)})
    out = None if settings.out is None else Path(settings.out)
    if out is not None:
        save_pairs(out, file, overwrite=settings.overwrite)
    return PairsResult(file=file, out=out)


def opening_of(settings: PairsSettings | PairsFile) -> tuple[Opening, Opening]:
    """Return how inputs and targets are opened."""
    how = Opening(settings.axes, settings.pattern)
    return how, Opening(
        settings.target_axes or settings.axes, settings.target_pattern or settings.pattern
    )


def _found(
    settings: PairsSettings, images: Images
) -> tuple[Sequence[Match], list[Unmatched], tuple[str, ...], dict[str, SetName]]:
    """Return the pairs, what is in none, the stains, and the sets that a table tells."""
    told = parse_matches(settings.match)
    how, target_how = opening_of(settings)
    if is_pairs_table(Path(settings.input)):
        if settings.target is not None:
            raise SettingsError("A table of pairs names its targets. Leave --target out.")
        table = read_pairs(
            Path(settings.input), stains=settings.stains, told=told, light=settings.channel,
            images=images, how=how, target_how=target_how,
        )  # fmt: skip
        return table.pairs, list(table.unmatched), table.stains, dict(table.sets)
    inputs, lost = list_halves(settings.input, how, images)
    targets = None
    if settings.target is not None:
        targets, more = list_halves(settings.target, target_how, images)
        lost = (*lost, *more)
    stains = settings.stains or stains_of(inputs if targets is None else targets)
    if not stains:
        raise SettingsError(
            "No channel is known to be fluorescence. Name the stains with --stains and their "
            "channels with --match, for example --stains DNA --match DNA=c2."
        )
    found = find_pairs(
        inputs,
        targets,
        stains=stains,
        light=lambda half: light_channel(half, told=settings.channel, alone=targets is not None),
        told=told,
    )
    return found.pairs, [*lost, *found.unmatched], tuple(stains), {}


def _checked(
    match: Match, settings: PairsSettings, stains: Sequence[str], images: Images
) -> CheckedPair:
    how, target_how = opening_of(settings)
    return check_pair(
        match,
        stains,
        images=images,
        how=how,
        target_how=target_how,
        z=settings.z,
        target_z=settings.target_z,
        pixel_size_um=settings.pixel_size,
        registration=settings.registration,
        tolerance_px=settings.tolerance,
    )


def _nothing(lost: Sequence[Unmatched]) -> str:
    """Say why there is no pair, by the reason of the first image that is in none."""
    reason = lost[0].reason.rstrip(".") if lost else "there is no image"
    where = f"'{lost[0].path}' {lost[0].scene}".rstrip() if lost else ""
    more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
    return (
        f"No bright field has its stains: {where}: {reason}{more}. Name the stains with --stains "
        "and --match, or write the pairs into a table with the columns input and target."
    )
