"""Which images a viewer shows, whatever number of layers each of them has.

A field is what the widgets offer to choose: the channels of one image on disk
together, or a layer that somebody else added, alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.napari_io.layers import LayerData
from napari_virtualstain.napari_io.source import LayerSource, Role, source_of

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["Field", "alike", "field_of", "fields_in", "path_name", "picture_of"]

_LOOKS = ("contrast_limits", "gamma", "colormap", "opacity", "visible", "blending")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """One image of a viewer.

    Parameters
    ----------
    name
        For people: file name and scene, or the name of the layer.
    path, scene, axes, pattern
        As in `LayerSource`; the path is `None` for a layer of somebody else.
    layers
        Its layers with where they came from, `None` for a layer of somebody else.
    """

    name: str
    path: str | None
    scene: str
    axes: str | None
    layers: tuple[tuple[Image, LayerSource | None], ...]
    pattern: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """By which the field is found again after the layers have changed."""
        if self.path is None:
            return ("layer", str(id(self.layers[0][0])))
        return (self.path, self.scene)

    def with_role(self, role: Role) -> tuple[tuple[Image, LayerSource], ...]:
        """Return the layers that play a role."""
        return tuple((layer, s) for layer, s in self.layers if s is not None and s.role == role)

    @property
    def brightfield(self) -> Image | None:
        """The layer that would be stained: the first bright field, or a layer from elsewhere."""
        layer, source = self.layers[0]
        if source is None:
            return layer
        found = self.with_role("brightfield")
        return found[0][0] if found else None

    @property
    def is_derived(self) -> bool:
        """Whether we have made it of others to be looked at: a difference, a crop."""
        _, source = self.layers[0]
        made = source is not None and source.role == "other" and not source.channel
        return self.path is None and made

    @property
    def can_be_stained(self) -> bool:
        """Whether there is bright field that no run of ours has made a stain of already."""
        return self.brightfield is not None and not self.predicted

    @property
    def true_channels(self) -> dict[str, str]:
        """Names of its true channels, as a job finds them, by the name of the stain."""
        # A layer in memory is written under the name that it has.
        return {
            s.stain: layer.name if self.path is None else s.channel
            for layer, s in self.with_role("truth")
        }

    @property
    def has_times(self) -> bool:
        """Whether it has an axis of time points."""
        return "t" in list(self.layers[0][0].axis_labels)[:-2]

    @property
    def stains(self) -> dict[str, Image]:
        """Truth or prediction by the name of the stain."""
        return {
            s.stain: layer
            for layer, s in self.layers
            if s is not None and s.role in ("truth", "prediction")
        }

    @property
    def predicted(self) -> bool:
        """Whether a run of ours made it."""
        return bool(self.with_role("prediction"))

    @property
    def open_guesses(self) -> tuple[str, ...]:
        """What the reader guessed and nobody has confirmed."""
        said: dict[str, None] = {}
        for _, source in self.layers:
            said.update(dict.fromkeys(() if source is None else source.open_guesses))
        return tuple(said)


def fields_in(layers: Iterable[Image]) -> tuple[Field, ...]:
    """Return the images that layers show, in the order in which they were added."""
    from napari.layers import Image

    grouped: dict[tuple[str, str], list[tuple[Image, LayerSource | None]]] = {}
    for layer in layers:
        if not isinstance(layer, Image):
            continue
        source = source_of(layer)
        alone = source is None or source.path is None
        key = (
            ("layer", str(id(layer)))
            if alone or source is None
            else (source.path or "", source.scene)
        )
        grouped.setdefault(key, []).append((layer, source))
    return tuple(_field(members) for members in grouped.values())


def field_of(layer: Image, fields: Iterable[Field]) -> Field | None:
    """Return the image that a layer belongs to."""
    return next((f for f in fields if any(one is layer for one, _ in f.layers)), None)


def picture_of(field: Field) -> dict[str, Any]:
    """Return the settings by which a job opens what is stained of an image, as the user has it."""
    layer = field.brightfield
    source = None if layer is None else source_of(layer)
    candidates = [one for _, one in field.with_role("brightfield")]
    found: dict[str, Any] = {
        "input": field.path,
        "scene": field.scene or None,
        "axes": field.axes,
        "pattern": field.pattern,
        # Of several the model's own kind is taken, or the job asks.
        "channel": candidates[0].channel if len(candidates) == 1 and field.path else None,
    }
    if source is not None and source.pixel_size_stated:
        found["pixel_size"] = source.pixel_size_um[1]
    return {key: value for key, value in found.items() if value is not None}


def path_name(path: str) -> str:
    """Return a path for people, without what every file ends in.

    Examples
    --------
    >>> path_name("/data/field_1/brightfield.ome.zarr")
    'field_1/brightfield'
    """
    stem = Path(path).name
    for suffix in (".zarr", ".ome", ".tif", ".tiff", ".ome"):
        stem = stem.removesuffix(suffix)
    # "brightfield.ome.zarr" says little without the folder that it lies in.
    parent = Path(path).parent.name
    return f"{parent}/{stem}" if parent else stem


def _field(members: list[tuple[Image, LayerSource | None]]) -> Field:
    layer, source = members[0]
    if source is None or source.path is None:
        return Field(name=layer.name, path=None, scene="", axes=None, layers=tuple(members))
    if source.title:
        return Field(
            name=source.title,
            path=source.path,
            scene=source.scene,
            axes=source.axes,
            pattern=source.pattern,
            layers=tuple(members),
        )
    return Field(
        name=f"{path_name(source.path)} {source.scene}".strip(),
        path=source.path,
        scene=source.scene,
        axes=source.axes,
        pattern=source.pattern,
        layers=tuple(members),
    )


def alike(layers: Sequence[LayerData], field: Field) -> list[LayerData]:
    """Return layers that look as those of a field do, channel by channel.

    Brightness has to stay where fields of a plate are to be compared.

    Parameters
    ----------
    layers
        Of another image with channels of the same names.
    field
        That is shown now.
    """
    shown = {source.channel: layer for layer, source in field.layers if source is not None}
    changed: list[LayerData] = []
    for data, keywords, kind in layers:
        source = source_of(keywords.get("metadata") or {})
        old = None if source is None else shown.get(source.channel)
        if old is None:
            changed.append((data, keywords, kind))
            continue
        kept = {name: getattr(old, name) for name in _LOOKS}
        changed.append((data, {**keywords, **kept}, kind))
    return changed
