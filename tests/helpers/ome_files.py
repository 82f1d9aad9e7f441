"""OME-TIFFs whose images are spread over files, as acquisition programs write them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
SCHEMA = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


def uuid_of(n: int) -> str:
    return f"urn:uuid:00000000-0000-0000-0000-{n:012d}"


def write_set(
    path: Path,
    images: Mapping[str, np.ndarray],
    *,
    channels: tuple[str, ...] = ("TL Brightfield", "DAPI"),
    names: Mapping[int, str] | None = None,
    numbered: bool = True,
) -> list[Path]:
    """Write images (T, C, Z, Y, X), one file a channel and image, and return the files.

    Parameters
    ----------
    path
        The first file, which holds the metadata, as all others do; a path that ends in
        ``.companion.ome`` holds them alone, and is named by the others.
    images
        By name.
    channels
        Their names.
    names
        What the metadata call a file, by number, where it is not its name.
    numbered
        Whether each file tells at its root which one it is.
    """
    alone = path.name.endswith(".companion.ome")
    stem = path.name.removesuffix(".ome.tif").removesuffix(".ome")
    parts = [(name, c) for name, whole in images.items() for c in range(whole.shape[1])]
    files = [
        path.with_name(f"{stem}.ome.{n}.tif" if not alone else f"{stem}.{n}.tif")
        if n or alone else path
        for n in range(len(parts))
    ]  # fmt: skip
    called = {n: file.name for n, file in enumerate(files)} | dict(names or {})
    body = ""
    for i, (name, whole) in enumerate(images.items()):
        n_t, n_c, n_z, height, width = whole.shape
        body += (
            f'<Image ID="Image:{i}" Name="{name}"><Pixels ID="Pixels:{i}" DimensionOrder="XYZTC" '
            f'Type="{whole.dtype}" SizeX="{width}" SizeY="{height}" SizeC="{n_c}" SizeZ="{n_z}" '
            f'SizeT="{n_t}" PhysicalSizeX="0.5" PhysicalSizeY="0.5" PhysicalSizeZ="2.0">'
        )
        body += "".join(
            f'<Channel ID="Channel:{i}:{c}" Name="{channel}" SamplesPerPixel="1"/>'
            for c, channel in enumerate(channels[:n_c])
        )
        for n, (of, c) in enumerate(parts):
            if of == name:
                body += (
                    f'<TiffData IFD="0" FirstC="{c}" PlaneCount="{n_t * n_z}">'
                    f'<UUID FileName="{called[n]}">{uuid_of(n)}</UUID></TiffData>'
                )
        body += "</Pixels></Image>"
    for n, (file, (name, c)) in enumerate(zip(files, parts, strict=True)):
        told = f'<BinaryOnly MetadataFile="{path.name}" UUID="{uuid_of(99)}"/>' if alone else body
        own = f' UUID="{uuid_of(n)}"' if numbered else ""
        tifffile.imwrite(
            file, images[name][:, c].reshape(-1, *images[name].shape[-2:]), metadata=None,
            description=f"{HEAD}<OME {SCHEMA}{own}>{told}</OME>", photometric="minisblack",
        )  # fmt: skip
    if alone:
        path.write_text(f'{HEAD}<OME {SCHEMA} UUID="{uuid_of(99)}">{body}</OME>', encoding="utf-8")
    return files
