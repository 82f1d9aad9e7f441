"""What a denoised store says of itself, and whether it was begun by the same run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs.base import versions
from napari_virtualstain.jobs.run_record import describe_input, other_input, refuse_to_go_on

if TYPE_CHECKING:
    from napari_virtualstain.denoising.package import DenoiserModel
    from napari_virtualstain.inference.planner import RunPlan
    from napari_virtualstain.jobs.denoise import DenoiseSettings

__all__ = ["check_same", "denoised_name", "describe_denoising", "is_denoised"]

_SAID = " (denoised)"


def denoised_name(channel: str) -> str:
    """Return what a denoised channel is called, so that nobody takes it for a measured one.

    Examples
    --------
    >>> denoised_name("DNA")
    'DNA (denoised)'
    """
    return channel + _SAID


def is_denoised(path: str, channel: str) -> bool:
    """Return whether a channel was denoised here: its store says so, or it is still called so.

    Parameters
    ----------
    path
        Of its image.
    channel
        Name of the channel, which an exported copy keeps.
    """
    if channel.endswith(_SAID):
        return True
    try:
        return bool(read_record(path)["record"].get("job") == "denoise")
    except VirtualStainError:
        return False


def describe_denoising(
    settings: DenoiseSettings,
    image: LazyImage,
    noisy: LazyImage,
    model: DenoiserModel,
    plan: RunPlan,
    *,
    device: str,
) -> dict[str, Any]:
    """Return everything needed to repeat a run and to judge it.

    Parameters
    ----------
    settings
        Of the run.
    image, noisy
        As opened, and its channel that is denoised.
    model
        What denoises it.
    plan
        In which pieces.
    device
        Where it is computed.
    """
    from napari_virtualstain.inference.device import thread_count

    channel = noisy.channel_names[0]
    kept = settings.model or settings.keep_as
    return {
        "schema_version": 1,
        "job": "denoise",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": settings.model_dump(mode="json"),
        "input": describe_input(image, channel),
        "channel": denoised_name(channel),
        "model": {
            "method": model.card.method,
            "path": None if kept is None else str(Path(kept).resolve()),
            "fingerprint": model.fingerprint,
            "weights": model.card.files["weights.safetensors"],
            "squared_error": model.card.squared_error,
            "training": model.card.training.model_dump(mode="json"),
        },
        "normalisation": model.card.normalisation.model_dump(mode="json"),
        "plan": {"words": plan.describe(), **plan.to_json()},
        "seed": settings.seed,
        "device": device,
        "threads": thread_count(),
        "versions": versions(),
    }


def check_same(out: Path, state: dict[str, Any], now: dict[str, Any]) -> None:
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
    if before.get("job") != "denoise" or before.get("schema_version") != now["schema_version"]:
        return "no denoising of this version began it"
    if (why := other_input(before, now)) is not None:
        return why
    if now["channel"] != before["channel"]:
        return "it was begun with another --channel"
    if now["model"]["weights"] != before["model"]["weights"]:
        return "it was begun with another denoiser"
    if now["settings"]["tile"] not in (None, before["settings"]["tile"]):
        return "it was begun with another --tile"
    return None
