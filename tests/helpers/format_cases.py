"""Kinds of files as data: how one is written, what has to be found in it, who else reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import format_files as made
import imageio.v3 as iio
import numpy as np
import tifffile
import zarr
from ome_files import write_set

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.sink import OmeZarrSink

EDGES = [300, 400]
"""Rows and columns of the pictures; tests of damage make them smaller."""
BF, DAPI = ("TL Brightfield", "transmitted"), ("DAPI", "fluorescence")
CZI_NAMES = (BF[0], DAPI[0])


def stack(*outer: int, colours: int = 0) -> np.ndarray:
    """Return noise of 12 bits: two times, three planes and two channels, unless told otherwise."""
    shape = (*(outer or (2, 3, 2)), *EDGES, *((colours,) if colours else ()))
    return np.random.default_rng(0).integers(0, 4096, shape).astype(np.uint16)


def tczyx(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(0, 2, 1, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of file, and what has to be found in it."""

    path: str
    write: Callable[[Path], object] | None = None  # None: from the folder of real images
    kind: str
    scenes: tuple[str, ...] = ("",)
    scene: str = ""
    axes: str
    shape: tuple[int, ...]
    dtype: str = "uint16"
    channels: tuple[tuple[str, str], ...]
    pixel_um: tuple[float | None, ...]
    interval_s: float | None = None
    waves_nm: tuple[float | None, ...] = ()
    na: float | None = None
    twin: Callable[[Path], np.ndarray]  # the scene as the format's own library reads all of it
    extra: str = ""
    library: str = ""
    has_magic: bool = True
    opening: int = 200_000  # bytes that may be read to open it: its metadata, twice
    region: int = 0  # bytes that a small region may read; 0: one plane


def czi_plane_by_plane(scene: int | None) -> Callable[[Path], np.ndarray]:
    def read(path: Path) -> np.ndarray:
        from pylibCZIrw import czi

        with czi.open_czi(str(path)) as file:
            box = file.total_bounding_box
            t, c, z = (box[axis][1] for axis in "TCZ")
            planes = [
                file.read(plane={"T": i, "C": j, "Z": k}, scene=scene)
                for i, j, k in np.ndindex(t, c, z)
            ]
        whole = np.stack(planes)
        if whole.shape[-1] == 3:
            return np.moveaxis(whole[..., ::-1], -1, 0)[None]
        return whole[..., 0].reshape(t, c, z, *whole.shape[1:3])

    return read


def nd2_whole(position: int) -> Callable[[Path], np.ndarray]:
    def read(path: Path) -> np.ndarray:
        import nd2

        with nd2.ND2File(path) as file:
            letters, whole = "".join(file.sizes).lower(), file.asarray()
        if "p" in letters:
            whole = np.take(whole, position, axis=letters.index("p"))
            letters = letters.replace("p", "")
        order = [letters.index(a) for a in "tczyx" if a in letters]
        return whole.transpose(order)[tuple(slice(None) if a in letters else None for a in "tczyx")]

    return read


def lif_whole(index: int, tile: int | None = None) -> Callable[[Path], np.ndarray]:
    def read(path: Path) -> np.ndarray:
        import liffile

        with liffile.LifFile(path) as file:
            image = file.images[index]
            letters, whole = "".join(image.dims).lower().replace("s", "c"), image.asarray()
        if tile is not None:
            whole, letters = np.take(whole, tile, axis=letters.index("m")), letters.replace("m", "")
        order = [letters.index(a) for a in "tczyx" if a in letters]
        return whole.transpose(order)[tuple(slice(None) if a in letters else None for a in "tczyx")]

    return read


def tiff_series(order: str) -> Callable[[Path], np.ndarray]:
    def read(path: Path) -> np.ndarray:
        with tifffile.TiffFile(path) as tif:
            whole = tif.series[0].asarray()
        at = [order.index(a) for a in "tczyx" if a in order]
        return whole.transpose(at)[tuple(slice(None) if a in order else None for a in "tczyx")]

    return read


