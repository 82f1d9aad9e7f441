"""List trained models, methods and recipes."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.generators.registry import GENERATORS
from napari_virtualstain.jobs.base import JobSettings
from napari_virtualstain.jobs.recipes import RECIPES, get_recipe
from napari_virtualstain.zoo import list_models, models_folder

__all__ = ["ModelsSettings", "run", "to_text"]


class ModelsSettings(JobSettings):
    """Settings of `virtualstain models`."""


def run(settings: ModelsSettings) -> dict[str, Any]:
    """Return models with their cards, methods and recipes, as plain values."""
    del settings
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
        "recipes": {name: get_recipe(name).description for name in RECIPES},
        "folder": str(models_folder()),
    }


def _pixels(size: float | list[float]) -> str:
    return f"{size:g} µm" if isinstance(size, float) else f"{size[0]:g} x {size[1]:g} µm"


def to_text(found: dict[str, Any]) -> str:
    """Return the same for people."""
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
    lines.append("Methods (train --generator):")
    for name, spec in found["generators"].items():
        over = "stacks" if spec["axes"] == ["zyx"] else "planes"
        lines.append(
            f"  {name}: {spec['title']}, over {over}, presets {', '.join(spec['presets'])}"
        )
    lines.append("Recipes (train --recipe):")
    lines += [f"  {name}: {text}" for name, text in found["recipes"].items()]
    return "\n".join(lines)
