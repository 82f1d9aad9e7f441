"""How alike two reports are: every cell of their tables, and every value of their records."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from napari_virtualstain.errors import ReplayError, parse_json
from napari_virtualstain.jobs.replay_compare import Likeness

__all__ = ["compare_reports"]

_OF_THE_RUN = frozenset({"settings", "versions", "seconds", "out", "outlines", "maps", "review"})
"""What a record says of the run itself, which its repetition says otherwise."""


def compare_reports(original: Path, again: Path, record: str) -> Likeness:
    """Compare two folders that the same verb wrote.

    Parameters
    ----------
    original, again
        The folders. What else lies in the first is not looked at.
    record
        Name of the file that holds the record, in both.

    Raises
    ------
    ReplayError
        If the first lacks a table that the second has, or the tables have other rows.
    """
    names = sorted(path.name for path in again.glob("*.csv"))
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in (record, *names):
        first, second = (_cells(folder / name) for folder in (original, again))
        if list(first) != list(second):
            raise ReplayError(
                f"'{original / name}' and its repetition '{again / name}' have other rows or "
                "columns. Compare both before you trust either."
            )
        for key, (group, value) in first.items():
            groups[f"{name}: {group}"].append((value, second[key][1]))
    equal, compared = True, 0
    largest, relative, worst = 0.0, 0.0, next(iter(groups), "")
    for group, pairs in groups.items():
        compared += len(pairs)
        equal = equal and all(_same_text(*pair) for pair in pairs)
        difference, share = _apart(pairs)
        if share > relative:
            largest, relative, worst = difference, share, group
    return Likeness(
        equal=equal and compared > 0, compared=compared, largest=largest, relative=relative,
        worst=worst, what="values",
    )  # fmt: skip


def _apart(pairs: list[tuple[str, str]]) -> tuple[float, float]:
    """Return the largest difference of a column, and that over the range of its numbers."""
    numbers = [(_number(first), _number(second)) for first, second in pairs]
    known = [abs(a) for a, _ in numbers if a is not None]
    scale = max(known, default=0.0)
    largest, share = 0.0, 0.0
    for (first, second), (a, b) in zip(pairs, numbers, strict=True):
        if _same_text(first, second):
            continue
        if a is None or b is None:
            return 1.0, 1.0  # another word is another thing
        largest = max(largest, abs(a - b))
        share = max(share, abs(a - b) / scale if scale else 1.0)
    return largest, share


def _cells(file: Path) -> dict[str, tuple[str, str]]:
    """Return the values of a file by where they stand, each with the name of its column."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            return {place: (group, value) for place, group, value in _leaves(parse_json(text))}
        rows = list(csv.reader(text.splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise ReplayError(
            f"'{file}' cannot be read: {error}. Run the command that wrote it again."
        ) from error
    header = rows[0] if rows else []
    return {
        f"{number}/{column}/{name}": (name, value)
        for number, row in enumerate(rows[1:])
        for column, (name, value) in enumerate(zip(header, row, strict=False))
    }


def _leaves(value: Any, place: str = "", group: str = "") -> Iterator[tuple[str, str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in _OF_THE_RUN:
                yield from _leaves(inner, f"{place}/{name}", f"{group}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{place}/{number}", group)
    else:
        yield place, group, value if isinstance(value, str) else json.dumps(value)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _same_text(first: str, second: str) -> bool:
    """Whether two cells say the same; a path may have been typed from another folder."""
    if first == second:
        return True
    if "/" not in second and "\\" not in second:
        return False
    typed, whole = (
        [part for part in PurePath(text).parts if part not in ("..", ".")]
        for text in (first, second)
    )
    return bool(typed) and whole[-len(typed) :] == typed