def write_ome_zarr(path: Path) -> None:
    with OmeZarrSink.create(
        path, shape=(1, 2, 1, *EDGES), channels=[Channel(*BF), Channel(*DAPI)], n_tiles=1,
        chunks_yx=100, pixel_size_um=PixelSize(None, 0.5, 0.5), record={},
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in sink.shape), stack(1, 2, 1).astype("f4"))
        sink.commit(0)


def write_zarr_2(path: Path) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=2)
    array = group.create_array("0", shape=(2, 3, *EDGES), chunks=(1, 1, 100, 100), dtype="u2")
    array[...] = stack(2, 3)
    axes = [{"name": a, "type": k} | ({"unit": "micrometer"} if k == "space" else {})
            for a, k in zip("czyx", ("channel", "space", "space", "space"), strict=True)]  # fmt: skip
    scale = [{"type": "scale", "scale": [1, 2.0, 0.5, 0.5]}]
    group.attrs.update(
        {
            "multiscales": [{"version": "0.4", "axes": axes, "datasets": [
                {"path": "0", "coordinateTransformations": scale}]}],
            "omero": {"channels": [{"label": BF[0]}, {"label": DAPI[0]}]},
        }
    )  # fmt: skip


def write_planes(path: Path) -> None:
    path.mkdir()
    for z, c in np.ndindex(3, 2):
        tifffile.imwrite(path / f"a_z{z}_c{c}.tif", stack()[0, z, c])


def read_planes(path: Path) -> np.ndarray:
    return np.stack(
        [[tifffile.imread(path / f"a_z{z}_c{c}.tif") for z in range(3)] for c in range(2)]
    )[None]


def write_mixed_planes(path: Path) -> None:
    path.mkdir()
    tifffile.imwrite(path / "a_c0.tif", (stack()[0, 0, 0] >> 4).astype(np.uint8))
    tifffile.imwrite(path / "a_c1.tif", stack()[0, 0, 1])


def read_mixed_planes(path: Path) -> np.ndarray:
    planes = [tifffile.imread(path / f"a_c{c}.tif").astype(np.uint16) for c in range(2)]
    return np.stack(planes)[None, :, None]


