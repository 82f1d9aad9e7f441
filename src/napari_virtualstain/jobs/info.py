"""Say what is in a file, without reading its pixels."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from napari_virtualstain.errors import unknown_name
from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.io.plate import plates_of
from napari_virtualstain.jobs.base import JobSettings, PathText

__all__ = ["InfoSettings", "run", "to_text"]


class InfoSettings(JobSettings):
    """Settings of `virtualstain info`."""

    input: PathText = Field(description="image file or folder")
    axes: str | None = Field(default=None, description="axes of the file, if it does not say")
    scene: str | None = Field(default=None, description="describe this image only")
    most: int = Field(default=100, ge=1, description="images to describe; all are counted")
    pattern: str | None = Field(
        default=None,
        description="how the files of a folder are named, for example "
        "{well}_{site}_z{z}_{channel}.tif",
    )


def run(settings: InfoSettings) -> dict[str, Any]:
    """Return what is known of every image in a file or folder, as plain values.

    Raises
    ------
    VirtualStainError
        If it cannot be opened.
    """
    scenes = []
    found = list_scenes(settings.input, axes=settings.axes, pattern=settings.pattern)
    wanted = found[: settings.most]
    if settings.scene is not None:
        wanted = tuple(scene for scene in found if scene.name == settings.scene)
        if not wanted:
            raise unknown_name("image", settings.scene, [scene.name for scene in found])
    for scene in wanted:
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
                    {
                        "name": c.name,
                        "modality": c.modality,
                        "colour": c.colour,
                        "excitation_nm": c.excitation_nm,
                        "emission_nm": c.emission_nm,
                    }
                    for c in image.channels
                ],
                "guesses": list(image.guesses),
                "missing_planes": [list(place) for place in image.missing],
                "well": scene.well,
                "site": scene.site,
            }
        )
    return {
        "path": settings.input,
        "images_total": len(found),
        "images": scenes,
        "plates": [plate.to_json() for plate in plates_of(found)],
    }


def _waves(channel: dict[str, Any]) -> str:
    known = [
        f"{what} {channel[key]:g} nm"
        for what, key in (("excitation", "excitation_nm"), ("emission", "emission_nm"))
        if channel[key] is not None
    ]
    return f" ({', '.join(known)})" if known else ""


def to_text(found: dict[str, Any]) -> str:
    """Return the same for people."""
    lines = []
    for plate in found["plates"]:
        name = f" {plate['name']!r}" if plate["name"] else ""
        sites = sum(len(well["sites"]) for well in plate["wells"])
        lines.append(
            f"plate{name}: {plate['rows']} x {plate['columns']}, {len(plate['wells'])} wells and "
            f"{sites} sites with images"
        )
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
        lines += [f"  channel {c['name']!r}: {c['modality']}{_waves(c)}" for c in scene["channels"]]
        lines += [f"  please confirm: {guess}" for guess in scene["guesses"]]
        if scene["missing_planes"]:
            t, c, z = scene["shape_tczyx"][:3]
            lines.append(f"  missing: {len(scene['missing_planes'])} of {t * c * z} planes")
    more = found["images_total"] - len(found["images"])
    if more:
        lines.append(f"and {more} more images; choose one with --scene, or see more with --most")
    return "\n".join(lines)
