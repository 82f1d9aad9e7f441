"""What a stain writes down about itself, and whether a store was begun by the same run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.jobs.base import versions
from napari_virtualstain.jobs.prepare import PreparedStain
from napari_virtualstain.jobs.run_record import describe_input, other_input, refuse_to_go_on

if TYPE_CHECKING:
    from napari_virtualstain.jobs.stain import StainSettings

__all__ = [
    "VERSION",
    "asked_for",
    "check_same_run",
    "describe_stain",
    "go_on",
    "ranges",
    "recorded_plan_of",
    "resumed_notes",
    "runs_of",
]


VERSION = 2
"""Of the record: 1 knew tiles of one edge only."""


def describe_stain(
    settings: StainSettings,
    prepared: PreparedStain,
    inputs: Sequence[Sequence[Normalisation]],
    numbers: Sequence[int],
    *,
    threads: int,
    follows: bool = False,
    spread: dict[str, Any] | None = None,
    grey: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return everything needed to repeat a run and to judge it.

    Parameters
    ----------
    settings, prepared
        Of the run.
    inputs
        Normalisation by time point, then plane; nothing for what is not stained.
    numbers
        Tiles that are asked for, as `inference.engine.stain_tiles` numbers them.
    follows
        Whether the tiles were those that somebody looked at meanwhile.
    threads
        Of an operation on the processor, on which the last bits depend.
    spread
        Who shared the run, `None` if it was one process.
    grey
        Whose grey values were measured, `None` if those of the field itself.
    """
    device = prepared.device
    image, model = prepared.image, prepared.model
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "schema_version": VERSION,
        "job": "stain",
        "created": created,
        "settings": settings.model_dump(mode="json"),
        "input": {
            **describe_input(image, prepared.planes.image.channel_names[0]),
            "z": list(prepared.planes.z),
            "focus": _focus(prepared),
            "illumination": prepared.ready.light,
        },
        "notes": list(prepared.notes),
        "model": {
            "name": model.card.name,
            "generator": model.card.generator,
            "path": str(model.path.resolve()),
            "fingerprint": model.fingerprint,
            "licence": model.card.licence,
        },
        "normalisation": {
            "rule": model.card.input_rule.model_dump(mode="json"),
            "inputs": [[n.model_dump(mode="json") for n in row] or None for row in inputs],
            "on": grey,
            "outputs": {s.name: s.normalisation.model_dump(mode="json") for s in model.card.stains},
            "units": {s.name: s.unit for s in model.card.stains},
        },
        "plan": {
            "words": prepared.describe(),
            **prepared.run_plan.to_json(),
            "precision": prepared.network.precision,
            "statistics": prepared.statistics,
            "exact": prepared.exact,
            "resample_ratios_yx": None if prepared.ratios is None else list(prepared.ratios),
            "pixel_sizes_yx_um": {
                "image": [prepared.pixel_size_um.y, prepared.pixel_size_um.x],
                "network": [prepared.network_pixel_size_um.y, prepared.network_pixel_size_um.x],
            },
        },
        "seed": settings.seed,
        "sampling": None if prepared.sampling is None else prepared.sampling.to_json(),
        "device": device,
        "threads": threads,
        "versions": versions(),
        "runs": [
            {
                "created": created,
                "region": None if settings.region is None else list(settings.region),
                "times": list(settings.times),
                "followed": follows,
                "tiles": ranges(numbers),
                "device": device,
                "threads": threads,
                "versions": versions(),
            }
            | ({} if spread is None else {"spread": spread})
        ],
    }


def _focus(prepared: PreparedStain) -> dict[str, Any] | None:
    """Return which plane was found in focus, `None` if it was not searched."""
    best = prepared.ready.focus
    if best is None:
        return None
    return {
        "plane": best.index,
        "position": round(best.position, 3),
        "measure": best.measure,
        "direction": best.direction,
        "direction_from": best.direction_from,
        "confidence": round(best.confidence, 4),
    }


def ranges(numbers: Sequence[int]) -> list[list[int]]:
    """Return the first and last of each row of neighbours.

    Examples
    --------
    >>> ranges([5, 1, 2, 0])
    [[0, 2], [5, 5]]
    """
    if isinstance(numbers, range):
        return [[numbers.start, numbers.stop - 1]]
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def asked_for(runs: Iterable[dict[str, Any]]) -> int:
    """Return how many tiles were asked for in any of several runs."""
    tiles = sorted((first, last) for run in runs for first, last in run["tiles"])
    count, end = 0, -1
    for first, last in tiles:
        count += max(0, last - max(first - 1, end))
        end = max(end, last)
    return count


