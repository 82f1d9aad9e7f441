"""Opens files that were damaged on purpose, in a process of its own; see `test_mutated_files.py`.

    python mutate.py SOURCE FOLDER FIRST LAST

writes a line before each seed and a JSON object after it.
"""

from __future__ import annotations

import json
import random
import re
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import tifffile

SUFFIXES = (".tif", ".nd2", ".czi", ".lif", ".ics", ".png", ".lsm", ".ome", ".csv", "")
HOWS = (
    "cut",
    "flip",
    "flip",
    "flip",
    "zero",
    "empty",
    "rename",
    "number",
    "number",
    "lose",
    "swap",
)
"""Kinds of damage, the likely ones several times."""

NUMBER = re.compile(rb"""(?<=[="':,\[\s>])-?\d+(?:\.\d+)?(?=["',\]\s<}])""")
"""A number in XML, JSON, a table or a header of words."""
NUMBERS = (
    b"0", b"-1", b"1", b"2", b"3", b"7", b"1000", b"65537", b"99999999", b"4294967296", b"1e30",
    b"0.0001", b"NaN", b"null", b"[]", b"x",
)  # fmt: skip


def position(chance: random.Random, length: int) -> int:
    """Return where to damage a file: mostly where its headers and maps are."""
    where = chance.random()
    if where < 0.35:
        return chance.randrange(min(length, 2048))
    if where < 0.6:
        return length - 1 - chance.randrange(min(length, 8192))
    return chance.randrange(length)


def damaged(raw: bytes, chance: random.Random, how: str) -> bytes:
    """Return the bytes of a file, cut short, with other bytes, or with zeros."""
    changed = bytearray(raw)
    if how == "cut" or not raw:
        return bytes(changed[: int(len(raw) * chance.random() ** chance.choice((1, 3)))])
    for _ in range(chance.choice((1, 1, 3, 10, 50))):
        at = position(chance, len(raw))
        if how == "zero":
            length = chance.choice((4, 16, 64, 512))
            changed[at : at + length] = bytes(len(changed[at : at + length]))
        elif chance.random() < 0.3:
            changed[at] = chance.choice((0, 0x7F, 0x80, 0xFF))
        else:
            changed[at] ^= 1 << chance.randrange(8)
    return bytes(changed)


def contradicted(raw: bytes, chance: random.Random) -> bytes:
    """Return bytes in whose words some numbers are others; a file that is no text keeps its length."""
    text = b"\0" not in raw
    for _ in range(chance.choice((1, 1, 2, 5))):
        found = list(NUMBER.finditer(raw))
        if not found:
            return raw
        one = chance.choice(found)
        other = chance.choice(NUMBERS)
        if not text:
            other = other.rjust(len(one[0]), b"0")[: len(one[0])]
        raw = raw[: one.start()] + other + raw[one.end() :]
    return raw


def beginning(file: Path) -> bytes:
    """Return how a file begins; text has no zeros there."""
    with file.open("rb") as opened:
        return opened.read(4096)


def swapped(file: Path, chance: random.Random) -> None:
    """Put another picture in the place of a file: of another type, size or number of channels."""
    pixels = np.random.default_rng(chance.randrange(100)).integers(0, 250, (24, 32))
    kind = chance.choice(("u1", "i2", "u4", "f4", "f8", "nan", "size", "colours", "stack"))
    if kind == "nan":
        pixels = np.where(pixels > 200, np.nan, pixels).astype("f4")
    elif kind == "size":
        pixels = pixels[:20].astype("u2")
    elif kind in ("colours", "stack"):
        pixels = np.stack([pixels] * 4, -1 if kind == "colours" else 0).astype("u1")
    else:
        pixels = (pixels.astype("i8") - (100 if kind[0] != "u" else 0)).astype(kind)
    photometric = "rgb" if kind == "colours" else "minisblack"
    tifffile.imwrite(file, pixels, photometric=photometric, metadata=None)


def mutate(source: Path, folder: Path, seed: int) -> Path:
    """Return the path of a damaged copy."""
    chance = random.Random(seed)
    how = chance.choice(HOWS)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    copy = folder / source.name
    if source.is_dir():
        shutil.copytree(source, copy)
        files = sorted(file for file in copy.rglob("*") if file.is_file())
    else:
        files = [Path(shutil.copy(file, folder)) for file in sorted(source.parent.glob("*"))]
    victim = chance.choice(files)
    if how == "rename" and not source.is_dir():
        return copy.rename(copy.with_suffix(chance.choice(SUFFIXES)))
    if how == "number":  # where the words are, if there are files of words
        words = [file for file in files if b"\0" not in beginning(file)]
        victim = chance.choice(words or files)
        victim.write_bytes(contradicted(victim.read_bytes(), chance))
    elif how == "lose":
        for file in chance.sample(files, 1 + int(len(files) * chance.random() ** 2)):
            if file != copy:
                file.unlink(missing_ok=True)
    elif how == "swap":
        swapped(victim, chance)
    elif how == "empty":
        victim.write_bytes(b"")
    elif how == "rename":
        victim.unlink()
    else:
        victim.write_bytes(damaged(victim.read_bytes(), chance, how))
    return copy


def look(path: Path) -> str:
    """Open what can be opened, read two corners of it, and return what came of it."""
    from napari_virtualstain.errors import VirtualStainError
    from napari_virtualstain.io.open import list_scenes, open_image

    try:
        for scene in list_scenes(path)[:3]:
            image = open_image(scene.open())
            for region in (np.s_[:1, :1, :1, :40, :40], np.s_[-1:, -1:, -1:, -40:, -40:]):
                image.data[region].compute(scheduler="synchronous")
    except VirtualStainError as error:
        return f"{type(error).__name__}: {error}"
    return "opened"


def largest_mb() -> float:
    """Return the largest memory of this process; ``ru_maxrss`` counts that of its parent too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = status.read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def tell(what: object) -> None:
    """Write a line at once, so that it is there when the process dies."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main() -> None:
    """Look at the files of some seeds."""
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    look(source)
    for seed in range(int(sys.argv[3]), int(sys.argv[4])):
        tell(seed)
        path = mutate(source, folder, seed)
        # Of this process: what else the machine does is no fault of a file.
        began = time.process_time()
        try:
            outcome = look(path)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is a defect)
            outcome = f"DEFECT {type(error).__name__}: {error}"
        found = {
            "seed": seed,
            "outcome": outcome,
            "seconds": time.process_time() - began,
            "megabytes": largest_mb(),
        }
        tell(json.dumps(found))


if __name__ == "__main__":
    main()
