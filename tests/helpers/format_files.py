"""Small files of the formats that no library writes, made by hand; and those that some does."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import tifffile


def write_lsm(path: Path, stack: np.ndarray, names: list[str], *, pixel_um=0.5, z_um=2.0) -> Path:
    """Write (T, Z, C, Y, X) as Zeiss LSM: planar pages, a thumbnail after each, CZ_LSMINFO."""
    n_t, _, n_c, n_y, n_x = stack.shape
    info = np.zeros((), np.dtype([(n, t) for n, t in tifffile.TIFF.CZ_LSMINFO if n]))
    info["MagicNumber"], info["StructureSize"] = 67127628, info.dtype.itemsize
    for axis, n in zip(("Time", "Z", "Channels", "Y", "X"), stack.shape, strict=True):
        info[f"Dimension{axis}"] = n
    info["DataType"] = 2
    info["VoxelSizeX"] = info["VoxelSizeY"] = pixel_um * 1e-6
    info["VoxelSizeZ"] = z_um * 1e-6
    info["ScanType"] = 6 if n_t > 1 else 0
    info["TimeIntervall"] = 30.0
    tag = [(34412, 1, info.dtype.itemsize, info.tobytes(), True)]
    with tifffile.TiffWriter(path, byteorder="<") as tif:
        for plane in stack.reshape(-1, n_c, n_y, n_x):
            tif.write(
                plane if n_c > 1 else plane[0], photometric="minisblack", metadata=None,
                planarconfig="separate" if n_c > 1 else None, extratags=tag, contiguous=False,
            )  # fmt: skip
            tif.write(
                np.zeros((4, 4, 3), np.uint8), photometric="rgb", subfiletype=1, metadata=None,
                contiguous=False,
            )  # fmt: skip
            tag = []
    raw = bytearray(path.read_bytes())
    at = raw.index(struct.pack("<II", 67127628, info.dtype.itemsize))
    raw += bytes(-len(raw) % 4)
    texts = b"".join(struct.pack("<I", len(n) + 1) + n.encode() + b"\0" for n in names)
    colours = bytes((255, 0, 0, 0, 0, 255, 0, 0, 0, 0, 255, 0))[: 4 * len(names)]
    head = struct.pack("<6I", 24 + len(colours) + len(texts), len(names), len(names), 24,
                       24 + len(colours), 0)  # fmt: skip
    offset = info.dtype.fields["OffsetChannelColors"][1]
    raw[at + offset : at + offset + 4] = struct.pack("<I", len(raw))
    path.write_bytes(bytes(raw) + head + colours + texts)
    return path


def write_ics(
    path: Path, stack: np.ndarray, *, version="2.0", packed=False, big=False, separator="\t",
    order=("x", "y", "z", "ch"), extra=(),
) -> Path:  # fmt: skip
    """Write an array, whose last axis is the first of `order`, as ICS 1.0 or 2.0."""
    size = stack.dtype.itemsize
    bytes_ = [str(n + 1) for n in range(size)]
    lines = [
        ("ics_version", version),
        ("filename", path.stem),
        ("layout", "parameters", str(stack.ndim + 1)),
        ("layout", "order", "bits", *order),
        ("layout", "sizes", str(8 * size), *(str(n) for n in reversed(stack.shape))),
        ("layout", "significant_bits", str(8 * size)),
        ("representation", "format", "real" if stack.dtype.kind == "f" else "integer"),
        ("representation", "sign", "signed" if stack.dtype.kind == "i" else "unsigned"),
        ("representation", "compression", "gzip" if packed else "uncompressed"),
        ("representation", "byte_order", *(reversed(bytes_) if big else bytes_)),
        ("parameter", "scale", "1.0", *({"x": "0.25", "y": "0.5", "z": "2"}.get(a, "1") for a in order)),
        ("parameter", "units", "bits", *("micrometers" if a in "xyz" else "" for a in order)),
        *extra,
    ]  # fmt: skip
    text = separator + "\n" + "".join(separator.join(line) + "\n" for line in lines)
    pixels = stack.astype(stack.dtype.newbyteorder(">" if big else "<")).tobytes()
    pixels = gzip.compress(pixels) if packed else pixels
    if version == "1.0":
        path.write_text(text)
        path.with_suffix(".ids").write_bytes(pixels)
    else:
        path.write_bytes((text + "end\n").encode() + pixels)
    return path


def write_lif(path: Path, images: dict[str, np.ndarray], *, luts=("Green",), settings="") -> Path:
    """Write arrays (T, Z, C, Y, X) as the images of a Leica file; C follows X if it is 3 and uint8.

    A name with a stroke is a folder and an image in it.
    """
    elements, blocks = [], []
    for number, (name, stack) in enumerate(images.items()):
        n_t, n_z, n_c, n_y, n_x = stack.shape
        size, colour = stack.itemsize, n_c == 3 and stack.dtype == np.uint8
        pixels = stack.transpose(0, 1, 3, 4, 2) if colour else stack
        steps = dict(
            zip(
                "tzyxc" if colour else "tzcyx",
                np.cumprod([size, *pixels.shape[:0:-1]])[::-1].tolist(),
                strict=True,
            )
        )
        channels = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="{c + 1 if colour else 0}" '
            f'Resolution="{8 * size}" NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" '
            f'LUTName="{luts[c % len(luts)]}" IsLUTInverted="0" BytesInc="{c * steps["c"]}" BitInc="0"/>'
            for c in range(n_c)
        )
        lengths = {"x": (n_x, 0.5e-6, "m"), "y": (n_y, 0.5e-6, "m"), "z": (n_z, -2e-6, "m"),
                   "t": (n_t, 30.0, "s")}  # fmt: skip
        dimensions = "".join(
            f'<DimensionDescription DimID="{"xyzt".index(a) + 1}" NumberOfElements="{n}" Origin="0" '
            f'Length="{(n - 1) * step}" Unit="{unit}" BitInc="0" BytesInc="{steps[a]}"/>'
            for a, (n, step, unit) in lengths.items()
            if n > 1
        )
        data = (
            "<Data><Image><ImageDescription>"
            f"<Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions>"
            f'</ImageDescription><Attachment Name="HardwareSetting">{settings}</Attachment></Image></Data>'
        )
        element = (
            f'<Element Name="{name.rpartition("/")[2]}" UniqueID="u{number}">{data}'
            f'<Memory Size="{stack.nbytes}" MemoryBlockID="MemBlock_{number}"/></Element>'
        )
        for folder in reversed(name.split("/")[:-1]):
            element = f'<Element Name="{folder}"><Data/><Memory Size="0" MemoryBlockID="none"/><Children>{element}</Children></Element>'
        elements.append(element)
        words = f"MemBlock_{number}".encode("utf-16-le")
        blocks.append(
            struct.pack("<IIBQBI", 0x70, len(words) + 13, 0x2A, stack.nbytes, 0x2A, len(words) // 2)
            + words
            + pixels.tobytes()
        )
    text = (
        '<LMSDataContainerHeader Version="2"><Element Name="P" UniqueID="p"><Data/>'
        f'<Memory Size="0" MemoryBlockID="none"/><Children>{"".join(elements)}</Children></Element>'
        "</LMSDataContainerHeader>"
    ).encode("utf-16-le")
    head = struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(text) // 2)
    path.write_bytes(head + text + b"".join(blocks))
    return path


def write_czi(
    path: Path, scenes: dict[str, np.ndarray], *, overlap=4, packing="zstd1:ExplicitLevel=2",
    names=("TL Brightfield", "DAPI"), pixel_um=0.5, z_um=2.0,
) -> Path:  # fmt: skip
    """Write scenes (T, Z, C, Y, X[, 3]) as Zeiss CZI, each a mosaic of two overlapping tiles."""
    from pylibCZIrw import czi

    with czi.create_czi(str(path), exist_ok=True) as out:
        for number, stack in enumerate(scenes.values()):
            n_t, n_z, n_c, _, n_x = stack.shape[:5]
            half = n_x // 2
            for t, z, c in np.ndindex(n_t, n_z, n_c):
                for m, left in enumerate((0, half - overlap)):
                    tile = stack[t, z, c, :, left : half if m == 0 else n_x]
                    tile = tile[..., ::-1] if stack.ndim == 6 else tile[..., None]
                    out.write(
                        np.ascontiguousarray(tile), plane={"T": t, "Z": z, "C": c},
                        location=(1000 * number + left, 10 * number), scene=number,
                        compression_options=packing,
                    )  # fmt: skip
        out.write_metadata(
            "made for a test", channel_names=dict(enumerate(names[:n_c])),
            scale_x=pixel_um * 1e-6, scale_y=pixel_um * 1e-6, scale_z=z_um * 1e-6,
        )  # fmt: skip
    return path


def _clx(name: str, value: object) -> bytes:
    """One entry of Nikon's binary tree: a folder, truth, whole number, number or word."""
    kinds = {dict: 11, bool: 1, int: 3, float: 6, str: 8}
    words = (name + "\0").encode("utf-16-le")
    head = bytes((kinds[type(value)], len(name) + 1)) + words
    if isinstance(value, dict):
        inner = b"".join(_clx(key, item) for key, item in value.items())
        length = len(head) + 12 + len(inner)
        return head + struct.pack("<IQ", len(value), length) + inner + bytes(8 * len(value))
    if isinstance(value, bool):
        return head + bytes((value,))
    if isinstance(value, int):
        return head + struct.pack("<I", value)
    if isinstance(value, float):
        return head + struct.pack("<d", value)
    return head + (str(value) + "\0").encode("utf-16-le")