def runs_of(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the runs that wrote a store; those of the first version did not list them."""
    record = state["record"]
    whole = {
        "created": record.get("created"),
        "region": None,
        "times": [],
        "tiles": [[0, state["tiles_total"] - 1]],
        "device": record.get("device"),
        "threads": record.get("threads"),
        "versions": record.get("versions", {}),
    }
    return list(record.get("runs") or [whole])


def go_on(state: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return what changes in the record of a store when another run goes on with it."""
    before = state["record"]["normalisation"]
    inputs = [
        mine or theirs
        for mine, theirs in zip(now["normalisation"]["inputs"], before["inputs"], strict=True)
    ]
    return {
        "normalisation": {**before, "inputs": inputs},
        "runs": [*runs_of(state), *now["runs"]],
    }


def resumed_notes(state: dict[str, Any] | None, record: dict[str, Any]) -> list[str]:
    """Say what is special about going on with a store: what was computed otherwise before."""
    if state is None:
        return []
    if state["status"] == "complete":
        return ["the output is complete already: nothing was left to do"]
    before = state["record"]
    found = {
        name: (before.get(name), record[name])
        for name in ("device", "threads")
        if before.get(name) != record[name]
    }
    torch = tuple(r.get("versions", {}).get("torch") for r in (before, record))
    if len(set(torch)) > 1:
        found["torch"] = torch
    words = [f"{name} {old} before, {new} now" for name, (old, new) in found.items()]
    return [f"the last digits of old and new tiles may differ: {', '.join(words)}"] * bool(words)


def recorded_plan_of(state: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the plan of a store that is gone on with, if it was begun by this version."""
    record = {} if state is None else state["record"]
    return record.get("plan") if record.get("schema_version") == VERSION else None


def check_same_run(out: Path, state: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with a store that was begun otherwise.

    Parameters
    ----------
    out
        The store.
    state
        See `io.record.read_record`.
    now
        Record of the run that wants to go on.

    Raises
    ------
    SettingsError
        If so.
    """
    refuse_to_go_on(out, _difference(state["record"], now))


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    if before.get("job") != "stain" or before.get("schema_version") != now["schema_version"]:
        return "no stain of this version began it"
    if (why := other_input(before, now)) is not None:
        return why
    mine, theirs = now["input"], before["input"]
    parts = ("shape_tczyx", "channel", "z")
    if [mine[part] for part in parts] != [theirs[part] for part in parts]:
        return "it was begun with another channel or other z planes"
    mine, theirs = ((found.get("illumination") or {}) for found in (mine, theirs))
    if mine.get("fingerprint") != theirs.get("fingerprint"):
        return "it was begun with another --illumination"
    if now["model"]["fingerprint"] != before["model"]["fingerprint"]:
        return "it was begun with another model"
    tiles = ("core", "halo", "multiple_of", "mode", "axis", "band", "resample_ratios_yx")
    wanted, had = now["settings"], before["settings"]
    for option in ("mode", "tile", "precision", "statistics", "stitch", "dtype"):
        # What is left to choose is chosen as it was.
        if wanted[option] != had[option] and wanted[option] not in (None, "auto"):
            return f"it was begun with another --{option}"
    if [now["plan"][part] for part in tiles] != [before["plan"][part] for part in tiles]:
        return "it was begun with another --tile, --pixel-size or --resample"
    if now["plan"]["precision"] != before["plan"]["precision"]:
        return "it was begun with another --precision"
    if now["settings"]["pixel_size"] != before["settings"]["pixel_size"]:
        return "it was begun with another --pixel-size"
    if now["seed"] != before["seed"]:
        return "it was begun with another --seed"
    if now["settings"]["normalise_on"] != before["settings"].get("normalise_on", "field"):
        return "it was begun with another --normalise-on"
    if now["settings"]["quantiles"] != before["settings"].get("quantiles", []):
        return "it was begun with other --quantiles"
    if now["settings"]["views"] != before["settings"].get("views", 1):
        return "it was begun with other --views"
    if now["settings"]["interval"] != before["settings"].get("interval", False):
        return "it was begun with --interval, or without it as this is not"
    if now["sampling"] != before.get("sampling"):
        return "its stains were drawn otherwise (--sampler, --sampling-steps, --draws, --told)"
    mine, theirs = now["normalisation"], before["normalisation"]
    rows = zip(mine["inputs"], theirs["inputs"], strict=True)
    if (
        any(a != b for a, b in rows if a is not None and b is not None)
        or mine["rule"] != theirs["rule"]
        or mine["outputs"] != theirs["outputs"]
    ):
        return "it was begun with another normalisation"
    return None
