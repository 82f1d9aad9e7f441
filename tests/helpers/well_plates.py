"""Plates of 96 wells, some of which hold an image."""

from __future__ import annotations

from napari_virtualstain.io.plate import Plate, Site, Well


def plate_of(names, **facts):
    places = [(ord(name[0]) - 65, int(name[1:]) - 1) for name in names]
    wells = [
        Well(
            name=name, row=row, column=column, sites=(Site(name="0", scenes=(name,)),),
            facts=tuple((key, value) for key, value in facts.items()),
        )
        for name, (row, column) in zip(names, places, strict=True)
    ]  # fmt: skip
    return Plate(name="", rows=8, columns=12, wells=tuple(wells))
