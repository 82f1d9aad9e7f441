"""ImageXpress: ``plate_B02_s1_w1GUID.TIF`` in TimePoint and ZStep folders, and the ``.HTD``.

The HTD says how many time points, z steps, sites and wavelengths were planned,
and names the wavelengths. Where files say otherwise, the files are believed
and it is said; what was planned and has no file is missing.
"""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.layouts.base import FolderPlan, Layout, Plane, natural
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.plate import Place, well_name

__all__ = ["IMAGEXPRESS", "Htd", "read_htd", "read_imagexpress"]

GUID = r"\[?[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\]?"
PATTERN = re.compile(
    r"(?:(?P<plate>.+)_)?(?P<well>[A-Z]{1,2}\d{2})(?:_s(?P<s>\d+))?(?:_w(?P<w>\d+?))?"
    rf"(?:_z(?P<z>\d+))?(?P<thumb>_thumb)?(?:_?(?P<guid>{GUID}))?\.tiff?",
    re.IGNORECASE,
)
FOLDER = re.compile(r"(?P<axis>TimePoint|ZStep)_(?P<n>\d+)", re.IGNORECASE)
MOST = 20_000
"""Time points or z steps that a plate may plan."""
DEEPEST = 3
"""Folders below the one that was opened that are looked into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Htd:
    """What an HTD plans; wells from (0, 0), counts of 1 where an axis was not used."""

    times: int = 1
    depths: int = 1
    sites: int = 1
    waves: tuple[str, ...] = ()
    shape: tuple[int, int] | None = None
    wells: frozenset[str] = frozenset()


def read_htd(path: Path) -> Htd:
    """Read an HTD.

    Raises
    ------
    ImageFileError
        If it is none, or is damaged.
    """
    # Descriptions are typed by people, on computers of any language.
    lines = path.read_text(encoding="latin-1").splitlines()
    rows = {
        row[0].strip(): [cell.strip() for cell in row[1:]]
        for row in csv.reader(lines, skipinitialspace=True)
        if len(row) > 1
    }
    try:
        if "HTSInfoFile" not in rows:
            raise ValueError("it does not begin with HTSInfoFile")
        count = {
            key: int(rows.get(key, ["0"])[0])
            for key in ("TimePoints", "ZSteps", "XWells", "YWells", "XSites", "YSites")
        }
        if max(count.values()) > MOST:
            raise ValueError(f"it plans {max(count.values())} of something")
        on = {key: rows.get(key, [""])[0].upper() == "TRUE" for key in ("ZSeries", "Sites")}
        waves = tuple(
            rows.get(f"WaveName{n + 1}", [f"w{n + 1}"])[0] or f"w{n + 1}"
            for n in range(min(int(rows.get("NWavelengths", ["1"])[0]), 64))
        )
    except ValueError as error:
        raise ImageFileError(
            f"{str(path)!r} is damaged or not an HTD file: {error}. Copy the plate again, or "
            "take the file out of the folder to have the images read by their names alone."
        ) from error
    wells = frozenset(
        well_name(row, column)
        for row in range(min(count["YWells"], 64))
        for column, chosen in enumerate(rows.get(f"WellsSelection{row + 1}", []))
        if chosen.upper() == "TRUE"
    )
    sites = sum(
        cell.upper() == "TRUE"
        for row in range(min(count["YSites"], 64))
        for cell in rows.get(f"SiteSelection{row + 1}", [])
    )
    shape = (count["YWells"], count["XWells"])
    return Htd(
        times=max(1, count["TimePoints"]),
        depths=max(1, count["ZSteps"]) if on["ZSeries"] else 1,
        sites=max(1, sites) if on["Sites"] else 1,
        waves=waves,
        shape=shape if all(shape) else None,
        wells=wells,
    )


def _walk(folder: Path, depth: int, t: int, z: int | None) -> list[tuple[Path, int, int | None]]:
    """List the files of a plate with the time and z of the folders they lie in."""
    found: list[tuple[Path, int, int | None]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            inner = FOLDER.fullmatch(entry.name)
            if inner is not None and depth and entry.is_dir():
                number = int(inner["n"])
                is_time = inner["axis"].lower() == "timepoint"
                found += _walk(
                    Path(entry.path),
                    depth - 1,
                    number if is_time else t,
                    z if is_time else number,
                )
            elif entry.name.lower().endswith((".tif", ".tiff")):
                found.append((folder / entry.name, t, z))
    return found


def _scene(well: str, site: str) -> str:
    return f"{well.upper()}/s{int(site)}"


def _plan(
    files: Sequence[tuple[Path, int, int | None]], htd: Htd, *, in_folders: bool = True
) -> FolderPlan:
    """Return where files belong; waves of the HTD name the channels."""
    named = [(*file, PATTERN.fullmatch(file[0].name)) for file in files]
    planes = []
    places: dict[str, Place] = {}
    matches = [(p, t, z, m) for p, t, z, m in named if m is not None and not m["thumb"]]
    matches.sort(key=lambda one: natural(one[0].name))
    # Projections lie beside the folders of the z steps.
    stacked = any(z is not None for _, _, z, _ in matches)
    plates = {m["plate"] or "" for _, _, _, m in matches}
    for path, t, z, found in matches:
        site = found["s"] or "1"
        scene = _scene(found["well"], site)
        if len(plates) > 1:
            scene = f"{found['plate'] or 'plate'}/{scene}"
        if stacked and z is None:
            scene += "/projection"
        plate = (found["plate"] or "") if len(plates) > 1 else ""
        places.setdefault(
            scene,
            Place(plate=plate, well=found["well"], site=f"s{int(site)}", plate_shape=htd.shape),
        )
        inside = z if z is not None else (int(found["z"]) if found["z"] else None)
        planes.append(
            Plane(
                path=path,
                channel=f"w{int(found['w'] or 1)}",
                scene=scene,
                t=t,
                z=inside or 0,
                has_t=in_folders,
                has_z=inside is not None,
            )
        )
    numbers = sorted({plane.channel for plane in planes}, key=natural)
    names = {f"w{n + 1}": wave for n, wave in enumerate(htd.waves)}
    taken = [names.get(number, number) for number in numbers]
    named_waves = {
        number: name if taken.count(name) == 1 else f"{name} ({number})"
        for number, name in zip(numbers, taken, strict=True)
    }
    return FolderPlan(
        planes=tuple(replace(plane, channel=named_waves[plane.channel]) for plane in planes),
        channels=tuple(Channel(name, modality_of(name)) for name in named_waves.values()),
        places=places,
        times=tuple(range(1, htd.times + 1)) if htd.times > 1 else (),
        depths=tuple(range(1, htd.depths + 1)) if htd.depths > 1 else (),
    )


def read_imagexpress(path: Path) -> FolderPlan:
    """Return where each file of a plate belongs.

    Parameters
    ----------
    path
        The folder of the plate, or its HTD.

    Raises
    ------
    ImageFileError
        If there are no images, or the HTD is damaged.
    """
    folder = path.parent if path.is_file() else path
    htds = [path] if path.is_file() else sorted(
        entry for entry in folder.iterdir() if entry.suffix.lower() == ".htd"
    )  # fmt: skip
    htd = read_htd(htds[0]) if htds else Htd()
    plan = _plan(_walk(folder, DEEPEST, 1, None), htd)
    if not plan.planes:
        raise ImageFileError(
            f"{str(folder)!r} holds no images that are named like 'plate_B02_s1_w1.TIF', also not "
            "in folders TimePoint_1. Copy the images of the plate beside the HTD."
        )
    return _compared(_with_promised_waves(plan, htd), htd) if htds else plan


def _with_promised_waves(plan: FolderPlan, htd: Htd) -> FolderPlan:
    """Promise every wave that some field has to all fields of the same kind."""
    by_scene: dict[str, list[Plane]] = defaultdict(list)
    for plane in plan.planes:
        by_scene[plane.scene].append(plane)
    promised = []
    names = [channel.name for channel in plan.channels]
    for scene, planes in by_scene.items():
        lost = set(names) - {plane.channel for plane in planes}
        if scene.endswith("/projection"):
            continue  # not every wave is projected
        places = {(plane.t, plane.z): plane for plane in planes}
        promised += [
            replace(plane, path=None, channel=name)
            for name in names
            if name in lost
            for plane in places.values()
        ]
    return replace(plan, planes=(*plan.planes, *promised))


def _compared(plan: FolderPlan, htd: Htd) -> FolderPlan:
    """Say where the HTD and the files contradict each other."""
    said = []
    wells = {place.well for place in plan.places.values()}
    if htd.wells and wells - htd.wells:
        said.append(f"wells {', '.join(sorted(wells - htd.wells)[:5])} that it does not select")
    for what, planned, found in (
        ("wavelengths", len(htd.waves), len(plan.channels)),
        ("sites", htd.sites, max(int(place.site[1:]) for place in plan.places.values())),
        ("time points", htd.times, max(plane.t for plane in plan.planes)),
        ("z steps", htd.depths, max(plane.z for plane in plan.planes)),
    ):
        if found > planned:
            said.append(f"{found} {what} where it plans {planned}")
    lost = len(htd.wells - wells)
    if lost:
        plan = plan.with_guess(
            f"{lost} of the {len(htd.wells)} wells that the HTD selects have no images."
        )
    if len(htd.waves) > len(plan.channels):
        plan = plan.with_guess(
            f"The HTD plans {len(htd.waves)} wavelengths ({', '.join(htd.waves)}), the files have "
            f"{len(plan.channels)}."
        )
    if not said:
        return plan
    return plan.with_guess(
        f"The HTD contradicts the files, which have {' and '.join(said)}; the files were believed."
    )


def _matches(name: str) -> bool:
    found = PATTERN.fullmatch(name)
    return found is not None and bool(found["plate"] or found["guid"]) and bool(
        found["s"] or found["w"]
    )  # fmt: skip


def _plan_of_names(files: Sequence[Path]) -> FolderPlan:
    plan = _plan([(file, 1, None) for file in files], Htd(), in_folders=False)
    names = ", ".join(channel.name for channel in plan.channels)
    return plan.with_guess(
        f"The names of the files number the channels ({names}) and do not say what they are. "
        "Choose by name which one is transmitted light."
    )


IMAGEXPRESS = Layout(
    name="imagexpress-names",
    description="plate_B02_s1_w1GUID.TIF: well, site, wavelength",
    matches=_matches,
    plan=_plan_of_names,
    ignores=lambda name: (found := PATTERN.fullmatch(name)) is not None and bool(found["thumb"]),
)
