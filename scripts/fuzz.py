"""Damage what comes from outside for as long as you like, and see that every parser says so.

    python scripts/fuzz.py --minutes 30
    python scripts/fuzz.py --minutes 5 --only card --only review --seed 1000000

Each parser of `tests/helpers/foreign.py` is given damaged files in turn. It may return, or raise an
error of the package that is one sentence; anything else, and whatever takes longer than 10 seconds, is
printed with its seed, with which it happens again. The exit status is 1 if anything was found.
"""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "helpers")]

SECONDS = 10.0
"""How long one file may take before it counts as a hang."""
BATCH = 50
"""Files of one parser before the next has its turn; a process of its own does each batch."""


def try_batch(kind: str, first: int, count: int, found: multiprocessing.Queue) -> None:
    """Try some seeds; put each that is begun and what is wrong with it into the queue."""
    from foreign import PARSERS

    from napari_virtualstain.errors import VirtualStainError

    warnings.simplefilter("ignore")
    for seed in range(first, first + count):
        found.put(("begun", seed, ""))
        with tempfile.TemporaryDirectory() as folder:
            try:
                PARSERS[kind].try_one(Path(folder), seed)
            except VirtualStainError as error:
                said = str(error)
                if "\n" in said or not said.endswith((".", "?")):
                    found.put(("no sentence", seed, said))
            except Exception:  # noqa: BLE001 (what else comes is what is looked for)
                found.put(("another error", seed, traceback.format_exc()))
    found.put(("done", first + count, ""))


def watched(kind: str, first: int, count: int = BATCH) -> list[str]:
    """Try some seeds in a process that is ended when it hangs; return what was found."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    process = context.Process(target=try_batch, args=(kind, first, count, told), daemon=True)
    process.start()
    said, seed, limit = [], first, 120.0  # the first word waits for imports
    while True:
        try:
            what, seed, text = told.get(timeout=limit)
        except queue.Empty:
            died = not process.is_alive()
            process.kill()
            process.join()
            why = f"the process ended ({process.exitcode})" if died else f"{SECONDS:g} s"
            return [*said, f"{kind}, seed {seed}: {why}"]
        limit = SECONDS
        if what == "done":
            process.join(timeout=30)
            return said
        if what != "begun":
            said.append(f"{kind}, seed {seed}: {what}\n{text}")


def main(words: list[str] | None = None) -> int:
    """Try all parsers in turn until the time is over."""
    from foreign import PARSERS

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="how long")
    parser.add_argument("--only", action="append", choices=list(PARSERS), help="only this parser")
    parser.add_argument(
        "--seed", type=int, default=None, help="first seed; the time of day if not given"
    )
    asked = parser.parse_args(words)
    kinds = asked.only or list(PARSERS)
    seed = int(time.time()) * 1000 if asked.seed is None else asked.seed
    ends, tried, found = time.monotonic() + 60 * asked.minutes, 0, []
    while not tried or time.monotonic() < ends:
        for kind in kinds:
            if tried and time.monotonic() >= ends:
                break
            for one in watched(kind, seed):
                print(one, flush=True)
                found.append(one)
            tried += BATCH
        seed += BATCH
    print(f"{tried} damaged files of {len(kinds)} kinds, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
