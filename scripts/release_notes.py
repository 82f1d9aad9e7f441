"""Is everything ready for a version, and what is new in it? Its part of CHANGELOG.md.

    python scripts/release_notes.py --tag v0.2.0 > notes.md

The tag, `pyproject.toml`, `CITATION.cff` and the conda recipe have to name the same version, and the
changelog has to have a part for it; otherwise one sentence says what lacks, and the status is 1.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def versions(root: Path = ROOT) -> dict[str, str]:
    """Give the version that each file names."""
    found = {
        "pyproject.toml": tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))[
            "project"
        ]["version"]
    }
    for name, pattern in (
        ("CITATION.cff", r"^version: (\S+)$"),
        ("packaging/conda/recipe.yaml", r'^  version: "([^"]+)"$'),
    ):
        match = re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        found[name] = match[1] if match else "none"
    return found


def notes_of(version: str, changelog: str) -> str:
    """Give the part of the changelog for a version, ``""`` if there is none."""
    parts = re.split(r"^## \[([^\]]+)\].*$", changelog, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return found.get(version, "").strip()


def main(words: list[str] | None = None) -> int:
    """Print the notes, or say what lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tag", required=True, help="of the version, v1.2.3")
    tag = parser.parse_args(words).tag
    version = tag.removeprefix("v")
    said = [
        f"{name} is at version {named}, and the tag is {tag}. Change one of them."
        for name, named in versions().items()
        if named != version
    ]
    notes = notes_of(version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if not notes:
        said.append(
            f"CHANGELOG.md has no part [{version}]. Rename [Unreleased], and begin a new one."
        )
    for sentence in said:
        print(sentence, file=sys.stderr)
    if not said:
        print(notes)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
