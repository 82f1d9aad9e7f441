"""What a denoised store says of itself, and whether it was begun by the same run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.remote import absolute
from napari_virtualstain.jobs.base import versions

if TYPE_CHECKING:
    from napari_virtualstain.denoising.package import DenoiserModel
    from napari_virtualstain.inference.planner import RunPlan
    from napari_virtualstain.jobs.denoise import DenoiseSettings

__all__ = ["check_same", "denoised_name", "describe_denoising"]


def denoised_name(channel: str) -> str:
    """Return what a denoised channel is called, so that nobody takes it for a measured one.

    Examples
    --------
    >>> denoised_name("DNA")
    'DNA (denoised)'
    """
    return f"{channel} (denoised)"


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

    path, channel = image.source.path, noisy.channel_names[0]
    return {
        "schema_version": 1,
        "job": "denoise",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": settings.model_dump(mode="json"),
        "input": {
            "kind": image.source.kind,
            "scene": image.source.scene,
            "identity": image.source.identity(),
            "axes": image.axes,
            "shape_tczyx": list(image.shape),
            "channel": channel,
            "path": None if path is None else absolute(path),
        },
        "channel": denoised_name(channel),
        "model": {
            "method": model.card.method,
            "path": None if settings.model is None else str(Path(settings.model).resolve()),
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
    before = state["record"]
    if before.get("job") != "denoise" or before.get("schema_version") != now["schema_version"]:
        why = "no denoising of this version began it"
    elif now["input"]["identity"] is None or before["input"]["identity"] is None:
        why = "its input is an array in memory, of which nobody can tell whether it is the same"
    elif now["input"]["identity"] != before["input"]["identity"]:
        why = "it was begun from another input, or the input has changed since"
    elif now["channel"] != before["channel"]:
        why = "it was begun with another --channel"
    elif now["model"]["weights"] != before["model"]["weights"]:
        why = "it was begun with another denoiser"
    elif now["settings"]["tile"] not in (None, before["settings"]["tile"]):
        why = "it was begun with another --tile"
    else:
        return
    raise SettingsError(
        f"{str(out)!r} cannot be gone on with: {why}. Choose another --out, or replace the store "
        "by --overwrite instead of --resume."
    )
