"""Do the wheel and the sdist hold what an installed plugin needs, and nothing that is nobody's?

`python -m build && python scripts/check_package.py dist`. Each archive is held against the source
tree; the manifest in it is validated. Exit status 1 and one sentence for each thing that is wrong.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "napari_virtualstain"
LARGEST = 30_000_000
"""Bytes of a wheel: models that are larger are downloaded."""
NOBODYS = ("__pycache__", ".pyc", ".venv", "demo-output", ".mypy_cache", ".ruff_cache", ".whl/")


def sources() -> set[str]:
    """List the files of the package, from `src` on."""
    return {
        file.relative_to(ROOT / "src").as_posix()
        for file in (ROOT / "src" / PACKAGE).rglob("*")
        if file.is_file() and not any(word in file.as_posix() for word in ("__pycache__", ".pyc"))
    }


def wheel_problems(names: set[str], wanted: set[str]) -> list[str]:
    """Say what a wheel with these files lacks or has too much."""
    said = [f"The wheel lacks {name}." for name in sorted(wanted - names)]
    said += [
        f"The wheel holds {name}, which is no part of the package."
        for name in sorted(names - wanted)
        if ".dist-info/" not in name
    ]
    return said


def sdist_problems(names: set[str], wanted: set[str]) -> list[str]:
    """Say what an sdist with these files, top folder removed, lacks or has too much."""
    needed = {f"src/{name}" for name in wanted} | {
        "LICENSE",
        "README.md",
        "constraints.txt",
        "demo",
        "napari.yaml",
        "pyproject.toml",
        "requirements-headless.txt",
        "scripts/setup.sh",
        "test",
    }
    said = [f"The sdist lacks {name}." for name in sorted(needed - names)]
    said += [
        f"The sdist holds {name}, which is left over from a run."
        for name in sorted(names)
        if any(word in name for word in NOBODYS)
    ]
    return said


def size_problems(wheel: Path, largest: int = LARGEST) -> list[str]:
    """Say if a wheel is too large to be fetched by everybody, and what is largest in it."""
    size = wheel.stat().st_size
    if size <= largest:
        return []
    with zipfile.ZipFile(wheel) as archive:
        most = max(archive.infolist(), key=lambda member: member.compress_size)
    return [
        (
            f"{wheel.name} has {size / 1e6:.1f} MB, at most {largest / 1e6:.0f} are allowed: leave out "
            f"what can be downloaded. Largest is {most.filename} ({most.compress_size / 1e6:.1f} MB)."
        )
    ]


def manifest_problems(manifest: Path) -> list[str]:
    """Ask npe2 about a manifest."""
    done = subprocess.run(
        [sys.executable, "-m", "npe2.cli", "validate", str(manifest)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [] if done.returncode == 0 else [f"npe2 refuses {manifest}: {done.stdout}{done.stderr}"]


def main(folder: Path) -> int:
    """Check the one wheel and the one sdist in this folder."""
    wanted = sources()
    [wheel] = folder.glob("*.whl")
    [sdist] = folder.glob("*.tar.gz")
    said = size_problems(wheel)
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(wheel) as archive:
            said += wheel_problems({n for n in archive.namelist() if n[-1] != "/"}, wanted)
            archive.extract(f"{PACKAGE}/napari.yaml", scratch)
        said += manifest_problems(Path(scratch) / PACKAGE / "napari.yaml")
        with tarfile.open(sdist) as archive:
            archive.extractall(scratch, filter="data")
            said += sdist_problems(
                {n.split("/", 1)[1] for n in archive.getnames() if "/" in n}, wanted
            )
        [tree] = Path(scratch).glob("napari_virtualstain-*")
        said += manifest_problems(tree / "napari.yaml")
    for sentence in said:
        print(sentence, file=sys.stderr)
    if not said:
        print(f"{wheel.name} and {sdist.name} hold the package's {len(wanted)} files.")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
