"""May a field be trusted? What `virtualstain qc` and a person said, for what is made of it.

A table of cells, or a picture, outlives the report beside it: the verdict belongs into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import ImageFileError, MissingInputError, parse_json, refuse_newer

__all__ = ["TRUST_COLUMNS", "Trust", "read_trust"]

TRUST_COLUMNS = ("Metadata_QC", "Metadata_QC_Reason", "Metadata_QC_Verdict", "Metadata_Amounts")
"""State of the field, its worst reason, what a person decided, and of which stains intensity may be
read as amount."""
_REPORT = "qc.json"
_SCHEMA = 1
_RANK = {"green": 1, "amber": 2, "red": 3}

_About = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What is known of the fields of a report.

    Parameters
    ----------
    rows
        State, reason and verdict, by path, scene and time point.
    amounts
        Names of the stains whose intensity may be read as amount, ``none`` for none, with commas;
        in fields that are not red.
    """

    rows: Mapping[tuple[str, str, int], _About]
    amounts: str

    def of(self, key: tuple[str, str], t: int) -> tuple[str, ...]:
        """Return `TRUST_COLUMNS` of a time point, empty where nobody judged it."""
        about = self.rows.get((*key, t), ("", "", ""))
        return (*about, self._amounts_if(about[0]))

    def words(self, key: tuple[str, str], times: Iterable[int]) -> str:
        """Return the same of an image as a phrase, of its worst time point."""
        known = [self.rows[*key, t] for t in times if self.knows(key, t)]
        state, reason, verdict = max(known, key=lambda one: _RANK.get(one[0], 0))
        why = f" ({reason})" if reason else ""
        decided = f"; a person said: {verdict}" if verdict else ""
        amounts = self._amounts_if(state)
        return f"QC {state}{why}{decided}; intensity is an amount of: {amounts}"

    def _amounts_if(self, state: str) -> str:
        """Return of what intensity is an amount: of nothing in a field that is red.

        What held-out pairs say holds for fields like them, which a red one is not.
        """
        return "none" if state == "red" else self.amounts

    def knows(self, key: tuple[str, str], t: int) -> bool:
        """Return whether it was judged."""
        return (*key, t) in self.rows


def read_trust(report: str | Path) -> Trust:
    """Read the report of `virtualstain qc`.

    Parameters
    ----------
    report
        Its folder, or ``qc.json`` in it.

    Raises
    ------
    MissingInputError
        If there is none.
    ImageFileError
        If the file is something else.
    """
    path = Path(report)
    file = path / _REPORT if path.is_dir() else path
    try:
        content = file.read_bytes()
        refuse_newer(content, _SCHEMA, f"'{file}'", ImageFileError)
        values: Any = parse_json(content)["result"]
        rows = {
            (str(one["path"]), str(one["scene"]), int(one["time"])):
                (str(one["state"]), str(one["reason"]), str(one.get("verdict", "")))
            for one in values["fields"]
        }  # fmt: skip
        amounts = [stain for stain, one in values["amounts"].items() if one["amount"] == "amount"]
    except FileNotFoundError as error:
        raise MissingInputError(
            f"There is no report at '{file}'. Make one with `virtualstain qc --out`."
        ) from error
    except ImageFileError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageFileError(
            f"'{file}' is no report of `virtualstain qc`. Name its folder with --qc."
        ) from error
    return Trust(rows=rows, amounts=",".join(amounts) or "none")