NUMBERED = (("channel 0", "unknown"), ("channel 1", "unknown"))
SIZES = {"axes": "tczyx", "shape": (2, 2, 3, 300, 400), "pixel_um": (2.0, 0.5, 0.5)}
MADE = {
    "tiff": Case(
        path="bf.tif", write=lambda p: tifffile.imwrite(p, stack()[0, 0, 0]), kind="tiff",
        axes="yx", shape=(1, 1, 1, 300, 400), channels=(("channel 0", "transmitted"),),
        pixel_um=(None, None, None), twin=tiff_series("yx"),
    ),
    "bigtiff-tiles-zlib": Case(
        path="a.btf",
        write=lambda p: tifffile.imwrite(
            p, stack()[0, 0], bigtiff=True, tile=(64, 64), compression="zlib",
            photometric="minisblack", metadata={"axes": "CYX"},
        ),
        kind="tiff", axes="cyx", shape=(1, 2, 1, 300, 400), channels=NUMBERED,
        pixel_um=(None, None, None), twin=tiff_series("cyx"),
    ),
    "ome-tiff": Case(
        path="a.ome.tif",
        write=lambda p: tifffile.imwrite(
            p, stack(), photometric="minisblack",
            metadata={"axes": "TZCYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5,
                      "PhysicalSizeZ": 2.0, "TimeIncrement": 30.0,
                      "Channel": {"Name": ["TL Brightfield", "DAPI"],
                                  "EmissionWavelength": [None, 450.0]}},
        ),
        kind="ome-tiff", channels=(BF, DAPI), interval_s=30.0, waves_nm=(None, 450.0),
        twin=tiff_series("tzcyx"), **SIZES,
    ),
    "ome-tiff-set": Case(
        path="a.ome.tif",
        write=lambda p: write_set(p, {"left": tczyx(stack()), "right": tczyx(stack()) + 1}),
        kind="ome-tiff", scenes=("left", "right"), scene="right", channels=(BF, DAPI),
        twin=lambda _: tczyx(stack()) + 1, has_magic=False, **SIZES,
    ),
    "ome-tiff-companion": Case(
        path="a.companion.ome", write=lambda p: write_set(p, {"cells": tczyx(stack())}),
        kind="ome-tiff", channels=(BF, DAPI), twin=lambda _: tczyx(stack()), has_magic=False,
        **SIZES,
    ),
    "tiff-signed-planes": Case(
        path="a.tif",
        write=lambda p: tifffile.imwrite(
            p, stack(2, 3).astype("i2") - 2000, photometric="minisblack",
            metadata={"axes": "TZYX"},
        ),
        kind="tiff", axes="tzyx", shape=(2, 1, 3, 300, 400), dtype="int16",
        channels=(("channel 0", "unknown"),), pixel_um=(None, None, None),
        twin=tiff_series("tzyx"),
    ),
    "tiff-float": Case(
        path="a.tif",
        write=lambda p: tifffile.imwrite(p, stack()[0, 0, 0].astype("f4") - 99.5),
        kind="tiff", axes="yx", shape=(1, 1, 1, 300, 400), dtype="float32",
        channels=(("channel 0", "unknown"),), pixel_um=(None, None, None),
        twin=tiff_series("yx"),
    ),
    "png-transparent": Case(
        path="a.png",
        write=lambda p: iio.imwrite(p, (stack(1, colours=4)[0] >> 4).astype(np.uint8)),
        kind="picture", axes="cyx", shape=(1, 3, 1, 300, 400), dtype="uint8",
        channels=(("red", "unknown"), ("green", "unknown"), ("blue", "unknown")),
        pixel_um=(None, None, None), has_magic=False, region=600_000,
        twin=lambda p: np.moveaxis(iio.imread(p)[..., :3], -1, 0)[None, :, None],
    ),
    "planes-of-several-types": Case(
        path="planes", write=write_mixed_planes, kind="numbered", axes="cyx",
        shape=(1, 2, 1, 300, 400), channels=(("c0", "unknown"), ("c1", "unknown")),
        pixel_um=(None, None, None), twin=read_mixed_planes, has_magic=False,
    ),
    "imagej": Case(
        path="a.tif",
        write=lambda p: tifffile.imwrite(
            p, stack(), imagej=True, resolution=(2, 2),
            metadata={"axes": "TZCYX", "unit": "um", "spacing": 2.0, "finterval": 30.0},
        ),
        kind="imagej-tiff", channels=NUMBERED, interval_s=30.0, twin=tiff_series("tzcyx"), **SIZES,
    ),
    "lsm": Case(
        path="a.lsm",
        write=lambda p: made.write_lsm(
            p, stack(2, 3, 3), ["Ch1-T1", "Ch2-T2", "ChD-T2"]
        ),
        kind="lsm", axes="tczyx", shape=(2, 3, 3, 300, 400), pixel_um=(2.0, 0.5, 0.5),
        channels=(("Ch1-T1", "unknown"), ("Ch2-T2", "unknown"), ("ChD-T2", "transmitted")),
        interval_s=30.0, twin=tiff_series("tzcyx"),
    ),
    "png": Case(
        path="DAPI.png", write=lambda p: iio.imwrite(p, stack()[0, 0, 0]), kind="picture",
        axes="yx", shape=(1, 1, 1, 300, 400), channels=(("channel 0", "fluorescence"),),
        pixel_um=(None, None, None), twin=lambda p: iio.imread(p)[None, None, None],
        has_magic=False,
    ),
    "planes": Case(
        path="planes", write=write_planes, kind="numbered", axes="czyx",
        shape=(1, 2, 3, 300, 400), channels=(("c0", "unknown"), ("c1", "unknown")),
        pixel_um=(None, None, None), twin=read_planes, has_magic=False,
    ),
    "ome-zarr-0.4": Case(
        path="a.zarr", write=write_zarr_2, kind="ome-zarr", axes="czyx", shape=(1, 2, 3, 300, 400),
        channels=(BF, DAPI), pixel_um=(2.0, 0.5, 0.5),
        twin=lambda p: zarr.open_array(p / "0", mode="r")[...][None], has_magic=False,
    ),
    "ome-zarr-0.5": Case(
        path="a.ome.zarr", write=write_ome_zarr, kind="ome-zarr", axes="tczyx",
        shape=(1, 2, 1, 300, 400), dtype="float32", channels=(BF, DAPI),
        pixel_um=(None, 0.5, 0.5), twin=lambda p: zarr.open_array(p / "0", mode="r")[...],
        has_magic=False,
    ),
    "nd2": Case(
        path="a.nd2", write=lambda p: made.write_nd2(p, np.stack([stack(), stack() + 1], 1)),
        kind="nd2", scenes=("left", "right"), scene="right",
        channels=(("BF", "transmitted"), DAPI), interval_s=30.0, waves_nm=(None, 510.0),
        twin=nd2_whole(1), extra="nd2", library="nd2", **SIZES,
    ),
    "nd2-packed": Case(
        path="a.nd2", write=lambda p: made.write_nd2(p, stack()[:1, None], packed=True),
        kind="nd2", axes="czyx", shape=(1, 2, 3, 300, 400), pixel_um=(2.0, 0.5, 0.5),
        channels=(("BF", "transmitted"), DAPI), waves_nm=(None, 510.0), twin=nd2_whole(0),
        region=500_000, extra="nd2", library="nd2",
    ),
    "czi": Case(
        path="a.czi", write=lambda p: made.write_czi(p, {"a": stack(), "b": stack() + 1}),
        kind="czi", scenes=("scene 1", "scene 2"), scene="scene 2", channels=(BF, DAPI),
        twin=czi_plane_by_plane(1), extra="czi", library="pylibCZIrw.czi", **SIZES,
    ),
    "czi-colour": Case(
        path="a.czi",
        write=lambda p: made.write_czi(
            p, {"a": (stack(1, 1, 1, colours=3) >> 4).astype(np.uint8)}, names=["c"],
            packing="uncompressed:", overlap=0,
        ),
        region=400_000, kind="czi", axes="cyx", shape=(1, 3, 1, 300, 400), dtype="uint8",
        channels=(("red", "unknown"), ("green", "unknown"), ("blue", "unknown")),
        pixel_um=(None, 0.5, 0.5), twin=lambda p: np.moveaxis(
            czi_plane_by_plane(None)(p)[0, :, 0], 0, 0)[None, :, None],
        extra="czi", library="pylibCZIrw.czi",
    ),
    "lif": Case(
        path="a.lif",
        write=lambda p: made.write_lif(p, {"A/1": stack(), "B": stack() + 1}),
        kind="lif", scenes=("A/1", "B"), scene="B", channels=NUMBERED, interval_s=30.0,
        twin=lif_whole(1), extra="lif", library="liffile", **SIZES,
    ),
    "lif-colour": Case(
        path="a.lif",
        write=lambda p: made.write_lif(
            p, {"a": (stack(1, 3, 3) >> 4).astype(np.uint8)}
        ),
        kind="lif", axes="czyx", shape=(1, 3, 3, 300, 400), dtype="uint8",
        channels=(("red", "unknown"), ("green", "unknown"), ("blue", "unknown")),
        pixel_um=(2.0, 0.5, 0.5), twin=lif_whole(0), extra="lif", library="liffile",
    ),
    "ics-1": Case(
        path="a.ics",
        write=lambda p: made.write_ics(p, tczyx(stack())[0], version="1.0", big=True),
        kind="ics", axes="czyx", shape=(1, 2, 3, 300, 400), channels=NUMBERED,
        pixel_um=(2.0, 0.5, 0.25), twin=lambda _: tczyx(stack())[:1], has_magic=False,
    ),
    "ics-2": Case(
        path="a.ics",
        write=lambda p: made.write_ics(
            p, tczyx(stack())[0], extra=[("sensor", "s_params", "LambdaEm", "450", "520")]
        ),
        kind="ics", axes="czyx", shape=(1, 2, 3, 300, 400), pixel_um=(2.0, 0.5, 0.25),
        channels=(("channel 0", "fluorescence"), ("channel 1", "fluorescence")),
        waves_nm=(450.0, 520.0), twin=lambda _: tczyx(stack())[:1],
    ),
    "ics-2-packed": Case(
        path="a.ics",
        write=lambda p: made.write_ics(
            p, tczyx(stack())[0].astype("f4") - 9, packed=True, separator=" "
        ),
        kind="ics", axes="czyx", region=3_000_000, shape=(1, 2, 3, 300, 400), dtype="float32", channels=NUMBERED,
        pixel_um=(2.0, 0.5, 0.25), twin=lambda _: tczyx(stack())[:1].astype("f4") - 9,
    ),
}  # fmt: skip

