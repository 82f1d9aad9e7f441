"""What becomes of damaged files of every kind that is read from outside?

    python benchmarks/damaged_files.py [--minutes 10] [--seed 0]

gives each parser of `tests/helpers/foreign.py` damaged files in turn, as ``scripts/fuzz.py`` does, and
writes ``docs/benchmarks/damaged-files.md``. A finding is an error that is no sentence of the package, a
process that ended, or a file that took longer than ten seconds; the exit status is 1 if there was one.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from _report import machine, table, write

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "helpers")]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    from foreign import PARSERS
    from fuzz import BATCH, SECONDS, watched

    tried, spent = dict.fromkeys(PARSERS, 0), dict.fromkeys(PARSERS, 0.0)
    found: dict[str, list[str]] = {kind: [] for kind in PARSERS}
    began, seed = time.monotonic(), args.seed
    while time.monotonic() - began < 60 * args.minutes:
        for kind in PARSERS:  # all of them, so that each has as many as the others
            here = time.monotonic()
            found[kind] += watched(kind, seed)
            tried[kind] += BATCH
            spent[kind] += time.monotonic() - here
        seed += BATCH
        print(f"{sum(tried.values())} files, {sum(map(len, found.values()))} findings", flush=True)
    for said in found.values():
        print("\n".join(said))
    rows = [[kind, tried[kind], len(found[kind]), f"{spent[kind]:.0f}"] for kind in PARSERS]
    total = sum(map(len, found.values()))
    minutes = (time.monotonic() - began) / 60
    write(
        "damaged-files.md",
        f"""# Damaged files

Written by `python benchmarks/damaged_files.py --minutes {args.minutes:g} --seed {args.seed}`. Files of every kind that
comes from outside are damaged (bytes changed, cut, doubled; values exchanged) and given to their parser, in a process
that is watched. It may read the file, or refuse it with one sentence that says what to do. A finding is anything else:
another error, an end of the process, or more than {SECONDS:g} seconds. [Security](../security.md) says what stops what.

{table(["kind of file", "files", "findings", "seconds, starts of processes included"], rows)}

{sum(tried.values())} files of {len(rows)} kinds, {total} findings, in {minutes:.0f} minutes. A job of every week tries other
files, for half an hour.

{machine()}
""",
    )
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
