"""Say what is in a file, without reading its pixels."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from napari_virtualstain.errors import VirtualStainError, unknown_name
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.io.plate import Plate, plates_of
from napari_virtualstain.io.scene import Scene, listed
from napari_virtualstain.jobs.base import JobSettings, PathText
from napari_virtualstain.words import plural

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
    found = list_scenes(settings.input, axes=settings.axes, pattern=settings.pattern)
    wanted = found[: settings.most]
    if settings.scene is not None:
        wanted = tuple(scene for scene in found if scene.name == settings.scene)
        if not wanted:
            raise unknown_name("image", settings.scene, [scene.name for scene in found])
    images, unopened = [], []
    names = {s.name: [c.name for c in s.announced] for s in found if s.announced is not None}
    for scene in wanted:
        try:
            image = open_image(scene.open())  # not by name: a plate would be listed for each field
        except VirtualStainError as error:
            if len(wanted) == 1:
                raise
            unopened.append({"name": scene.name, "sentence": str(error)})
            continue
        names.setdefault(scene.name, list(image.channel_names))
        images.append(_described(scene, image))
    if not images:  # of many, the first says it
        wanted[0].open()
    return {
        "path": settings.input,
        "images_total": len(found),
        "images": images,
        "unopened": unopened,
        "plates": [
            plate.to_json() | {"channels_lacking": _lacking(plate, names)}
            for plate in plates_of(found)
        ],
    }


def _described(scene: Scene, image: LazyImage) -> dict[str, Any]:
    size = image.pixel_size_um
    return {
        "name": scene.name,
        "kind": image.source.kind,
        "axes": image.axes,
        "shape_tczyx": list(image.shape),
        "dtype": str(image.dtype),
        "bytes": image.nbytes,
        "pixel_size_um": {"z": size.z, "y": size.y, "x": size.x},
        "z_positions_um": None if image.z_positions_um is None else list(image.z_positions_um),
        "na": image.na,
        "time_interval_s": image.time_interval_s,
        "channels": [
            {
                "name": c.name,
                "modality": c.modality,
                "colour": c.colour,
                "z_offset_um": c.z_offset_um,
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


def _lacking(plate: Plate, names: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return, by channel, the sites of a plate that lack it while most others have it.

    Parameters
    ----------
    plate
        All of whose images count, those of a site together.
    names
        Channels by scene, as far as they are known.
    """
    have: dict[str, set[str]] = {}
    sites = []
    for well in plate.wells:
        for site in well.sites:
            name = f"{well.name}/{site.name}".rstrip("/")
            known = [names[scene] for scene in site.scenes if scene in names]
            if len(known) == len(site.scenes):
                sites.append(name)
                for channel in (c for members in known for c in members):
                    have.setdefault(channel, set()).add(name)
    return {
        channel: [site for site in sites if site not in there]
        for channel, there in have.items()
        if len(sites) / 2 < len(there) < len(sites)
    }


def _waves(channel: dict[str, Any]) -> str:
    known = [
        f"{what} {channel[key]:g} nm"
        for what, key in (("excitation", "excitation_nm"), ("emission", "emission_nm"))
        if channel[key] is not None
    ]
    if channel["z_offset_um"]:
        known.append(f"{channel['z_offset_um']:+g} µm along z")
    return f" ({', '.join(known)})" if known else ""


def to_text(found: dict[str, Any]) -> str:
    """Return the same for people."""
    lines = []
    for plate in found["plates"]:
        name = f" {plate['name']!r}" if plate["name"] else ""
        sites = sum(len(well["sites"]) for well in plate["wells"])
        lines.append(
            f"plate{name}: {plate['rows']} x {plate['columns']}, "
            f"{plural(len(plate['wells']), 'well')} and {plural(sites, 'site')} with images"
        )
        for channel, lacking in plate["channels_lacking"].items():
            do = "site lacks" if len(lacking) == 1 else "sites lack"
            lines.append(
                f"  {len(lacking)} of {sites} {do} the channel {channel!r}: {listed(lacking)}"
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
        if scene["z_positions_um"]:
            heights = [f"{height:g}" for height in scene["z_positions_um"]]
            lines.append(f"  heights of the z planes in µm: {listed(heights)}")
        if scene["na"] is not None:
            lines.append(f"  numerical aperture: {scene['na']:g}")
        lines += [f"  channel {c['name']!r}: {c['modality']}{_waves(c)}" for c in scene["channels"]]
        lines += [f"  please confirm: {guess}" for guess in scene["guesses"]]
        if scene["missing_planes"]:
            t, c, z = scene["shape_tczyx"][:3]
            lines.append(f"  missing: {len(scene['missing_planes'])} of {t * c * z} planes")
    lines += [f"image {one['name']!r}: {one['sentence']}" for one in found["unopened"]]
    more = found["images_total"] - len(found["images"]) - len(found["unopened"])
    if more:
        images = plural(more, "more image")
        lines.append(f"and {images}; choose one with --scene, or see more with --most")
    return "\n".join(lines)
