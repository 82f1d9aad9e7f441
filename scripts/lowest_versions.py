"""Which are the oldest versions that `pyproject.toml` allows? They are tested, too.

`constraints-lowest.txt` is the answer: each dependency of the package and of the extras that its users
install, at the version that it names as the least. What these need in turn is left to pip. `--check`
says whether the file still agrees, `--write` makes it agree.

    pip install -c constraints-lowest.txt .
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
FILE = "constraints-lowest.txt"
OURS = frozenset({"dev", "docs", "test"})
"""Extras of those who change the program: their tools may be as new as they like."""
HEADER = """\
# The oldest versions that pyproject.toml allows, of what users install; a job of every week tests them.
#     pip install -c constraints-lowest.txt .
# Made from pyproject.toml by scripts/lowest_versions.py --write.
"""


def lowest_text(pyproject: str) -> str:
    """Give the text of the constraints that belong to this `pyproject.toml`."""
    project = tomllib.loads(pyproject)["project"]
    lines = list(project["dependencies"])
    for extra, more in project["optional-dependencies"].items():
        lines += [] if extra in OURS else more
    lowest: dict[str, Version] = {}
    for line in lines:
        asked = Requirement(line)
        if asked.name == project["name"]:  # an extra of extras
            continue
        least = [
            Version(one.version) for one in asked.specifier if one.operator in (">=", "==", "~=")
        ]
        if not least:
            raise SystemExit(f"{line!r} names no least version. Add one in pyproject.toml.")
        lowest[asked.name] = max([*least, lowest.get(asked.name, least[0])])
    return HEADER + "".join(f"{name}=={version}\n" for name, version in sorted(lowest.items()))


def main(argv: list[str] | None = None) -> int:
    """Check the file, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--check", action="store_true")
    choice.add_argument("--write", action="store_true")
    arguments = parser.parse_args(argv)
    wanted = lowest_text((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if arguments.write:
        (ROOT / FILE).write_text(wanted, encoding="utf-8", newline="\n")
        return 0
    if not (ROOT / FILE).exists() or (ROOT / FILE).read_text(encoding="utf-8") != wanted:
        print(
            f"{FILE} does not agree with the dependencies in pyproject.toml. "
            "Run: python scripts/lowest_versions.py --write",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
