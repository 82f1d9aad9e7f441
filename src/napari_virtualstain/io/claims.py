"""Which reader a path is for, told by names and first bytes alone.

A file goes by how it begins before it goes by how it is called. Folders are
listed at most once, and none of the files in them is opened, tables aside.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

__all__ = [
    "PHENIX_INDEX",
    "PICTURE_SUFFIXES",
    "TIFF_SUFFIXES",
    "find_table",
    "is_cv8000",
    "is_file_of",
    "is_harmony",
    "is_imagexpress",
    "is_picture",
    "is_planes",
    "is_table",
    "is_zarr",
    "plane_files",
]

PHENIX_INDEX = ("Index.idx.xml", "Index.xml", "Index.ref.xml")
CV8000_FILES = ("MeasurementData.mlf", "MeasurementDetail.mrf")
TABLE_SUFFIXES = (".csv", ".tsv")
TABLES = (
    "manifest.csv",
    "manifest.tsv",
    "load_data_with_illum.csv",
    "load_data.csv",
    "BBBC021_v1_image.csv",
    "metadata.csv",
)
"""Tables that are looked for in a folder that is opened."""
ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAGICS: dict[str, Callable[[bytes], bool]] = {
    "nd2": lambda head: head.startswith(b"\xda\xce\xbe\x0a"),
    "czi": lambda head: head.startswith(b"ZISRAWFILE"),
    "lif": lambda head: head.startswith(b"\x70\0\0\0") and head[8:9] == b"\x2a",
    "ics": lambda head: b"ics_version" in head,
    "tiff": lambda head: head.startswith(TIFF_MAGIC),
}
"""How files begin, which outranks how they are called."""
TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".tf2", ".stk")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


def is_zarr(path: Path) -> bool:
    """Return whether a path is a zarr store, or a file of one."""
    if not path.is_dir():
        return path.name in ZARR_FILES and path.is_file()
    return path.suffix == ".zarr" or any((path / name).is_file() for name in ZARR_FILES)


def is_harmony(path: Path) -> bool:
    """Return whether a path is an Opera Phenix or Operetta measurement."""
    if path.is_dir():
        return any(
            (path / sub / n).is_file() for sub in ("", "images", "Images") for n in PHENIX_INDEX
        )
    return path.name in PHENIX_INDEX


def is_imagexpress(path: Path) -> bool:
    """Return whether a path is an ImageXpress plate or its HTD."""
    if not path.is_dir():
        return path.suffix.lower() == ".htd" and path.is_file()
    with os.scandir(path) as entries:
        return any(
            entry.name.lower().endswith(".htd")
            or (entry.name.lower().startswith("timepoint_") and entry.is_dir())
            for entry in entries
        )


def is_cv8000(path: Path) -> bool:
    """Return whether a path is a Yokogawa measurement."""
    if not path.is_dir():
        return path.name in CV8000_FILES and path.is_file()
    if (path / CV8000_FILES[0]).is_file():
        return True
    with os.scandir(path) as entries:  # the folder of the measurement holds that of the images
        inner = [Path(entry.path) for entry in entries if entry.is_dir()]
    return len(inner) == 1 and (inner[0] / CV8000_FILES[0]).is_file()


def find_table(path: Path) -> Path | None:
    """Return the table that names the images of a path, `None` if there is none.

    A table is known by its columns; in a folder those with the usual names are looked at.
    """
    from napari_virtualstain.io.layouts.allen import is_allen
    from napari_virtualstain.io.layouts.cellprofiler import is_loaddata
    from napari_virtualstain.io.layouts.manifest import is_manifest
    from napari_virtualstain.io.layouts.tables import header_of

    if not path.is_dir():
        return path if path.suffix.lower() in TABLE_SUFFIXES and path.is_file() else None
    for name in TABLES:
        file = path / name
        if not file.is_file():
            continue
        columns = header_of(file)
        if is_loaddata(columns) or is_allen(columns):
            return file
        if name.startswith("manifest") and is_manifest(columns):
            return file
    return None


def is_table(path: Path) -> bool:
    """Return whether a path is a table that names images."""
    return find_table(path) is not None


def is_file_of(kind: str, suffixes: tuple[str, ...], path: Path) -> bool:
    """Return whether a file begins like a kind, or is called so and begins like no other."""
    if not path.is_file():
        return False
    with path.open("rb", buffering=0) as file:
        head = file.read(32)
    found = next((name for name, begins in MAGICS.items() if begins(head)), None)
    return found == kind or (found is None and path.suffix.lower() in suffixes)


def is_picture(path: Path) -> bool:
    """Return whether a path is a PNG, JPEG or BMP."""
    return path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES


def plane_files(folder: Path) -> list[Path]:
    """List a folder once: its pictures and TIFFs, else those in its only folder ``images``."""
    suffixes = PICTURE_SUFFIXES + TIFF_SUFFIXES
    files, inner = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            # The listing itself says what is a folder: no file is looked at.
            if entry.name.lower().endswith(suffixes) and entry.is_file():
                files.append(entry.name)
            elif entry.name.lower() == "images" and entry.is_dir():
                inner.append(folder / entry.name)
    if not files and len(inner) == 1 and folder.name.lower() != "images":
        return plane_files(inner[0])
    return [folder / name for name in files]


def is_planes(path: Path) -> bool:
    """Return whether a path is a folder of planes, which their names tell apart."""
    from napari_virtualstain.io.layouts import LAYOUTS

    files = plane_files(path) if path.is_dir() else []
    return bool(files) and any(layout.claims(files) for layout in LAYOUTS.values())
