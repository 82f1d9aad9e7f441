"""A field as the Cell Painting Gallery keeps JUMP: Harmony's names and index, and a LoadData table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tifffile
from plate_index import FACTS

HEIGHTS_UM = {
    "Alexa 647": -2.0, "Alexa 568": -3.0, "488 long": -4.0, "Alexa 488": -3.0,
    "HOECHST 33342": -1.0, "Brightfield": -6.0, "Brightfield High": -1.0, "Brightfield Low": -11.0,
}  # fmt: skip
"""Channels of CPJUMP1 with heights as an autofocus leaves them: bright field is in focus at -6 µm."""
COLUMNS = {
    "Mito": "Alexa 647", "AGP": "Alexa 568", "RNA": "488 long", "ER": "Alexa 488",
    "DNA": "HOECHST 33342", "Brightfield": "Brightfield", "HighZBF": "Brightfield High",
    "LowZBF": "Brightfield Low",
}  # fmt: skip
PLATE = "BR00117035__2021-05-02T16_02_51-Measurement1"
SHAPE = (48, 40)


def value_of(name: str) -> int:
    """Return the grey value by which a channel is known."""
    return 100 + 10 * list(HEIGHTS_UM).index(name)


def write_jump(
    folder: Path,
    order: Sequence[str] = tuple(HEIGHTS_UM),
    *,
    index: str | None = "Index.idx.xml",
    heights: Mapping[str, float] = HEIGHTS_UM,
    wells: Sequence[tuple[int, int]] = ((2, 3),),
) -> Path:
    """Write ``Images`` of a plate, channels numbered in some order, and return its folder."""
    images = folder / PLATE / "Images"
    images.mkdir(parents=True)
    entries = []
    rng = np.random.default_rng(0)
    for row, column in wells:
        for number, name in enumerate(order, start=1):
            where = f"r{row:02d}c{column:02d}f01p01"
            url = f"{where}-ch{number}sk1fk1fl1.tiff"
            pixels = value_of(name) + rng.integers(0, 5, SHAPE)
            tifffile.imwrite(images / url, pixels.astype(np.uint16))
            said = FACTS.format(
                url=url, row=row, column=column, field=1, plane=1, channel=number, name=name,
                x=0.0, y=0.0, z=heights[name] * 1e-6,
            )  # fmt: skip
            if "Brightfield" in name:
                said = said.replace(">Fluorescence<", ">BrightField<")
            entries.append(f'<Image Version="1"><id>{where}</id>\n{said}</Image>\n')
    if index is not None:
        (images / index).write_text(
            '\ufeff<?xml version="1.0" encoding="utf-8"?>\n<EvaluationInputData '
            'xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5">\n<Plates><Plate>'
            "<PlateID>BR00117035</PlateID><PlateRows>16</PlateRows><PlateColumns>24</PlateColumns>"
            f"</Plate></Plates>\n<Images>\n{''.join(entries)}</Images>\n</EvaluationInputData>\n",
            encoding="utf-8",
        )
    return folder / PLATE


def write_load_data(plate: Path, order: Sequence[str], *, heights: bool = False) -> Path:
    """Write the table of a plate, with the paths of the computer that made it."""
    where = (
        f"/home/ubuntu/bucket/projects/2019_07_11_JUMP-CP/2020_11_04_CPJUMP1/images/{PLATE}/Images/"
    )
    columns = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
    row = ["BR00117035", "B03", "1"]
    for short, name in COLUMNS.items():
        columns += [f"FileName_Orig{short}", f"PathName_Orig{short}"]
        row += [f"r02c03f01p01-ch{list(order).index(name) + 1}sk1fk1fl1.tiff", where]
        if heights:
            columns.append(f"Metadata_PositionZ_Orig{short}")
            row.append(f"{HEIGHTS_UM[name] * 1e-6:g}")
    file = plate / "load_data.csv"
    file.write_text(f"{','.join(columns)}\n{','.join(row)}\n", encoding="utf-8")
    return file
