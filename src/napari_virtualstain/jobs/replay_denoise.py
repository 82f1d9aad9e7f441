"""How is a denoising repeated? With the denoiser of the run, or one that is taught again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_virtualstain.errors import ReplayError, VirtualStainError
from napari_virtualstain.io.model_files import DENOISES, ModelFiles
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import denoise
from napari_virtualstain.jobs.base import Progress, make_settings
from napari_virtualstain.jobs.replay_needs import Note, check_input, computing_as, input_of

__all__ = ["repeat_denoising"]


def repeat_denoising(
    state: dict[str, Any], out: Path, overwrite: bool, on_progress: Progress | None, note: Note
) -> None:
    """Write the store of a denoising again.

    A denoiser that was kept is used as it is; one that was not is taught again, as many steps with
    the same seed, which on a processor gives the same weights. It is then not kept.

    Parameters
    ----------
    state
        See `io.record.read_record`.
    out
        Store to write.
    overwrite
        Replace one that is there.
    on_progress
        Told of what the run tells of.
    note
        Told what is not as it was.

    Raises
    ------
    ReplayError
        If the run was given a denoiser that is not the same any more, or an array.
    VirtualStainError
        If the input is gone, or the output cannot be written.
    """
    record = state["record"]
    typed, taught = record["settings"], record["model"]
    kept = _kept(record)
    typed = dict(typed)
    if "keep" in typed:  # its name at first
        typed["keep_as"] = typed.pop("keep")
    values = {
        **typed, "input": input_of(record), "out": str(out), "overwrite": overwrite,
        "resume": False, "preview": None, "keep_as": None, "model": kept,
    }  # fmt: skip
    if kept is None:  # a time budget would come to another number of steps
        values |= {"steps": taught["training"]["steps"], "budget": None}
    else:
        values["learn_from"] = None
    settings = make_settings(denoise.DenoiseSettings, values)
    check_input(settings, record, note)
    with computing_as(record.get("device"), record.get("threads"), note) as device:
        again = settings.model_copy(update={"device": device})
        denoise.run(again, plan=record.get("plan"), on_progress=on_progress)
    if read_record(out)["record"]["model"]["weights"] != taught["weights"]:
        note(
            "the denoiser of the run was not kept, and teaching it again gave other weights: "
            "--keep-as keeps one"
        )


def _kept(record: dict[str, Any]) -> str | None:
    """Return where the denoiser of a run is; `None` if it has to be taught again."""
    place, given = record["model"]["path"], record["settings"]["model"] is not None
    if place is None:
        return None
    try:
        same = ModelFiles(place, card=DENOISES).fingerprint == record["model"]["fingerprint"]
    except VirtualStainError:
        if given:
            raise
        return None
    if not same and given:
        raise ReplayError(
            f"The denoiser {place!r} is not the one of the run: its fingerprint is another. Put "
            "the denoiser of the run back, or denoise the input anew."
        )
    return str(place) if same else None