LEICA = tuple(f"TileScan 3/{well}/tile {i}" for well in ("B/2", "C/3") for i in (1, 2, 3, 4))
ARCADIA = ("Mono", "DAPI", "FITC BP", "TRITC BP")
REAL = {
    "real-nd2": Case(
        path="formats/nd2/nikon_fissionyeast_TL_488_561.nd2", kind="nd2", axes="cyx",
        shape=(1, 3, 1, 2044, 2048), pixel_um=(None, 0.1625, 0.1625), na=1.15, twin=nd2_whole(0),
        opening=600_000, channels=(("561sC", "fluorescence"), ("488sC", "fluorescence"),
                  ("TL_JJL", "transmitted")),
        extra="nd2", library="nd2",
    ),
    "real-czi": Case(
        path="formats/czi/PGC_20X_labelfree.czi", kind="czi", axes="yx",
        shape=(1, 1, 1, 2755, 3675), pixel_um=(None, 0.227, 0.227), na=0.95,
        channels=(("TL Phase Gradient", "transmitted"),), region=20_500_000, twin=czi_plane_by_plane(None),
        extra="czi", library="pylibCZIrw.czi",
    ),
    "real-lif": Case(
        path="formats/lif/Project_3D.lif", kind="lif", scenes=LEICA, scene=LEICA[5],
        axes="czyx", shape=(1, 3, 5, 256, 256), dtype="uint8",
        channels=(("DAPI", "fluorescence"), ("ALEXA 488", "fluorescence"),
                  ("ALEXA 594", "fluorescence")),
        pixel_um=(3.3350025, 2.2794118, 2.2794118), waves_nm=(452.0, 547.0, 663.0), na=0.75,
        opening=1_000_000, twin=lif_whole(1, 1), extra="lif", library="liffile",
    ),
    "real-ome-tiff": Case(
        path="formats/ome_tiff/arcadia_pbmc_multichannel_by_nd2.ome.tif", kind="ome-tiff",
        axes="cyx", shape=(1, 4, 1, 256, 256), pixel_um=(None, 0.3233903, 0.3233903), na=0.75,
        channels=tuple((n, "fluorescence" if i else "transmitted") for i, n in enumerate(ARCADIA)),
        twin=tiff_series("cyx"), has_magic=False, opening=600_000,  # its metadata hold its name
    ),
    "real-ome-zarr": Case(
        path="formats/ome_zarr/isl_phase_ngffzarr_v0.5.ome.zarr", kind="ome-zarr", axes="czyx",
        shape=(1, 1, 13, 512, 512), channels=(("channel 0", "transmitted"),),
        pixel_um=(None, None, None),
        twin=lambda p: zarr.open_array(p / "scale0" / "phase", mode="r")[...][None],
        has_magic=False, region=2_000_000,  # all z planes are in one chunk
    ),
}  # fmt: skip
CASES = {**MADE, **REAL}
