"""List trained models, methods and recipes, bring a model from elsewhere, or give one away."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from napari_virtualstain.encoders.package import read_encoder_card
from napari_virtualstain.encoders.registry import ENCODERS
from napari_virtualstain.errors import SettingsError, VirtualStainError
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.generators.registry import BROKEN, GENERATORS
from napari_virtualstain.jobs.base import JobSettings, ModelText, Progress
from napari_virtualstain.jobs.encoder_import import ImportedEncoder
from napari_virtualstain.jobs.model_download import (
    download_model,
    downloads_listing,
    downloads_text,
)
from napari_virtualstain.jobs.model_export import ExportedModel, export_model
from napari_virtualstain.jobs.model_import import ImportedModel, import_model
from napari_virtualstain.jobs.recipes import RECIPES, get_recipe
from napari_virtualstain.words import plural
from napari_virtualstain.zoo import list_encoders, list_models, models_folder

__all__ = ["ModelsSettings", "describe", "listing", "run", "to_text"]


Listing = dict[str, Any]
Made = ImportedModel | ImportedEncoder | ExportedModel

_SHOWN = 12
"""Classes of an encoder that are named in a list."""


class ModelsSettings(JobSettings):
    """Settings of `virtualstain models`."""

    action: Literal["list", "import", "download", "export"] = Field(
        default="list",
        description="list: what there is; import: make a model of a file of weights; download: "
        "fetch one of those that are listed, and import it; export: write a model for other "
        "programs",
    )
    file: ModelText | None = Field(
        default=None,
        description="to import: .pth, .ckpt, .p or .safetensors, .onnx, TorchScript, a bioimage.io "
        "package or a model folder; to download: name of the model; to export: name or path of a "
        "model",
    )
    out: ModelText | None = Field(
        default=None,
        description="to import: name of the model, or path of its folder; to download: the same, "
        "that in the list if not given; to export: .zip for a bioimage.io package, .onnx for the "
        "graph alone",
    )
    stains: tuple[str, ...] = Field(
        default=(),
        description="names of the stains in the order in which the weights give them; of an "
        "encoder, of the channels that it is given",
    )
    classes: tuple[str, ...] = Field(
        default=(),
        description="of a classifier: names of what it tells apart, in the order of its scores",
    )
    adapt: Literal["repeat", "sum", "mean"] | None = Field(
        default=None,
        description="how an encoder takes another number of channels than it was made for; "
        "repeat: each by itself, as often as it takes channels; sum: the same, computed once; "
        "mean: all together, through the mean of its first layer; of an autoencoder that is to "
        "stain, how its first and last layers are widened; repeat (default): its colours in turn; "
        "mean: their mean",
    )
    guides: ModelText | None = Field(
        default=None,
        description="of a classifier that guides a diffusion model: the model of guided_i2i that "
        "it leads; both become one",
    )
    trained_on: str | None = Field(
        default=None,
        description="of such a classifier: schedule of the noise that it was trained on, for "
        "example palette; it has to be that of the model",
    )
    channel: str | None = Field(
        default=None, description="kind of light that the weights are for, for example Brightfield"
    )
    pixel_size: float | None = Field(
        default=None, gt=0, description="pixel size that the weights are for, in µm"
    )
    z_offsets: tuple[float, ...] = Field(
        default=(),
        description="where the planes lie that go in together, relative to focus in µm, for "
        "example --z-offsets=-4,0,4",
    )
    z_step: float | None = Field(
        default=None, gt=0, description="distance of the planes of a stack in µm"
    )
    normalise: Literal["zscore", "robust", "percentile", "minmax", "none"] | None = Field(
        default=None,
        description="what normalises a field for these weights: zscore, robust (median and "
        "interquartile range), percentile, minmax or none, if not as published",
    )
    licence: str | None = Field(default=None, description="licence of the weights")
    citation: str | None = Field(default=None, description="how the weights are cited")
    authors: tuple[str, ...] = Field(
        default=(), description="to export: who made the model, for a bioimage.io package"
    )
    trust: bool = Field(
        default=False,
        description="to import a TorchScript module, a program that may read and write files: you "
        "trust who made it, now and whenever it stains",
    )
    overwrite: bool = Field(default=False, description="replace what is written if it exists")
    all: bool = Field(
        default=False,
        description="list also what can be downloaded, the methods that can be trained, and the "
        "recipes",
    )


def run(settings: ModelsSettings, *, on_progress: Progress | None = None) -> Listing | Made:
    """Do what the action says.

    Parameters
    ----------
    settings
        What is asked for.
    on_progress
        Told of megabytes downloaded. What it raises ends the download, to be gone on with.

    Returns
    -------
    dict, ImportedModel, ImportedEncoder or ExportedModel
        What there is, as `listing` gives it, or what was imported or exported.

    Raises
    ------
    VirtualStainError
        If a file cannot be fetched or imported, or a model exported; the sentence says why, and
        what to do.
    """
    if settings.action == "export":
        return export_model(settings)
    if settings.action == "import":
        return import_model(settings)
    if settings.action == "download":
        return download_model(settings, on_progress=on_progress)
    stated = settings.model_fields_set - {"action", "all"}
    if stated:
        raise SettingsError(
            "A list takes no settings but --all. To make a model of a file, write "
            "virtualstain models import FILE --out NAME."
        )
    return listing()


def describe(
    found: Listing | Made,
) -> dict[str, Any]:
    """Return what was found or made as plain values for ``--json``."""
    return found if isinstance(found, dict) else found.to_json()


def listing() -> dict[str, Any]:
    """Return models with their cards, methods, recipes and downloads, as plain values."""
    models: list[dict[str, Any]] = []
    for name, path in list_models().items():
        try:
            card = read_card(path)
        except VirtualStainError as error:
            models.append({"name": name, "path": str(path), "problem": str(error)})
            continue
        models.append(
            {
                "name": name,
                "path": str(path),
                "title": card.title,
                "generator": card.generator,
                "inputs": [
                    {"channel": p.channel, "z_offset_um": p.z_offset_um} for p in card.inputs
                ],
                "takes": card.takes_words,
                "volume": None if card.volume is None else card.volume.model_dump(mode="json"),
                "stains": {s.name: s.expected_pcc for s in card.stains},
                "pixel_size_um": card.model_dump(mode="json")["pixel_size_um"],
                "licence": card.licence,
                "limits": list(card.limits),
            }
        )
    return {
        "models": models,
        "encoders": _encoders(),
        "generators": {
            s.name: {
                "title": s.title,
                "source": s.source,
                "presets": sorted(s.presets),
                "axes": [{2: "yx", 3: "zyx"}[n] for n in s.ndim],
                "exactness": s.exactness,
                "stochastic": s.stochastic,
            }
            for s in GENERATORS.values()
        },
        "broken_generators": dict(BROKEN),
        "encoder_methods": {
            s.name: {
                "title": s.title,
                "source": s.source,
                "presets": sorted(s.presets),
                "axes": {2: "yx", 3: "zyx"}[s.ndim],
                "learns": s.learns,
            }
            for s in ENCODERS.values()
        },
        "recipes": {name: get_recipe(name).description for name in RECIPES},
        "folder": str(models_folder()),
        "downloads": downloads_listing(),
    }


def _encoders() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, path in list_encoders().items():
        try:
            card = read_encoder_card(path)
        except VirtualStainError as error:
            found.append({"name": name, "path": str(path), "problem": str(error)})
            continue
        found.append(
            {
                "name": name,
                "path": str(path),
                "title": card.title,
                "encoder": card.encoder,
                "takes": card.takes_words,
                "crop_px": list(card.crop_px),
                "learnt_from": card.training.data,
                "label": card.label,
                "classes": list(card.classes),
                "pixel_size_um": card.pixel_size_um,
                "licence": card.licence,
                "limits": list(card.limits),
            }
        )
    return found


def _pixels(size: float | list[float]) -> str:
    return f"{size:g} µm" if isinstance(size, float) else f"{size[0]:g} x {size[1]:g} µm"


def to_text(found: dict[str, Any], *, whole: bool = True) -> str:
    """Return the same for people.

    Parameters
    ----------
    found
        As `listing` gives it.
    whole
        Whether what is not here yet, and what can be trained, is listed too, or counted only.
    """
    lines = ["Models:"]
    for model in found["models"]:
        if "problem" in model:
            lines.append(f"  {model['name']}: {model['problem']}")
            continue
        lines.append(f"  {model['name']}" + (f": {model['title']}" if model["title"] else ""))
        lines.append(f"    takes {model['takes']}, {_pixels(model['pixel_size_um'])} pixels")
        stains = [n if v is None else f"{n} ({v:.2f})" for n, v in model["stains"].items()]
        lines.append(f"    predicts {', '.join(stains)}  [validation PCC]")
        lines += [f"    note: {limit}" for limit in model["limits"]]
    if not found["models"]:
        lines.append("  none yet")
    lines.append(f"  your own models: {found['folder']}")
    lines.append("Encoders (they give features and attention, and no stain):")
    lines += [line for one in found["encoders"] for line in _encoder_text(one)] or ["  none yet"]
    if not whole:
        lines += [f"  {name}: {why}" for name, why in found["broken_generators"].items()]
        methods = len(found["generators"]) + len(found["encoder_methods"])
        lines.append(
            f"More: {len(found['downloads'])} to download, {plural(methods, 'method')} and "
            f"{plural(len(found['recipes']), 'recipe')} to train by; `virtualstain models --all` "
            "lists them."
        )
        return "\n".join(lines)
    lines += downloads_text(found["downloads"])
    lines.append("Methods (train --generator):")
    for name, spec in found["generators"].items():
        over = "stacks" if spec["axes"] == ["zyx"] else "planes"
        lines.append(
            f"  {name}: {spec['title']}, over {over}, presets {', '.join(spec['presets'])}"
        )
    lines += [f"  {name}: {why}" for name, why in found["broken_generators"].items()]
    lines.append("Methods of encoders (train --encoder):")
    for name, spec in found["encoder_methods"].items():
        over = "stacks" if spec["axes"] == "zyx" else "planes"
        lines.append(
            f"  {name}: {spec['title']}, over {over}, presets {', '.join(spec['presets'])}"
        )
    lines.append("Recipes (train --recipe):")
    lines += [f"  {name}: {text}" for name, text in found["recipes"].items()]
    return "\n".join(lines)


def _encoder_text(one: dict[str, Any]) -> list[str]:
    if "problem" in one:
        return [f"  {one['name']}: {one['problem']}"]
    lines = [f"  {one['name']}" + (f": {one['title']}" if one["title"] else "")]
    lines.append(
        f"    takes {one['takes']}, crops of {' x '.join(map(str, one['crop_px']))} px"
        + ("" if one["pixel_size_um"] is None else f" of {one['pixel_size_um']:g} µm")
    )
    taught = f", by {one['label']}" if one["label"] else ""
    lines.append(f"    learnt from: {one['learnt_from']}{taught}")
    if one["classes"]:
        lines.append(f"    tells apart {_few(one['classes'])}")
    lines.append(f"    licence: {one['licence'] or 'not stated'}")
    return lines + [f"    note: {limit}" for limit in one["limits"]]


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
