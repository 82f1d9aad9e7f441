"""What a user wants whenever the dock opens: napari's own preferences, the part of this plugin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from napari_virtualstain.widgets._run_form import RunForm

__all__ = ["Preferences", "prefer", "read_preferences"]

_PLUGIN = "napari-virtualstain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """As *File > Preferences > Virtual staining* has them.

    Parameters
    ----------
    model
        Name or folder of the model that is chosen first.
    device
        ``"auto"``, or where networks run: ``"cpu"``, ``"cuda"``, ``"mps"``.
    memory_gb
        What a stain may take; 0 for half of what is free.
    scheduler
        Address of the dask scheduler that computes; empty for this computer.
    keys
        Whether keys of this plugin work in the viewer.
    """

    model: str = "demo"
    device: str = "auto"
    memory_gb: float = 0.0
    scheduler: str = ""
    keys: bool = True

    def form(self) -> dict[str, Any]:
        """Return what goes into the form of a run."""
        wanted: dict[str, Any] = {
            "model": self.model.strip() or "demo", "device": self.device,
        }  # fmt: skip
        if self.memory_gb > 0:
            wanted["memory"] = self.memory_gb
        return wanted


def read_preferences() -> Preferences:
    """Return what napari keeps for this plugin; the defaults where the plugin is not registered."""
    from napari.settings import get_plugin_settings

    try:
        kept: Any = get_plugin_settings(_PLUGIN)
    except KeyError:  # the dock was made by a script, without napari's plugins
        return Preferences()
    return Preferences(
        **{f.name: getattr(kept.virtual_staining, f.name) for f in fields(Preferences)}
    )


def prefer(wanted: Preferences, forms: Iterable[RunForm]) -> None:
    """Fill the forms of runs; what the user changes there is theirs."""
    for form in forms:
        form.show_values(wanted.form())
        if wanted.scheduler.strip():
            form.compute.setCurrentText(wanted.scheduler.strip())
