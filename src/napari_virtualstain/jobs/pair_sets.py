"""Which pair is in which set, and whether what is learnt would leak into what examines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from napari_virtualstain.datasets.leakage import find_leaks
from napari_virtualstain.datasets.pairing_file import FilePair, FileSplit
from napari_virtualstain.datasets.split import SetName, SplitBy, split_in_sets
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.jobs.pair_check import CheckedPair

__all__ = ["groups_of", "leaks_of", "sets_of"]


def sets_of(
    checked: Sequence[CheckedPair],
    *,
    told: Mapping[str, SetName],
    by: SplitBy | None,
    validation: float,
    test: float,
    seed: int,
) -> tuple[tuple[SetName | None, ...], FileSplit | None]:
    """Return the set of each pair, and how it came about.

    Parameters
    ----------
    checked
        All pairs.
    told
        Sets by name of the pair, as a table says; then nothing is drawn.
    by
        What stays together; `None` for no sets at all.
    validation, test, seed
        See `split_in_sets`.

    Raises
    ------
    SettingsError
        If nothing tells the wells or plates, or there are too few.
    """
    if told:
        return tuple(told.get(one.pair.name) for one in checked), FileSplit(by="table")
    if by is None:
        return (None,) * len(checked), None
    groups = groups_of([one.pair for one in checked], by)
    sets = split_in_sets(groups, validation=validation, test=test, seed=seed)
    return sets, FileSplit(
        by=by,
        validation=validation,
        test=test,
        seed=seed,
    )


def groups_of(pairs: Sequence[FilePair], by: str) -> list[str]:
    """Return what must stay together of each pair.

    Raises
    ------
    SettingsError
        If a pair lies in no well or on no plate that is known.
    """
    groups = []
    for pair in pairs:
        group = {"field": pair.field, "plate": pair.plate}.get(by)
        if by == "well":
            group = f"{pair.plate}/{pair.well}" if pair.well else ""
        if not group:
            raise SettingsError(
                f"Of pair {pair.name!r} no {by} is known, so that the pairs cannot be split by it. "
                f"Use --split field, or write a table with the columns input, target and {by}."
            )
        groups.append(group)
    return groups


def leaks_of(checked: Sequence[CheckedPair], sets: Sequence[SetName | None]) -> tuple[str, ...]:
    """Return what makes the sets doubtful; refuse what makes them worthless."""
    used = [n for n, part in enumerate(sets) if part is not None]
    leaks = find_leaks(
        [replace(checked[n].footprint, name=checked[n].pair.name) for n in used],
        [sets[n] or "" for n in used],
    )
    certain = [leak.sentence for leak in leaks if leak.certain]
    if certain:
        more = f" There are {len(certain) - 1} more." if len(certain) > 1 else ""
        raise SettingsError(f"What is learnt would leak into what examines: {certain[0]}{more}")
    return tuple(leak.sentence for leak in leaks)
