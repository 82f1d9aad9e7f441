"""What people are told of pairs: a table, and sentences about what is not as it should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import hypot
from pathlib import Path

from napari_virtualstain.datasets.pairing_file import FilePair, FileShift, PairsFile

__all__ = ["moved_words", "notes_of", "table_of"]

_SHOWN = 40
"""Rows of a table; `--json` and the file have all of them."""
_LEFT = 10
_NAMED = 3


def notes_of(file: PairsFile) -> tuple[str, ...]:
    """Return a sentence each for what was guessed, is missing, or is shifted."""
    notes = []
    ways: Counter[tuple[str, str, str]] = Counter(
        (name, stain.channel, stain.by)
        for pair in file.pairs
        for name, stain in pair.stains.items()
        if stain.by in ("synonym", "file name")
    )
    for (name, channel, by), count in ways.items():
        how = f"the channel {channel!r}" if by == "synonym" else "files of that name"
        notes.append(
            f"{name} was taken from {how} in {count} of {len(file.pairs)} pairs; "
            "choose another with --match."
        )
    for stain in file.stains:
        lacking = [pair.name for pair in file.pairs if stain not in pair.stains]
        if lacking:
            notes.append(
                f"{stain} is missing in {len(lacking)} of {len(file.pairs)} pairs "
                f"({_listed(lacking)}), and counts for nothing there."
            )
    shifted = [(pair, s) for pair in file.pairs for s in pair.registration if _is(s, "shifted")]
    if shifted:
        what = (
            "moved when the pairs are used, as --correct says"
            if file.correct
            else "used as they are unless --correct is given"
        )
        names = [f"{s.stain} of {_at(pair, s)} by {moved_words(s)}" for pair, s in shifted]
        number = _count(len(shifted), "stain")
        notes.append(f"Surely shifted: {number} ({_listed(names)}); {what}.")
    unclear = [(pair, s) for pair in file.pairs for s in pair.registration if _is(s, "ambiguous")]
    if unclear:
        names = [f"{s.stain} of {_at(pair, s)}" for pair, s in unclear]
        notes.append(
            f"How it lies cannot be told of {_count(len(unclear), 'stain')} ({_listed(names)}); "
            "look before you trust them. They are never moved."
        )
    unset = [pair.name for pair in file.pairs if pair.set is None]
    if file.split is not None and unset:
        notes.append(f"In no set: {_count(len(unset), 'pair')} ({_listed(unset)}), not used.")
    return tuple(notes)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def moved_words(shift: FileShift) -> str:
    """Return a shift as people say it: ``2.3 px (1.4 µm; dy +1.2, dx -2.0)``."""
    length = "" if shift.distance_um is None else f"{shift.distance_um:.2g} µm; "
    distance = hypot(shift.dy_px, shift.dx_px)
    return f"{distance:.1f} px ({length}dy {shift.dy_px:+.1f}, dx {shift.dx_px:+.1f})"


def _is(shift: FileShift, verdict: str) -> bool:
    return shift.verdict == verdict


def _at(pair: FilePair, shift: FileShift) -> str:
    several = any(one.t for one in pair.registration)
    return f"{pair.name} t{shift.t}" if several else pair.name


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def table_of(file: PairsFile, out: Path | None) -> str:
    """Return pairs, what is in no pair, and where it was written, as lines of text."""
    width = max(4, *(len(pair.name) for pair in file.pairs[:_SHOWN]))
    stained = max(6, *(len(stain) for stain in file.stains))
    head = f"{'pair':<{width}}  {'set':<10}  {'stain':<{stained}}"
    lines = [f"{head}     dy     dx       µm   ±px  sure  verdict"]
    for pair in file.pairs[:_SHOWN]:
        lines += _rows(file, pair, width, stained)
    if len(file.pairs) > _SHOWN:
        lines.append(f"... and {len(file.pairs) - _SHOWN} more pairs; see --json or the file")
    counts = Counter(pair.set for pair in file.pairs)
    sets = ", ".join(f"{counts[name]} {name}" for name in ("train", "validation", "test"))
    lines.append(_count(len(file.pairs), "pair") + (f": {sets}" if file.split is not None else ""))
    if file.unmatched:
        lines.append(f"in no pair: {len(file.unmatched)}")
        lines += [
            f"  {one.path} {one.scene}".rstrip() + f": {one.reason}"
            for one in file.unmatched[:_LEFT]
        ]
        if len(file.unmatched) > _LEFT:
            lines.append(f"  ... and {len(file.unmatched) - _LEFT} more; see --json or the file")
    if out is not None:
        lines.append(f"wrote {out}")
    return "\n".join(lines)


def _rows(file: PairsFile, pair: FilePair, width: int, stained: int) -> list[str]:
    """Return one row a stain: the time point that is shifted most."""
    rows = []
    for number, stain in enumerate(file.stains):
        first = f"{pair.name if number == 0 else '':<{width}}  "
        first += f"{(pair.set or '-') if number == 0 else '':<10}  {stain:<{stained}}"
        measured = [shift for shift in pair.registration if shift.stain == stain]
        if stain not in pair.stains:
            rows.append(f"{first}  missing")
        elif not measured:
            rows.append(f"{first}  not looked at")
        else:
            order = ("aligned", "ambiguous", "shifted")
            worst = max(measured, key=lambda s: (order.index(s.verdict), hypot(s.dy_px, s.dx_px)))
            length = "-" if worst.distance_um is None else f"{worst.distance_um:.3f}"
            error = "-" if worst.uncertainty_px is None else f"{worst.uncertainty_px:.2f}"
            of = worst.measured_on
            told = f" (as {of})" if of not in ("", stain) else ""
            when = f" (worst of {len(measured)} time points)" if len(measured) > 1 else ""
            rows.append(
                f"{first}  {worst.dy_px:+6.2f} {worst.dx_px:+6.2f} {length:>8} {error:>5} "
                f"{worst.confidence:5.2f}  {worst.verdict}{told}{when}"
            )
    return rows
