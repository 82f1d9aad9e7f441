"""Look at this machine: what is there, what is missing, and whether a stain works."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from napari_virtualstain.errors import sentence_of
from napari_virtualstain.jobs.base import JobSettings, Progress

__all__ = ["Check", "DoctorReport", "DoctorSettings", "Examine", "run"]

Status = Literal["ok", "warning", "problem"]


class DoctorSettings(JobSettings):
    """Settings of `virtualstain doctor`."""

    selftest: bool = Field(default=True, description="stain a small field, which takes seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    name
        What was looked at.
    status
        ``"ok"``, ``"warning"`` (it works, but less well or not everything), or ``"problem"``.
    found
        What is there.
    advice
        What to do, ``""`` for nothing.
    """

    name: str
    status: Status
    found: str
    advice: str = ""


Examine = Callable[[], Check | Iterable[Check]]
"""Looks at something; what it raises becomes a problem, and the others go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """All checks, in order; nothing in them names the user or the home folder."""

    checks: tuple[Check, ...]

    @property
    def problems(self) -> tuple[Check, ...]:
        """What does not work."""
        return tuple(check for check in self.checks if check.status == "problem")

    @property
    def problem(self) -> str | None:
        """Which problems were found, as a sentence; `None` if there are none."""
        names = [check.name for check in self.problems]
        if not names:
            return None
        return f"Not everything works: {', '.join(names)}. Do what the report advises."

    def with_checks(self, checks: Iterable[Check]) -> DoctorReport:
        """Return the report with more checks, for example those of a viewer."""
        return DoctorReport(checks=(*self.checks, *(_without_names(c) for c in checks)))

    def text(self) -> str:
        """Return the report as plain text to copy."""
        width = max(len(check.name) for check in self.checks)
        lines = []
        for check in self.checks:
            first, *more = check.found.splitlines() or [""]
            lines.append(f"[{check.status}]".ljust(10) + f"{check.name.ljust(width)}  {first}")
            indent = " " * (12 + width)
            lines += [indent + line for line in more]
            lines += [f"{indent}-> {check.advice}"] * bool(check.advice)
        warnings = sum(check.status == "warning" for check in self.checks)
        count = f"{len(self.problems)} problem(s), {warnings} warning(s)"
        return "\n".join([*lines, count])

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        checks = [asdict(check) for check in self.checks]
        return {"checks": checks, "problem": self.problem, "text": self.text()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DoctorReport:
        """Return the report that `to_json` was called on, in another process."""
        return cls(checks=tuple(Check(**check) for check in values["checks"]))


def run(
    settings: DoctorSettings | None = None,
    *,
    extra: Sequence[tuple[str, Examine]] = (),
    on_progress: Progress | None = None,
) -> DoctorReport:
    """Look at everything; what cannot be looked at is a problem of its own.

    Parameters
    ----------
    settings
        What to leave out.
    extra
        More checks by name, for example of the viewer.
    on_progress
        Told of checks made. What it raises ends the run.
    """
    from napari_virtualstain.jobs.doctor_checks import CHECKS
    from napari_virtualstain.jobs.doctor_selftest import self_test

    wanted: list[tuple[str, Examine]] = [*CHECKS.items()]
    if (settings or DoctorSettings()).selftest:
        wanted.append(("Self-test", self_test))
    wanted += extra
    found: list[Check] = []
    for done, (name, examine) in enumerate(wanted):
        if on_progress is not None:
            on_progress(done, len(wanted), "checks made")
        found += _examined(name, examine)
    if on_progress is not None:
        on_progress(len(wanted), len(wanted), "checks made")
    return DoctorReport(checks=tuple(_without_names(check) for check in found))


def _examined(name: str, examine: Examine) -> list[Check]:
    try:
        result = examine()
        return [result] if isinstance(result, Check) else list(result)
    except Exception as error:  # noqa: BLE001 (one check must not stop the others)
        return [Check(name=name, status="problem", found=sentence_of(error))]


def _without_names(check: Check) -> Check:
    """Return a check as it may be shown to strangers: no home folder, no name of the user."""
    return replace(check, found=_anonymous(check.found), advice=_anonymous(check.advice))


def _anonymous(text: str) -> str:
    home = Path.home()
    for place in {str(home), home.as_posix()}:
        if len(place) > 1:
            text = re.sub(rf"{re.escape(place)}(?![\w.-])", "~", text, flags=re.IGNORECASE)
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        return text  # nobody knows it
    return re.sub(rf"(?<=[/\\]){re.escape(user)}(?=[/\\'\"\s]|$)", "USER", text)
