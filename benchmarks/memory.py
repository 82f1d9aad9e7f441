"""Peak memory against image size: the whole process, from the command line.

    python benchmarks/memory.py [--sizes 2048,4096,8192,16384]

writes uint16 planes of random grey values as OME-Zarr, stains them with
``virtualstain stain`` in a process of its own, and writes ``docs/benchmarks/memory.md``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _report import machine, table, write

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.sink import OmeZarrSink

CHUNK = 512


def write_input(path: Path, size: int) -> None:
    rng = np.random.default_rng(0)
    shape = (1, 1, 3, size, size)
    n_tiles = -(-size // CHUNK)
    with OmeZarrSink.create(
        path, shape=shape, channels=[Channel("Brightfield", "transmitted")], dtype="uint16",
        pixel_size_um=PixelSize(4.0, 0.6, 0.6), chunks_yx=CHUNK, n_tiles=n_tiles, levels=1,
    ) as sink:  # fmt: skip
        for index, row in enumerate(range(0, size, CHUNK)):
            rows = slice(row, min(row + CHUNK, size))
            strip = rng.integers(9000, 11000, (1, 1, 3, rows.stop - row, size), dtype=np.uint16)
            sink.write((slice(0, 1), slice(0, 1), slice(0, 3), rows, slice(0, size)), strip)
            sink.commit(index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1024,4096,16384")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--model", default="demo")
    options = parser.parse_args()
    rows = []
    for size in (int(text) for text in options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as scratch:
            source, out = Path(scratch) / "in.ome.zarr", Path(scratch) / "out.ome.zarr"
            write_input(source, size)
            began = time.monotonic()
            command = [
                sys.executable, "-c", _MEASURED, "stain", str(source), "--out", str(out),
                "--tile", str(options.tile), "--model", options.model, "--quiet",
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds = time.monotonic() - began
            peak = int(done.stderr.strip().splitlines()[-1]) / 1024
            rows.append(
                (
                    f"{size} x {size}", f"{size * size * 3 * 2 / 2**20:.0f}",
                    f"{size * size * 5 * 4 / 2**20:.0f}", f"{peak:.0f}", f"{seconds:.0f}",
                    f"{seconds / size**2 * 1e9:.0f}",
                )
            )  # fmt: skip
            print(rows[-1], flush=True)
    header = (
        "image (px)",
        "input (MB)",
        "output (MB)",
        "peak memory (MB)",
        "time (s)",
        "ns a pixel",
    )
    write(
        "memory.md",
        f"""# Memory does not grow with the image

Written by `python benchmarks/memory.py --sizes {options.sizes} --tile {options.tile}`. Three bright-field
planes (uint16) to five stains (float32) with the model `{options.model}`: largest resident memory of the whole
`virtualstain stain` process, Python and torch included; time from start to exit, statistics, pyramid and loading included.

{table(header, rows)}

{machine()}.
""",
    )


# Not ru_maxrss: a new process inherits that of the one that started it.
_MEASURED = """
import re, sys
from pathlib import Path
from napari_virtualstain.cli import main
code = main(sys.argv[1:])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)
print(peak, file=sys.stderr)
sys.exit(code)
"""


if __name__ == "__main__":
    main()
