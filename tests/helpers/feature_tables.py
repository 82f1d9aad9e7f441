"""Tables of features of a plate whose phenotypes are known."""

from __future__ import annotations

import csv

import numpy as np

MECHANISMS = {"one": (0, 1), "two": (2, 3), "three": (4, 5)}
"""Features that move, by mechanism."""
FEATURES = 24


def layout(plates=2, controls=10, replicates=3):
    """Return (plate, well, treatment, mechanism) of every well.

    Two treatments of each mechanism, four idle ones, one that kills, and one that kills unknown.
    """
    treated = [
        (f"{mechanism}-{dose}", mechanism) for mechanism in MECHANISMS for dose in ("a", "b")
    ]
    treated += [(name, "") for name in ("idle1", "idle2", "idle3", "idle4", "venom")]
    rows = []
    for plate in range(plates):
        here = [("DMSO", "")] * controls + treated * replicates + [("poison", "")] * 3
        rows += [(f"p{plate}", f"{'ABCDEFGH'[n // 12]}{n % 12 + 1:02d}", *one)
                 for n, one in enumerate(here)]  # fmt: skip
    return rows


def values_of(rows, *, seed=0, noise=0.3, effect=6.0, see=lambda treatment: treatment, gain=1.0):
    """Return (wells, features): a biology that all tables share, noise that is each table's own.

    ``see`` says as which treatment a well looks.
    """
    biology = np.random.default_rng(99).normal(size=(len(rows), FEATURES))
    own = np.random.default_rng(seed).normal(size=biology.shape)
    values = biology + noise * own
    for n, (_, _, treatment, _) in enumerate(rows):
        seen = see(treatment)
        mechanism, _, dose = seen.partition("-")
        if mechanism in MECHANISMS:
            first, second = MECHANISMS[mechanism]
            values[n, first] += effect
            values[n, second] += effect * (1.0 if dose == "a" else 0.3)
        if seen in ("poison", "venom"):
            values[n, 10:14] -= 2 * effect
    return gain * (values + 50)


def write_table(path, rows, values, *, names=None, about=False, sites=1):
    """Write a table as pycytominer does; with treatment and mechanism in it if ``about``."""
    names = names or [f"Cells_Texture_{n}_DNA" for n in range(values.shape[1])]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        more = ["Metadata_treatment", "Metadata_moa"] if about else []
        writer.writerow(["Metadata_Plate", "Metadata_Well", "Metadata_Site", *more, *names])
        for (plate, well, treatment, moa), row in zip(rows, values, strict=True):
            for site in range(sites):
                said = [treatment, moa] if about else []
                writer.writerow([plate, well, site + 1, *said, *row])
    return path


def write_layout(path, rows):
    """Write what was done to each well."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["plate", "well", "treatment", "moa"])
        writer.writerows(rows)
    return path
