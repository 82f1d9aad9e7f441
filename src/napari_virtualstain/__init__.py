"""Virtual staining: fluorescence predicted from bright-field microscopy.

Names are imported when they are first used, so that ``import
napari_virtualstain`` loads neither torch nor Qt nor napari.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from napari_virtualstain.api import (
        denoise,
        evaluate,
        focus,
        illumination,
        pairs,
        passport,
        plan,
        stain,
        train,
    )
    from napari_virtualstain.datasets.project import Project
    from napari_virtualstain.errors import VirtualStainError
    from napari_virtualstain.generators.card import ModelCard
    from napari_virtualstain.generators.package import Model, save_package
    from napari_virtualstain.generators.registry import GENERATORS, build_generator
    from napari_virtualstain.io.image import Channel, LazyImage
    from napari_virtualstain.io.open import list_scenes, open_image
    from napari_virtualstain.simulate import simulate_field
    from napari_virtualstain.zoo import list_models, load_generator

_HOMES = {
    "Channel": "io.image",
    "GENERATORS": "generators.registry",
    "LazyImage": "io.image",
    "Model": "generators.package",
    "ModelCard": "generators.card",
    "Project": "datasets.project",
    "VirtualStainError": "errors",
    "build_generator": "generators.registry",
    "denoise": "api",
    "evaluate": "api",
    "focus": "api",
    "illumination": "api",
    "list_models": "zoo",
    "list_scenes": "io.open",
    "load_generator": "zoo",
    "open_image": "io.open",
    "pairs": "api",
    "passport": "api",
    "plan": "api",
    "save_package": "generators.package",
    "simulate_field": "simulate",
    "stain": "api",
    "train": "api",
}

__all__ = [
    "GENERATORS",
    "Channel",
    "LazyImage",
    "Model",
    "ModelCard",
    "Project",
    "VirtualStainError",
    "__version__",
    "build_generator",
    "denoise",
    "evaluate",
    "focus",
    "illumination",
    "list_models",
    "list_scenes",
    "load_generator",
    "open_image",
    "pairs",
    "passport",
    "plan",
    "save_package",
    "simulate_field",
    "stain",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("napari-virtualstain")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
