"""Which of our dependencies does a machine without napari and Qt need?

`requirements-headless.txt` is the answer, made from `pyproject.toml`. A cluster node installs it,
then the package with `--no-deps`. `--check` says whether the file still agrees, `--write` makes it
agree.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VIEWER = frozenset({"magicgui", "napari", "npe2", "qtpy"})
HEADER = """\
# What every part but the viewer needs: for a cluster node, a container, a notebook server.
#     pip install -r requirements-headless.txt -c constraints.txt
#     pip install --no-deps .
# Made from pyproject.toml by scripts/headless_requirements.py --write.
"""


def headless_text(pyproject: str) -> str:
    """Give the text of the requirements file that belongs to this `pyproject.toml`."""
    dependencies = tomllib.loads(pyproject)["project"]["dependencies"]
    kept = [line for line in dependencies if _name(line) not in VIEWER]
    return HEADER + "".join(f"{line}\n" for line in kept)


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


def main(argv: list[str] | None = None) -> int:
    """Check the file, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--check", action="store_true")
    choice.add_argument("--write", action="store_true")
    arguments = parser.parse_args(argv)

    file = ROOT / "requirements-headless.txt"
    wanted = headless_text((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if arguments.write:
        file.write_text(wanted, encoding="utf-8", newline="\n")
        return 0
    if not file.exists() or file.read_text(encoding="utf-8") != wanted:
        print(
            "requirements-headless.txt does not agree with the dependencies in pyproject.toml. "
            "Run: python scripts/headless_requirements.py --write",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
