"""What does a model take and give, in the words of bioimage.io? A description, and what it tests.

A package of the `bioimage.io model format <https://bioimage.io/docs>`_ 0.5: an ONNX graph, a
description of its axes, sizes and halo, what is done to grey values before and after it, a
test input with its output, licence and citations. The description is made and
checked by ``bioimageio.spec``, the format's own library. What the format has no word for
(median and interquartile range, z offsets, how nearly empty fields are scaled) stands in
description and documentation. The whole card is in the graph's own file, see `onnx_file`.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import SettingsError, VirtualStainError, from_extra
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.exporters.readme import (
    description_of,
    documentation_of,
    name_of,
    tags_of,
)
from napari_virtualstain.generators.registry import get_spec

__all__ = ["Packed", "licence_of", "normalised", "pack", "planes_for_package"]

NEEDS = "A bioimage.io package needs the extra [bioimageio]."
_EPS = 1e-6
"""Added to what is divided by, as the format has it."""
_DOI = re.compile(r"10\.\d{4,9}/[^\s,;)]+")
_GREY = (1000.0, 100.0)
"""Mean and SD of the test input where the card knows none, in grey values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What a package is made of.

    Parameters
    ----------
    card, generator
        Of the model.
    graph
        Its network as an ONNX file.
    halo, multiple_of
        How far the network looks along y and x, and its stride, in pixels.
    planes
        Normalised planes (1, in_channels, *S) for the test, as `planes_for_package` gives them.
    authors
        Names.
    """

    card: ModelCard
    generator: Generator
    graph: bytes
    halo: int
    multiple_of: int
    planes: NDArray[np.float32]
    authors: tuple[str, ...] = ()


def _least(halo: int, stride: int) -> int:
    """Return the smallest edge that leaves a pixel once the halo is cut off on both sides."""
    return -(-(2 * halo + 1) // stride) * stride


def planes_for_package(
    planes: NDArray[np.float32], *, halo: int, multiple_of: int
) -> NDArray[np.float32]:
    """Return planes cut or mirrored along y and x to the smallest size of a package.

    Parameters
    ----------
    planes
        (1, in_channels, *S).
    halo, multiple_of
        See `Packed`.
    """
    least = _least(halo, multiple_of)
    for axis in (-2, -1):
        missing = max(0, least - planes.shape[axis])
        width = [(0, 0)] * planes.ndim
        width[axis] = (0, missing)
        planes = np.pad(planes, width, mode="symmetric")
        planes = np.take(planes, range(least), axis=axis)
    return np.ascontiguousarray(planes)


def pack(path: Path, packed: Packed) -> None:
    """Write a package.

    Parameters
    ----------
    path
        A zip, which is made.
    packed
        What it is made of.

    Raises
    ------
    MissingExtraError
        If the library of the format is not installed.
    SettingsError
        If the format needs something that the card does not say.
    """
    spec = from_extra("bioimageio.spec", extra="bioimageio", needs=NEEDS)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            descr = _describe(packed, Path(scratch))
            spec.save_bioimageio_package(descr, output_path=path)
        except VirtualStainError:
            raise
        except ValueError as error:  # pydantic's are, too
            said = "; ".join(_said(error))
            raise SettingsError(
                f"bioimage.io refuses the description of {packed.card.name!r}: {said}. Correct the "
                "card.json of the model, or what was stated."
            ) from error


def _said(error: ValueError) -> list[str]:
    errors = getattr(error, "errors", None)
    if errors is None:
        return [str(error).strip().splitlines()[0].rstrip(".")]
    return [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in errors()[:3]]


def _describe(packed: Packed, folder: Path) -> Any:
    v = from_extra("bioimageio.spec.model.v0_5", extra="bioimageio", needs=NEEDS)
    onnx = from_extra("onnx", extra="onnx", needs=NEEDS)
    card = packed.card
    given, result = _test_pair(packed)
    for name, content in (("test_input", given), ("test_output", result)):
        np.save(folder / f"{name}.npy", content)
    (folder / "weights.onnx").write_bytes(packed.graph)
    page = documentation_of(card, halo=packed.halo, multiple_of=packed.multiple_of)
    (folder / "README.md").write_text(page, encoding="utf-8")
    graph = onnx.load_model_from_string(packed.graph)
    return v.ModelDescr(
        name=name_of(card),
        description=description_of(card),
        authors=[v.Author(name=name) for name in packed.authors],
        cite=_citations(v, card),
        license=licence_of(card),
        tags=tags_of(card, packed.generator.ndim),
        documentation=v.FileDescr(source=folder / "README.md"),
        inputs=[
            v.InputTensorDescr(
                id=v.TensorId("planes"),
                description=card.takes_words[:128],
                axes=_input_axes(v, packed),
                data=v.IntervalOrRatioDataDescr(type="float32"),
                test_tensor=v.FileDescr(source=folder / "test_input.npy"),
                preprocessing=_preprocessing(v, packed),
            )
        ],
        outputs=[
            v.OutputTensorDescr(
                id=v.TensorId("stains"),
                description=f"{', '.join(card.stain_names)}, in {card.stains[0].unit}"[:128],
                axes=_output_axes(v, packed),
                data=v.IntervalOrRatioDataDescr(type="float32"),
                test_tensor=v.FileDescr(source=folder / "test_output.npy"),
                postprocessing=_postprocessing(v, card),
            )
        ],
        weights=v.WeightsDescr(
            onnx=v.OnnxWeightsDescr(
                source=folder / "weights.onnx",
                opset_version=max(
                    entry.version for entry in graph.opset_import if not entry.domain
                ),
            )
        ),
    )


# --- what goes in and comes out -------------------------------------------------------------------


def _space(packed: Packed) -> tuple[str, ...]:
    return ("z", "y", "x") if packed.generator.ndim == len("zyx") else ("y", "x")


def _unit_of(packed: Packed, axis: str) -> dict[str, Any]:
    """Return how long a pixel is along an axis, nothing where that is not known."""
    card = packed.card
    y, x = card.pixel_size_yx_um
    z = None if card.volume is None else card.volume.z_step_um
    length = {"z": z, "y": y, "x": x}[axis]
    # In single precision, so that any number of pixels times it and over it is that number: the
    # format multiplies and divides in floating point, and asks for equality.
    return {} if length is None else {"unit": "micrometer", "scale": float(np.float32(length))}


def _channel_names(v: Any, names: Sequence[str]) -> list[Any]:
    """Return names that the format takes: letters, digits and underscores, each once."""
    made: list[str] = []
    for name in names:
        plain = re.sub(r"\W+", "_", name).strip("_") or "channel"
        plain = f"_{plain}" if plain[0].isdigit() else plain
        made.append(plain if plain not in made else f"{plain}_{len(made)}")
    return [v.Identifier(name) for name in made]


def _input_axes(v: Any, packed: Packed) -> list[Any]:
    generator, stride = packed.generator, packed.multiple_of
    least = _least(packed.halo, stride)
    sizes = {
        "z": generator.window or v.ParameterizedSize(min=stride, step=stride),
        "y": v.ParameterizedSize(min=least, step=stride),
        "x": v.ParameterizedSize(min=least, step=stride),
    }
    names = [
        plane.channel if plane.z_offset_um is None else f"{plane.channel}_{plane.z_offset_um:+g}_um"
        for plane in packed.card.inputs
    ]
    names = [name.replace("+", "plus_").replace("-", "minus_") for name in names]
    return [
        v.BatchAxis(),
        v.ChannelAxis(channel_names=_channel_names(v, names)),
        *(
            v.SpaceInputAxis(id=v.AxisId(axis), size=sizes[axis], **_unit_of(packed, axis))
            for axis in _space(packed)
        ),
    ]


def _output_axes(v: Any, packed: Packed) -> list[Any]:
    axes = [
        v.BatchAxis(),
        v.ChannelAxis(channel_names=_channel_names(v, packed.card.stain_names)),
    ]
    for axis in _space(packed):
        same = v.SizeReference(tensor_id=v.TensorId("planes"), axis_id=v.AxisId(axis))
        size: Any = packed.generator.window if axis == "z" and packed.generator.window else same
        more = _unit_of(packed, axis)
        if axis != "z" and packed.halo:
            axes.append(
                v.SpaceOutputAxisWithHalo(id=v.AxisId(axis), size=size, halo=packed.halo, **more)
            )
        else:
            axes.append(v.SpaceOutputAxis(id=v.AxisId(axis), size=size, **more))
    return axes


# --- what is done to grey values ------------------------------------------------------------------


def _preprocessing(v: Any, packed: Packed) -> list[Any]:
    rule = packed.card.input_rule
    axes = [v.AxisId(axis) for axis in _space(packed)]
    if rule.kind == "zscore":
        steps = [
            v.ZeroMeanUnitVarianceDescr(kwargs=v.ZeroMeanUnitVarianceKwargs(axes=axes, eps=_EPS))
        ]
        if rule.clip_sd is not None:
            limits = v.ClipKwargs(min=-rule.clip_sd, max=rule.clip_sd)
            steps.append(v.ClipDescr(kwargs=limits))
        return steps
    if rule.kind in {"percentile", "minmax"}:
        low, high = (rule.low, rule.high) if rule.kind == "percentile" else (0.0, 1.0)
        kwargs = v.ScaleRangeKwargs(
            axes=axes, min_percentile=100 * low, max_percentile=100 * high, eps=_EPS
        )
        return [v.ScaleRangeDescr(kwargs=kwargs)]
    return []


def _postprocessing(v: Any, card: ModelCard) -> list[Any]:
    gain = [stain.normalisation.scale for stain in card.stains]
    offset = [stain.normalisation.offset for stain in card.stains]
    if all(g == 1 for g in gain) and not any(offset):
        return []
    kwargs = v.ScaleLinearAlongAxisKwargs(axis=v.AxisId("channel"), gain=gain, offset=offset)
    return [v.ScaleLinearDescr(kwargs=kwargs)]


def _test_pair(packed: Packed) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return grey values, and what the description says becomes of them."""
    card, planes = packed.card, packed.planes
    shape = (1, -1, *(1,) * (planes.ndim - 2))
    grey = planes
    if _preprocessed(card):
        known = [p.statistics for p in card.inputs]
        mean = np.reshape([_GREY[0] if s is None else s.mean for s in known], shape)
        sd = np.reshape([_GREY[1] if s is None else s.std for s in known], shape)
        grey = (planes * sd + mean).astype(np.float32)
    stains = packed.generator.predict(normalised(card, grey))
    gain = np.reshape([s.normalisation.scale for s in card.stains], shape)
    offset = np.reshape([s.normalisation.offset for s in card.stains], shape)
    return grey, (stains * gain + offset).astype(np.float32)


