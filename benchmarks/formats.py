"""How much is read, and how long it takes, until an image is open and a part of it is there.

    python benchmarks/formats.py --data FOLDER [--peers PYTHON] [--repeats 5]

For each sample: *open* (shape, axes, channel names and pixel size are known) and *slice* (256 x 256 px of
one plane are in memory). Each method runs in a process of its own that has imported what it needs; one file
after the other, all methods in turn, the median counts. Bytes are those that the process asked the system
for (``rchar``: mapped files do not count), files are those that Python opened, and folders those that it
listed. The pages of the files are in memory: what is measured is work, not the disk.

Then two plates that are made for it: the index of an Opera Phenix with 27,648 files, and an OME-Zarr with
3,456 fields (194 GB if all were there, of which one is). *open* is all fields listed and the first one open.

The peers are readers that people use beside napari: bioio and its plugins, napari-ome-zarr, ngio. ``--peers``
names a Python that has them; a peer that is not there, or cannot read a file, is said in the table. Writes
``docs/benchmarks/formats.md``.

What damaged files do is counted by a slow test, which writes a row a kind of file; ``--damaged LOG`` puts them
into the page (``pytest -m slow -s tests/io/test_mutated_files.py > LOG``). Without it they stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ZARR, PHENIX = "OME-Zarr 0.5, 13 x 512 x 512", "Phenix folder, 6 x 1080 x 1080"
SAMPLES = {
    "ND2, 2044 x 2048, 3 channels": "formats/nd2/nikon_fissionyeast_TL_488_561.nd2",
    "CZI, 2755 x 3675": "formats/czi/PGC_20X_labelfree.czi",
    "LIF, 8 images of 5 planes": "formats/lif/Project_3D.lif",
    "OME-TIFF, 256 x 256, 4 channels": "formats/ome_tiff/*.tif*",
    "TIFF stack, 20 x 512 x 512": "ecoli_bf/02/brightfield_stack.tif",
    ZARR: "formats/ome_zarr/isl_phase_ngffzarr_v0.5.ome.zarr",
    "OME-Zarr 0.4 plate, one field of 6 x 512 x 512": "formats/ome_zarr/phenix_V5_iohub_HCS.zarr",
    PHENIX: "phenix/Version5",
    "folder of 16 PNG, 1024 x 1024": "isl_neurons",
}
EDGE = 256


# --- methods: each returns (open, slice); both run after the imports -------------------------------


def ours() -> tuple[Callable[[Path], Any], Callable[[Any], Any]]:
    from napari_virtualstain.io.open import list_scenes

    def open_it(path: Path) -> Any:
        image = list_scenes(path, axes="zyx" if path.name.endswith("_stack.tif") else None)[
            0
        ].open()
        assert image.shape
        assert image.channel_names
        return image

    def slice_it(image: Any) -> Any:
        part = slice(0, EDGE)
        return image.read((slice(0, 1), slice(0, 1), slice(0, 1), part, part))

    return open_it, slice_it


def bioio() -> tuple[Callable[[Path], Any], Callable[[Any], Any]]:
    from bioio import BioImage

    def open_it(path: Path) -> Any:
        image = BioImage(path)
        assert image.shape
        assert image.channel_names is not None
        assert image.physical_pixel_sizes is not None
        return image

    def slice_it(image: Any) -> Any:
        plane = image.get_image_dask_data("YX", T=0, C=0, Z=0)
        return plane[:EDGE, :EDGE].compute()

    return open_it, slice_it


def napari_ome_zarr() -> tuple[Callable[[Path], Any], Callable[[Any], Any]]:
    import numpy as np
    from napari_ome_zarr import napari_get_reader

    def open_it(path: Path) -> Any:
        reader = napari_get_reader(str(path))
        if reader is None:
            raise ValueError("not read")
        data = reader(str(path))[0][0]
        return data[0] if isinstance(data, (list, tuple)) else data

    def slice_it(array: Any) -> Any:
        index = (0,) * (array.ndim - 2)
        return np.asarray(array[(*index, slice(0, EDGE), slice(0, EDGE))])

    return open_it, slice_it


def ngio() -> tuple[Callable[[Path], Any], Callable[[Any], Any]]:
    from ngio import open_ome_zarr_container, open_ome_zarr_plate

    def open_it(path: Path) -> Any:
        if (path / "A").is_dir():
            images = open_ome_zarr_plate(path).get_images()
            image = next(iter(images.values())).get_image()
        else:
            image = open_ome_zarr_container(path).get_image()
        assert image.shape
        assert image.pixel_size is not None
        return image

    def slice_it(image: Any) -> Any:
        array = image.zarr_array
        index = (0,) * (array.ndim - 2)
        return array[(*index, slice(0, EDGE), slice(0, EDGE))]

    return open_it, slice_it


METHODS = {"ours": ours, "bioio": bioio, "napari-ome-zarr": napari_ome_zarr, "ngio": ngio}
ONLY_ZARR = ("napari-ome-zarr", "ngio")


# --- one measurement, in a process of its own --------------------------------------------------------


class Meter:
    """What this process has read and opened so far."""

    def __init__(self) -> None:
        self.files = self.folders = 0
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and "/proc/" not in str(arguments[0]):
            self.files += 1
        elif event in ("os.scandir", "os.listdir"):
            self.folders += 1

    def read(self) -> dict[str, float]:
        lines = Path("/proc/self/io").read_text().splitlines()
        return {
            "s": time.perf_counter(),
            "bytes": int(lines[0].split()[1]),
            "files": self.files,
            "folders": self.folders,
        }


def measure(method: str, path: Path) -> dict[str, Any]:
    """Return seconds, bytes and files of opening and slicing."""
    import numpy as np

    open_it, slice_it = METHODS[method]()
    for _ in range(2):  # the first time, plugins are looked for and codecs loaded
        meter = Meter()
        begin = meter.read()
        image = open_it(path)
        middle = meter.read()
        pixels = slice_it(image)
        end = meter.read()
        assert np.asarray(pixels).shape[-2:] == (EDGE, EDGE)
        del image
    return {
        part: {what: b[what] - a[what] for what in a}
        for part, a, b in (("open", begin, middle), ("slice", middle, end))
    }


def largest_mb() -> float:
    """Return the largest memory of this process; ``ru_maxrss`` would count that of its parent too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def measure_plate(small: Path, plate: Path) -> dict[str, Any]:
    """Return what opening a plate takes for the first time in a process that has opened an image."""
    open_it, slice_it = ours()
    slice_it(open_it(small))
    before = largest_mb()
    meter = Meter()
    begin = meter.read()
    image = open_it(plate)
    middle = meter.read()
    slice_it(image)
    end = meter.read()
    peak = largest_mb()
    return {
        "open": {what: middle[what] - begin[what] for what in begin},
        "slice": {what: end[what] - middle[what] for what in begin},
        "mb": peak,
        "more_mb": peak - before,
    }