def write_nd2(
    path: Path, stack: np.ndarray, *, names=("BF", "DAPI"), masks=(0x102, 0x101), pixel_um=0.5,
    z_um=2.0, positions=("left", "right"), packed=False, lost=(), padding=0,
) -> Path:  # fmt: skip
    """Write (T, P, Z, C, Y, X) as Nikon ND2 of version 3; frames of the numbers `lost` are left out."""
    n_t, n_p, n_z, n_c, n_y, n_x = stack.shape
    row = n_x * n_c * stack.itemsize + padding
    attributes = {
        "uiWidth": n_x, "uiWidthBytes": row, "uiHeight": n_y, "uiComp": n_c,
        "uiBpcInMemory": 8 * stack.itemsize, "uiBpcSignificant": 8 * stack.itemsize,
        "uiSequenceCount": n_t * n_p * n_z, "eCompression": 0 if packed else 2,
    }  # fmt: skip
    planes = {
        f"a{c}": {"uiCompCount": 1, "uiSampleIndex": c, "uiModalityMask": masks[c],
                  "sDescription": names[c], "uiColor": 0x00FF00, "pFluorescentProbe": {
                      "m_sName": names[c], "m_EmissionSpectrum": {"pPoint": {"Point0": {
                          "dTValue": 1.0, "dWavelength": 450.0 + 60 * c, "eType": 0}}}}}
        for c in range(n_c)
    }  # fmt: skip
    metadata = {"bCalibrated": True, "dCalibration": pixel_um,
                "sPicturePlanes": {"uiCount": n_c, "sPlaneNew": planes}}  # fmt: skip
    loops: list[tuple[int, dict[str, object]]] = []
    if n_t > 1:
        loops.append((1, {"uiCount": n_t, "dStart": 0.0, "dPeriod": 30_000.0, "dDuration": 0.0}))
    if n_p > 1:
        points = {f"p{i}": {"dPosX": 1.0 * i, "dPosName": name} for i, name in enumerate(positions)}
        loops.append((2, {"uiCount": n_p, "Points": points}))
    if n_z > 1:
        loops.append((4, {"uiCount": n_z, "dZStep": z_um, "iType": 0}))
    experiment: dict[str, object] = {}
    for kind, settings in reversed(loops):
        experiment = {"eType": kind, "uLoopPars": settings} | (
            {"ppNextLevelEx": {"i0000000000": experiment}} if experiment else {}
        )
    chunks = [
        ("ImageAttributesLV!", _clx("SLxImageAttributes", attributes)),
        ("ImageMetadataSeqLV|0!", _clx("SLxPictureMetadata", metadata)),
    ]
    if experiment:
        chunks.append(("ImageMetadataLV!", _clx("SLxExperiment", experiment)))
    for number, frame in enumerate(stack.reshape(-1, n_c, n_y, n_x)):
        rows = frame.transpose(1, 2, 0).reshape(n_y, -1)
        pixels = b"".join(line.tobytes() + bytes(padding) for line in rows)
        pixels = zlib.compress(pixels) if packed else pixels
        if number not in lost:
            chunks.append((f"ImageDataSeq|{number}!", bytes(8) + pixels))
    out = struct.pack("<4sIQ32s64s", b"\xda\xce\xbe\x0a", 32, 64,
                      b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0")  # fmt: skip
    out += bytes(4096 - len(out))
    listed = b""
    for name, data in chunks:
        listed += name.encode() + struct.pack("<QQ", len(out), len(data))
        head = struct.pack("<4sIQ", b"\xda\xce\xbe\x0a", 4072, len(data))
        out += head + name.encode().ljust(4072, b"\0") + data
    listed += b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", len(out))
    head = struct.pack("<4sIQ", b"\xda\xce\xbe\x0a", 4072, len(listed))
    path.write_bytes(out + head + b"ND2 FILEMAP SIGNATURE NAME 0001!".ljust(4072, b"\0") + listed)
    return path
