"""What a viewer shows, as a project keeps it; and the layers that show it again.

A layer is kept by where it came from: an image of the project or the result of a
run. Layers in memory, and results that go when the viewer closes, are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtualstain.datasets.project import Project
from napari_virtualstain.datasets.project_entries import InputEntry, RunEntry, View
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.jobs.project import note_stain
from napari_virtualstain.napari_io.layers import LayerData
from napari_virtualstain.napari_io.reader import open_layers
from napari_virtualstain.napari_io.source import LayerSource, source_of, tagged

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["Reopened", "apply_camera", "reopen", "view_of"]

_LOOKS = ("visible", "opacity", "gamma", "blending")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened:
    """What a project shows.

    Parameters
    ----------
    layers
        To add, in order.
    lost
        Sentences, one for each image that cannot be opened.
    unseen
        What the view says of their layers: kept, since a disk that is away today is back tomorrow.
    """

    layers: tuple[LayerData, ...]
    lost: tuple[str, ...]
    unseen: tuple[dict[str, Any], ...] = ()


def view_of(
    viewer: napari.Viewer,
    project: Project,
    *,
    page: str,
    forms: Mapping[str, Mapping[str, Any]],
    passing: Callable[[str], bool],
    unseen: tuple[dict[str, Any], ...] = (),
) -> View:
    """Return what a viewer shows, and add the images of its layers to the project.

    Parameters
    ----------
    viewer
        With any layers.
    project
        To add to.
    page
        Of the dock.
    forms
        Settings that stand in forms, by page.
    passing
        Whether what lies at a path goes with the session.
    unseen
        Layers of the last view that could not be shown.
    """
    layers = [
        (layer, source)
        for layer in viewer.layers
        if (source := source_of(layer)) is not None
        and source.path is not None
        and not passing(source.path)
    ]
    entries = _entries([source for _, source in layers], project)
    camera = viewer.scene.camera
    return View(
        page=page,
        layers=tuple(
            {**entries[_image_of(source)], "channel": source.channel, **_look_of(layer)}
            for layer, source in layers
            if _image_of(source) in entries
        )
        + unseen,
        camera={"center": [float(v) for v in camera.center], "zoom": float(camera.zoom)},
        step=tuple(int(n) for n in viewer.dims.current_step),
        forms={name: dict(values) for name, values in forms.items()},
    )


_Image = tuple[str, str]


def _image_of(source: LayerSource) -> _Image:
    return (source.path or "", source.scene)


def _entries(sources: Iterable[LayerSource], project: Project) -> dict[_Image, dict[str, str]]:
    """Return the entry of each image, which is added or said more of where it is an input."""
    together: dict[_Image, list[LayerSource]] = {}
    for source in sources:
        together.setdefault(_image_of(source), []).append(source)
    runs = {project.path_of(run.out): run for run in project.runs}
    known = {(project.path_of(entry.place), entry.scene): entry for entry in project.inputs}
    found: dict[_Image, dict[str, str]] = {}
    for (path, scene), mine in together.items():
        if any(source.role == "prediction" for source in mine):
            try:
                run = runs.get(path) or note_stain(project, path)
            except VirtualStainError:
                continue  # a result that is being written has no record yet
            found[path, scene] = {"run": run.id}
            continue
        first = mine[0]
        stated = first.pixel_size_um[1] if first.pixel_size_stated else None
        said: dict[str, Any] = {
            "axes": first.axes,
            "pattern": first.pattern,
            "pixel_size_um": stated,
            "roles": {s.channel: s.role for s in mine if s.role != "other"},
            "stains": {s.channel: s.stain for s in mine if s.stain and s.stain != s.channel},
        }
        entry = known.get((path, scene))
        if entry is None or any(getattr(entry, name) != value for name, value in said.items()):
            entry = project.add_input(path, scene=scene, **said)
        found[path, scene] = {"input": entry.id}
    return found


def _look_of(layer: Image) -> dict[str, Any]:
    return {
        **{name: _plain(getattr(layer, name)) for name in _LOOKS},
        "contrast_limits": [float(v) for v in layer.contrast_limits],
        "colormap": str(layer.colormap.name),
        "confirmed": bool(source.confirmed) if (source := source_of(layer)) else False,
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


def reopen(project: Project) -> Reopened:
    """Return the layers that a project showed, for `napari.layers.Layer.create`; opens files.

    Parameters
    ----------
    project
        Whose view and entries say which.
    """
    view, lost = project.view, list(project.damaged)
    inputs = {entry.id: entry for entry in project.inputs}
    runs = {entry.id: entry for entry in project.runs}
    opened: dict[str, dict[str, LayerData]] = {}
    layers: list[LayerData] = []
    unseen: list[dict[str, Any]] = []
    for shown in view.layers:
        name = str(shown.get("input") or shown.get("run") or "")
        entry = inputs.get(name) or runs.get(name)
        if entry is None:
            continue
        if name not in opened:
            try:
                opened[name] = _open(project, entry)
            except (VirtualStainError, OSError) as error:
                opened[name] = {}
                lost.append(str(error))
        layer = opened[name].get(str(shown.get("channel", "")))
        if layer is not None:
            layers.append(_as_shown(layer, shown, entry))
        elif not opened[name]:
            unseen.append(shown)
    return Reopened(layers=tuple(layers), lost=tuple(lost), unseen=tuple(unseen))


def _open(project: Project, entry: InputEntry | RunEntry) -> dict[str, LayerData]:
    """Return the layers of an image by the names of their channels."""
    if isinstance(entry, RunEntry):
        found = open_layers(project.path_of(entry.out))
    else:
        found = open_layers(
            project.path_of(entry.place),
            scene=entry.scene or None,
            axes=entry.axes,
            pattern=entry.pattern,
            pixel_size_um=entry.pixel_size_um,
        )
    return {
        source.channel: layer
        for layer in found
        if (source := source_of(layer[1].get("metadata") or {})) is not None
    }


def _as_shown(
    layer: LayerData, shown: Mapping[str, Any], entry: InputEntry | RunEntry
) -> LayerData:
    """Return a layer in the looks and the role that it had."""
    data, keywords, kind = layer
    changed: dict[str, Any] = {name: shown[name] for name in _LOOKS if name in shown}
    limits = shown.get("contrast_limits")
    if isinstance(limits, list) and len(limits) == 2 and limits[0] < limits[1]:
        changed["contrast_limits"] = tuple(limits)
    if shown.get("colormap") in _colormaps():
        changed["colormap"] = shown["colormap"]
    source = source_of(keywords["metadata"])
    if source is not None:
        if isinstance(entry, InputEntry):
            role: Any = entry.roles.get(source.channel, "other")
            source = source.with_role(role, entry.stains.get(source.channel, ""))
        if shown.get("confirmed"):
            source = source.as_confirmed()
        changed["metadata"] = tagged(keywords["metadata"], source)
    return (data, {**keywords, **changed}, kind)


def _colormaps() -> frozenset[str]:
    from napari.utils.colormaps import AVAILABLE_COLORMAPS

    return frozenset(AVAILABLE_COLORMAPS)


def apply_camera(viewer: napari.Viewer, view: View) -> None:
    """Look again where the user looked, as far as the axes are the same.

    Parameters
    ----------
    viewer
        With the layers of the view.
    view
        Of a project.
    """
    for axis, step in enumerate(view.step[: viewer.dims.ndim]):
        viewer.dims.set_current_step(axis, step)
    center, zoom = view.camera.get("center"), view.camera.get("zoom")
    if isinstance(center, list) and len(center) == 3 and np.isfinite(center).all():
        viewer.scene.camera.center = tuple(float(v) for v in center)
    if isinstance(zoom, int | float) and zoom > 0:
        viewer.scene.camera.zoom = float(zoom)