# --- plates that are made for it ---------------------------------------------------------------------


def write_phenix(folder: Path) -> None:
    """Write the index of 384 wells, 9 fields and 8 channels, and the pixels of the first field."""
    import numpy as np
    import tifffile

    sys.path.append(str(Path(__file__).parent.parent / "tests" / "helpers"))
    from plate_index import write_index

    write_index(folder)
    for channel in range(1, 9):
        file = folder / f"r01c01f01p01-ch{channel}sk1fk1fl1.tiff"
        tifffile.imwrite(file, np.zeros((1080, 1080), np.uint16))


def write_zarr_plate(folder: Path) -> None:
    """Write an OME-Zarr 0.5 of 384 wells and 9 fields, 6 x 2160 x 2160; only the first has pixels."""
    import numpy as np
    import zarr

    rows, columns = "ABCDEFGHIJKLMNOP", range(1, 25)
    shape, chunks = (1, 6, 1, 2160, 2160), (1, 1, 1, 540, 540)
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}] + [
        {"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"
    ]
    scale = [{"type": "scale", "scale": [1, 1, 1, 0.3, 0.3]}]
    names = [{"label": n} for n in ("Brightfield", "DNA", "RNA", "ER", "AGP", "Mito")]
    image = {
        "multiscales": [
            {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
        ],
        "omero": {"channels": names},
    }

    def group(place: Path, ome: dict[str, Any]) -> None:
        place.mkdir(parents=True, exist_ok=True)
        content = {
            "zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", **ome}},
        }  # fmt: skip
        (place / "zarr.json").write_text(json.dumps(content))

    wells = [f"{row}/{column}" for row in rows for column in columns]
    plate = {
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": str(column)} for column in columns],
        "wells": [
            {"path": well, "rowIndex": i // 24, "columnIndex": i % 24}
            for i, well in enumerate(wells)
        ],
    }
    group(folder, {"plate": plate})
    first = zarr.create_array(
        folder / wells[0] / "0" / "0", shape=shape, chunks=chunks, dtype="u2", zarr_format=3
    )
    first[:] = np.ones(shape, np.uint16)
    described = (folder / wells[0] / "0" / "0" / "zarr.json").read_text()
    for well in wells:
        group(folder / well, {"well": {"images": [{"path": str(n)} for n in range(9)]}})
        for n in range(9):
            group(folder / well / str(n), image)
            (folder / well / str(n) / "0").mkdir(exist_ok=True)
            (folder / well / str(n) / "0" / "zarr.json").write_text(described)


def plate_rows(root: Path, repeats: int) -> list[list[str]]:
    """Measure both plates, each opening in a process of its own."""
    small = {"Phenix": root / SAMPLES[PHENIX], "zarr": root / SAMPLES[ZARR]}
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as made:
        phenix, plate = Path(made) / "P" / "Images", Path(made) / "plate.ome.zarr"
        write_phenix(phenix)
        write_zarr_plate(plate)
        cases = {
            "Phenix index, 27,648 files, first time": (small["Phenix"], phenix.parent, True),
            "the same, reopened": (small["Phenix"], phenix.parent, False),
            "OME-Zarr plate, 3,456 fields of 6 x 2160 x 2160": (small["zarr"], plate, False),
        }
        for name, (known, path, fresh) in cases.items():
            results = []
            for n in range(repeats):
                cache = Path(made) / (f"cache{n}" if fresh else "cache0")
                done = subprocess.run(
                    [sys.executable, __file__, "--plate", str(known), str(path)],
                    capture_output=True, text=True, timeout=300, check=True,
                    env={**os.environ, "NVS_CACHE": str(cache)},
                )  # fmt: skip
                results.append(json.loads(done.stdout.splitlines()[-1]))
            times = [r["open"]["s"] + r["slice"]["s"] for r in results]
            memory = max(r["mb"] for r in results), max(r["more_mb"] for r in results)
            rows.append(
                [
                    name,
                    *(cell(results, part) for part in ("open", "slice")),
                    f"{min(times) * 1000:.0f} to {max(times) * 1000:.0f}",
                    f"{memory[0]:.0f} MB, {memory[1]:.0f} MB of it for this",
                ]
            )
    return rows


# --- all of them ------------------------------------------------------------------------------------


def run_one(python: str, method: str, path: Path) -> dict[str, Any] | str:
    """Measure in a process of its own; a sentence where that fails."""
    done = subprocess.run(
        [python, __file__, "--one", method, str(path)], capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        return reason(done.stderr, path)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def reason(said: str, path: Path) -> str:
    """Return in a few words why a process ended, from what it wrote at its end."""
    found = re.findall(r"^(?:\w+\.)*(\w*(?:Error|Exception)): *(.*)$", said, re.MULTILINE)
    if not found:
        return "cannot read it: it was killed"
    kind, words = found[-1]
    if kind == "ModuleNotFoundError":
        return "not installed"
    words = words.replace(str(path), path.name).partition(". ")[0][:120]
    return f"cannot read it: {kind}, {words.rstrip(':.')}".replace("|", "/")


def median(results: list[dict[str, Any]], part: str, what: str) -> float:
    return float(statistics.median(r[part][what] for r in results))


def cell(results: list[dict[str, Any]], part: str) -> str:
    """Return what one part took, in words."""
    seconds, kilobytes = median(results, part, "s"), median(results, part, "bytes") / 1000
    files, folders = (median(results, part, what) for what in ("files", "folders"))
    listed = f", {folders:.0f} folders" if folders else ""
    return f"{seconds * 1000:.1f} ms, {kilobytes:,.0f} kB, {files:.0f} files{listed}"


def row(sample: str, method: str, results: list[Any]) -> list[str]:
    words = next((r for r in results if isinstance(r, str)), None)
    if words is not None:
        return [sample, method, words, "", ""]
    cells = [sample, method, *(cell(results, part) for part in ("open", "slice"))]
    spread = [r["open"]["s"] + r["slice"]["s"] for r in results]
    cells.append(f"{min(spread) * 1000:.1f} to {max(spread) * 1000:.1f}")
    return cells


def damaged_section(log: str | None, page: Path) -> str:
    """Return what is said of damaged files: from the output of the slow test, else as it was."""
    from _report import table

    title = "## Damaged files"
    if log is None:
        _, found, known = page.read_text(encoding="utf-8").partition(title)
        return (found + known).strip()
    said = Path(log).read_text(encoding="utf-8").splitlines()
    # Of a kind that was run twice, the last.
    rows = {
        cells[0]: cells
        for line in said
        if line.startswith("| ")
        and len(cells := [c.strip() for c in line.strip("| ").split("|")]) == 6
    }
    total = sum(int(cells[1]) for cells in rows.values())
    header = ["kind of file", "mutations", "opened", "defects", "slowest", "memory more"]
    return "\n".join(
        [
            title,
            "",
            (
                f"{total:,} seeded mutations (cut, bytes and numbers changed, files lost, swapped, emptied, renamed), each "
                "opened and read at two corners. It must open or be refused in one sentence. A defect is anything else, "
                "above 5 s of a processor or 1 GB. *Memory more*: above what opening the whole file takes."
            ),
            "",
            table(header, list(rows.values())),
        ]
    )


def main() -> None:
    """Measure everything and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data")
    parser.add_argument("--peers", default=sys.executable, help="a Python that has the peers")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--damaged", metavar="LOG", help="output of the slow test of mutations")
    parser.add_argument(
        "--only-damaged", action="store_true", help="leave the other tables as they are"
    )
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "PATH"), help=argparse.SUPPRESS)
    parser.add_argument("--plate", nargs=2, metavar=("SMALL", "PATH"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plate:
        print(json.dumps(measure_plate(Path(given.plate[0]), Path(given.plate[1]))))
        return
    if given.one:
        print(json.dumps(measure(given.one[0], Path(given.one[1]))))
        return
    from _report import REPORTS, data_root, machine, table, write

    page = REPORTS / "formats.md"
    if given.only_damaged:
        known = page.read_text(encoding="utf-8").partition("## Damaged files")[0].strip()
        write("formats.md", f"{known}\n\n{damaged_section(given.damaged, page)}")
        return
    root = data_root(given.data)
    rows: list[list[str]] = []
    for sample, pattern in SAMPLES.items():
        found = sorted(root.glob(pattern))
        if not found:
            rows.append([sample, "", "not in the data folder", "", ""])
            continue
        path = found[0]
        methods = [m for m in METHODS if m not in ONLY_ZARR or path.suffix == ".zarr"]
        results: dict[str, list[Any]] = {m: [] for m in methods}
        for _ in range(given.repeats):
            for method in methods:
                known = results[method]
                if known and isinstance(known[-1], str):
                    continue  # it will not read it the next time either
                python = sys.executable if method == "ours" else given.peers
                known.append(run_one(python, method, path))
        rows += [row(sample, method, results[method]) for method in methods]
    header = ["sample", "reader", "open", f"slice of {EDGE} x {EDGE} px", "both, ms, from to"]
    text = [
        "# Opening files",
        "",
        (
            f"{machine()}. "
            f"Median of {given.repeats}, each in a process of its own, all readers in turn, "
            "the second time in each process: imports, plugins and codecs are there. Bytes are what was asked "
            "of the system; files that are mapped into memory do not count."
        ),
        "",
        table(header, rows),
        "",
        (
            "*open*: shape, axes, channel names and pixel size are known. *slice*: the pixels are in memory. "
            "*Folders* are those that were listed."
        ),
        "",
        "## Large plates",
        "",
        (
            "Made by the script. *Open*: all fields are listed and the first is open, in a process that has opened "
            "another image before; memory is the largest of the whole process."
        ),
        "",
        table(
            ["plate", "open", f"slice of {EDGE} x {EDGE} px", "both, ms, from to", "memory"],
            plate_rows(root, given.repeats),
        ),
        "",
        damaged_section(given.damaged, page),
    ]
    write("formats.md", "\n".join(text))


if __name__ == "__main__":
    main()
