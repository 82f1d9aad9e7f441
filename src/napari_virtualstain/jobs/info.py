"""Say what is in a file, without reading its pixels."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.jobs.base import JobSettings, PathText

__all__ = ["InfoSettings", "run", "to_text"]


class InfoSettings(JobSettings):
    """Settings of `virtualstain info`."""

    input: PathText = Field(description="image file or folder")
    axes: str | None = Field(default=None, description="axes of the file, if it does not say")


def run(settings: InfoSettings) -> dict[str, Any]:
    """Return what is known of every image in a file or folder, as plain values.

    Raises
    ------
    VirtualStainError
        If it cannot be opened.
    """
    scenes = []
    for scene in list_scenes(settings.input, axes=settings.axes):
        image = open_image(scene.open())  # not by its name: a plate would be listed for each field
        size = image.pixel_size_um
        scenes.append(
            {
                "name": scene.name,
                "kind": image.source.kind,
                "axes": image.axes,
                "shape_tczyx": list(image.shape),
                "dtype": str(image.dtype),
                "bytes": image.nbytes,
                "pixel_size_um": {"z": size.z, "y": size.y, "x": size.x},
                "time_interval_s": image.time_interval_s,
                "channels": [
                    {"name": c.name, "modality": c.modality, "colour": c.colour}
                    for c in image.channels
                ],
                "guesses": list(image.guesses),
            }
        )
    return {"path": settings.input, "images": scenes}


def to_text(found: dict[str, Any]) -> str:
    """Return the same for people."""
    lines = []
    for scene in found["images"]:
        size = scene["pixel_size_um"]
        shape = ", ".join(
            f"{letter} {n}" for letter, n in zip("TCZYX", scene["shape_tczyx"], strict=True)
        )
        name = f" {scene['name']!r}" if scene["name"] else ""
        known = [f"{axis} {size[axis]:g}" for axis in "zyx" if size[axis] is not None]
        lines.append(f"image{name} ({scene['kind']}): {shape}, {scene['dtype']}")
        lines.append(f"  axes in the file: {scene['axes']}")
        lines.append(f"  pixel size in µm: {', '.join(known) or 'not stated'}")
        lines += [f"  channel {c['name']!r}: {c['modality']}" for c in scene["channels"]]
        lines += [f"  please confirm: {guess}" for guess in scene["guesses"]]
    return "\n".join(lines)