def _preprocessed(card: ModelCard) -> bool:
    return card.input_rule.kind in {"zscore", "percentile", "minmax"}


def normalised(card: ModelCard, grey: NDArray[Any]) -> NDArray[np.float32]:
    """Return what the format makes of grey values (B, C, *S) by the rule of a card.

    Quantiles are interpolated here, and not in `intensity`; where the format has no word for
    the rule, they are taken to be normalised.
    """
    rule, axes = card.input_rule, tuple(range(2, grey.ndim))
    if not _preprocessed(card):
        return grey.astype(np.float32)
    grey = grey.astype(np.float64)
    if rule.kind == "zscore":
        offset, scale = (f(grey, axis=axes, keepdims=True) for f in (np.mean, np.std))
    else:
        low, high = (rule.low, rule.high) if rule.kind == "percentile" else (0.0, 1.0)
        offset, top = np.quantile(grey, (low, high), axis=axes, keepdims=True)
        scale = top - offset
    normal = (grey - offset) / (scale + _EPS)
    if rule.kind == "zscore" and rule.clip_sd is not None:
        normal = np.clip(normal, -rule.clip_sd, rule.clip_sd)
    result: NDArray[np.float32] = normal.astype(np.float32)
    return result


# --- whose it is ----------------------------------------------------------------------------------


def licence_of(card: ModelCard) -> Any:
    """Return the licence of a model as the format has it.

    Raises
    ------
    SettingsError
        If there is none, or it has no name there.
    """
    v = from_extra("bioimageio.spec.model.v0_5", extra="bioimageio", needs=NEEDS)
    if not card.licence:
        raise SettingsError(
            f"The card of {card.name!r} states no licence, and a bioimage.io package needs one. "
            "State an SPDX identifier with --licence, for example --licence CC-BY-4.0."
        )
    try:
        return v.LicenseId(card.licence)
    except ValueError as error:
        raise SettingsError(
            f"The licence {card.licence!r} of {card.name!r} is no SPDX identifier, which a "
            "bioimage.io package needs. State one with --licence, for example --licence CC-BY-4.0."
        ) from error


def _citations(v: Any, card: ModelCard) -> list[Any]:
    method = get_spec(card.generator)
    source = method.source.replace("arXiv:", "10.48550/arXiv.")
    found: dict[str, str] = {}
    for text, where in ((card.citation, card.citation), (method.title, source)):
        for doi in _DOI.findall(where):
            found.setdefault(doi.rstrip("."), text)
    return [v.CiteEntry(text=text, doi=v.Doi(doi)) for doi, text in found.items()]
