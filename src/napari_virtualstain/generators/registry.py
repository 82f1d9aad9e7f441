"""Which generators there are, by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from napari_virtualstain.errors import SettingsError, unknown_name
from napari_virtualstain.generators.base import Generator, GeneratorSpec

__all__ = ["GENERATORS", "build_generator", "get_spec"]

GENERATORS: dict[str, GeneratorSpec] = {
    spec.name: spec
    for spec in (
        GeneratorSpec(
            name="unet",
            title="U-Net (regression)",
            target="napari_virtualstain.generators.unet:UNetGenerator",
            ndim=(2,),
            stochastic=False,
            source="doi:10.1038/s41598-022-12914-x",
            presets={
                "labelfree": {"depth": 6, "width": 32, "norm": "none"},
                "small": {"depth": 5, "width": 16, "norm": "batch"},
                "tiny": {"depth": 2, "width": 4, "norm": "batch"},
            },
        ),
    )
}
"""Every generator, by registry name."""


def get_spec(name: str) -> GeneratorSpec:
    """Return the description of a generator.

    Raises
    ------
    UnknownNameError
        If there is none of that name; the message offers the nearest.
    """
    if name in GENERATORS:
        return GENERATORS[name]
    raise unknown_name("generator", name, GENERATORS)


def build_generator(
    name: str,
    *,
    in_channels: int,
    out_channels: int,
    preset: str | None = None,
    architecture: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Generator:
    """Build a generator with random weights, the same for the same seed.

    Parameters
    ----------
    name
        Registry key.
    in_channels, out_channels
        Planes and stains.
    preset
        One of the spec's presets.
    architecture
        Settings that override the preset's; those of a model card are complete.
    seed
        Decides the weights; the global random state is left as it was.

    Raises
    ------
    UnknownNameError
        If generator or preset do not exist.
    SettingsError
        If the architecture has settings that the generator does not know.
    """
    spec = get_spec(name)
    settings: dict[str, Any] = {}
    if preset is not None:
        if preset not in spec.presets:
            raise unknown_name(f"preset of {name!r}", preset, spec.presets)
        settings.update(spec.presets[preset])
    settings.update(architecture or {})
    module, _, attribute = spec.target.partition(":")
    cls = getattr(import_module(module), attribute)
    import torch

    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            generator = cls(in_channels=in_channels, out_channels=out_channels, **settings)
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise SettingsError(
            f"The generator {name!r} cannot be built with {settings}: {error}. "
            "Correct the architecture in the model card."
        ) from error
    return cast(Generator, generator)
