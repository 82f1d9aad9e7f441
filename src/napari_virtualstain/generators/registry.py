"""Which generators there are, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from napari_virtualstain.errors import UnknownNameError, unknown_name
from napari_virtualstain.generators.base import Generator, GeneratorSpec
from napari_virtualstain.generators.others import installed
from napari_virtualstain.nets.building import build

__all__ = ["BROKEN", "GENERATORS", "GRAPHS", "build_generator", "get_spec"]

_HERE = "napari_virtualstain.generators"

GENERATORS: dict[str, GeneratorSpec] = {
    spec.name: spec
    for spec in (
        GeneratorSpec(
            name="unet",
            title="U-Net (regression)",
            target=f"{_HERE}.unet:UNetGenerator",
            ndim=(2,),
            stochastic=False,
            source="doi:10.1038/s41598-022-12914-x",
            presets={
                "labelfree": {"depth": 6, "width": 32, "norm": "none"},
                "small": {"depth": 5, "width": 16, "norm": "batch"},
                "little": {"depth": 3, "width": 24, "norm": "batch"},
                "tiny": {"depth": 2, "width": 4, "norm": "batch"},
            },
        ),
        GeneratorSpec(
            name="wgan_gp",
            title="Conditional WGAN-GP",
            target=f"{_HERE}.wgan_gp:WganGpGenerator",
            ndim=(2,),
            stochastic=False,
            source="doi:10.1038/s41598-022-12914-x",
            presets={
                "labelfree": {"depth": 6, "width": 32, "norm": "none"},
                "small": {"depth": 5, "width": 16, "norm": "batch"},
                "little": {"depth": 3, "width": 24, "norm": "batch"},
                "tiny": {"depth": 2, "width": 4, "norm": "batch"},
            },
        ),
        GeneratorSpec(
            name="pix2pix",
            title="pix2pix (conditional GAN and L1)",
            target=f"{_HERE}.pix2pix:Pix2PixGenerator",
            ndim=(2,),
            stochastic=False,
            source="arXiv:1611.07004",
            presets={
                "large": {"depth": 6, "width": 64, "norm": "batch"},
                "small": {"depth": 5, "width": 16, "norm": "batch"},
                "little": {"depth": 3, "width": 24, "norm": "batch"},
                "tiny": {"depth": 2, "width": 4, "norm": "batch"},
            },
        ),
        GeneratorSpec(
            name="spade",
            title="SPADE",
            target=f"{_HERE}.spade:SpadeGenerator",
            ndim=(2,),
            stochastic=False,
            source="arXiv:1903.07291",
            presets={
                "paper": {"depth": 7, "width": 64, "hidden": 128},
                "small": {"depth": 4, "width": 16, "hidden": 32},
                "little": {"depth": 3, "width": 16, "hidden": 32},
                "tiny": {"depth": 2, "width": 4, "hidden": 8},
            },
        ),
        GeneratorSpec(
            name="vae_gan",
            title="VAE-GAN (KL autoencoder)",
            target=f"{_HERE}.vae_gan:VaeGanGenerator",
            ndim=(2,),
            stochastic=False,
            source="arXiv:2112.10752",
            exactness="statistics",
            presets={
                "paper": {"width": 128, "multipliers": (1, 2, 4, 4), "blocks": 2, "latent": 4},
                "small": {
                    "width": 32,
                    "multipliers": (1, 2, 4),
                    "blocks": 2,
                    "latent": 8,
                    "attention": False,
                    "groups": 8,
                },
                "little": {
                    "width": 16,
                    "multipliers": (1, 2, 4),
                    "blocks": 1,
                    "latent": 8,
                    "attention": False,
                    "groups": 4,
                },
                "tiny": {
                    "width": 8,
                    "multipliers": (1, 2),
                    "blocks": 1,
                    "latent": 4,
                    "attention": False,
                    "groups": 2,
                },
            },
        ),
        GeneratorSpec(
            name="isl",
            title="In-silico labeling (256 intensities a stain)",
            target=f"{_HERE}.isl:IslGenerator",
            ndim=(2,),
            stochastic=False,
            source="doi:10.1016/j.cell.2018.03.040",
            presets={
                "small": {"depth": 5, "width": 16},
                "little": {"depth": 3, "width": 24},
                "tiny": {"depth": 2, "width": 4, "hidden": 32, "bins": 64},
            },
        ),
        GeneratorSpec(
            name="palette",
            title="Palette (diffusion)",
            target=f"{_HERE}.palette:PaletteGenerator",
            ndim=(2,),
            stochastic=True,
            source="arXiv:2111.05826",
            exactness="statistics",
            presets={
                "paper": {"dropout": 0.2, "init": "kaiming"},
                "small": {
                    "width": 32,
                    "multipliers": (1, 2, 4, 4),
                    "middle_attention": False,
                    "groups": 8,
                    "head_channels": 16,
                    "predicts": "v",
                },
                "little": {
                    "width": 16,
                    "multipliers": (1, 2, 4),
                    "blocks": 1,
                    "middle_attention": False,
                    "groups": 8,
                    "head_channels": 16,
                    "predicts": "v",
                },
                "tiny": {
                    "width": 8,
                    "multipliers": (1, 2),
                    "blocks": 1,
                    "middle_attention": False,
                    "groups": 4,
                    "head_channels": 8,
                    "predicts": "v",
                },
            },
        ),
        GeneratorSpec(
            name="guided_i2i",
            title="Class-guided image-to-image diffusion",
            target=f"{_HERE}.guided_i2i:GuidedI2IGenerator",
            ndim=(2,),
            stochastic=True,
            source="arXiv:2303.08863",
            exactness="statistics",
            conditioned=True,
            presets={
                "paper": {
                    "dropout": 0.2,
                    "init": "kaiming",
                    "guide_width": 128,
                    "guide_multipliers": (1, 2, 4, 8),
                },
                "small": {
                    "width": 32,
                    "multipliers": (1, 2, 4, 4),
                    "middle_attention": False,
                    "groups": 8,
                    "head_channels": 32,
                    "predicts": "v",
                    "guide_width": 32,
                },
                "little": {
                    "width": 16,
                    "multipliers": (1, 2, 4),
                    "blocks": 1,
                    "middle_attention": False,
                    "groups": 8,
                    "head_channels": 16,
                    "predicts": "v",
                    "guide_width": 16,
                },
                "tiny": {
                    "width": 8,
                    "multipliers": (1, 2),
                    "blocks": 1,
                    "middle_attention": False,
                    "groups": 4,
                    "head_channels": 8,
                    "predicts": "v",
                    "guide_width": 8,
                    "guide_multipliers": (1, 2),
                },
            },
        ),
        GeneratorSpec(
            name="spade_diffusion",
            title="SPADE-diffusion (semantic diffusion model)",
            target=f"{_HERE}.spade_diffusion:SpadeDiffusionGenerator",
            ndim=(2,),
            stochastic=True,
            source="arXiv:2207.00050",
            exactness="statistics",
            presets={
                "paper": {"attention": (8, 16, 32)},
                "small": {
                    "width": 32,
                    "map_hidden": 32,
                    "multipliers": (1, 2, 4, 4),
                    "middle_attention": False,
                    "groups": 8,
                    "head_channels": 32,
                    "predicts": "v",
                },
                "little": {
                    "width": 16,
                    "map_hidden": 16,
                    "multipliers": (1, 2, 4),
                    "blocks": 1,
                    "middle_attention": False,
                    "groups": 8,
                    "head_channels": 16,
                    "predicts": "v",
                },
                "tiny": {
                    "width": 8,
                    "map_hidden": 8,
                    "multipliers": (1, 2),
                    "blocks": 1,
                    "middle_attention": False,
                    "groups": 4,
                    "head_channels": 8,
                    "predicts": "v",
                },
            },
        ),
        GeneratorSpec(
            name="bbdm",
            title="BBDM (Brownian bridge)",
            target=f"{_HERE}.bbdm:BbdmGenerator",
            ndim=(2,),
            stochastic=True,
            source="arXiv:2205.07680",
            exactness="statistics",
            presets={
                "paper": {"width": 128, "multipliers": (1, 4, 8), "head_channels": 64},
                "small": {
                    "width": 32,
                    "multipliers": (1, 2, 4, 4),
                    "middle_attention": False,
                    "groups": 8,
                    "head_channels": 16,
                    "first_width": 16,
                },
                "little": {
                    "width": 16,
                    "multipliers": (1, 2, 4),
                    "blocks": 1,
                    "middle_attention": False,
                    "groups": 8,
                    "head_channels": 16,
                    "first_width": 16,
                },
                "tiny": {
                    "width": 8,
                    "multipliers": (1, 2),
                    "blocks": 1,
                    "middle_attention": False,
                    "groups": 4,
                    "head_channels": 8,
                    "first_width": 4,
                },
            },
        ),
        GeneratorSpec(
            name="lbbdm",
            title="LBBDM (Brownian bridge among codes)",
            target=f"{_HERE}.lbbdm:LbbdmGenerator",
            ndim=(2,),
            stochastic=True,
            source="arXiv:2205.07680",
            exactness="statistics",
            presets={
                "paper": {
                    "code_width": 128,
                    "code_multipliers": (1, 2, 4, 4),
                    "latent": 4,
                    "width": 128,
                    "multipliers": (1, 4, 8),
                    "join": "none",
                },
                "small": {
                    "code_width": 32,
                    "code_multipliers": (1, 2, 4),
                    "latent": 8,
                    "code_attention": False,
                    "code_groups": 8,
                    "width": 64,
                    "multipliers": (1, 2, 4),
                    "middle_attention": False,
                    "groups": 8,
                    "head_channels": 16,
                },
                "little": {
                    "code_width": 16,
                    "code_multipliers": (1, 2, 4),
                    "code_blocks": 1,
                    "latent": 8,
                    "code_attention": False,
                    "code_groups": 4,
                    "width": 32,
                    "multipliers": (1, 2),
                    "blocks": 1,
                    "middle_attention": False,
                    "groups": 8,
                    "head_channels": 16,
                },
                "tiny": {
                    "code_width": 8,
                    "code_multipliers": (1, 2),
                    "code_blocks": 1,
                    "latent": 4,
                    "code_attention": False,
                    "code_groups": 2,
                    "width": 16,
                    "multipliers": (1, 2),
                    "blocks": 1,
                    "middle_attention": False,
                    "groups": 4,
                    "head_channels": 8,
                },
            },
        ),
        GeneratorSpec(
            name="fnet",
            title="fnet over volumes (regression)",
            target=f"{_HERE}.fnet:FNetGenerator",
            ndim=(3,),
            stochastic=False,
            source="doi:10.1038/s41592-018-0111-2",
            presets={
                "paper": {"ndim": 3, "depth": 4, "width": 32},
                "small": {"ndim": 3, "depth": 3, "width": 12},
                "little": {"ndim": 3, "depth": 2, "width": 12},
                "tiny": {"ndim": 3, "depth": 1, "width": 4},
            },
        ),
        GeneratorSpec(
            name="fnet2d",
            title="fnet over planes (regression)",
            target=f"{_HERE}.fnet:FNetGenerator",
            ndim=(2,),
            stochastic=False,
            source="doi:10.1038/s41592-018-0111-2",
            presets={
                "paper": {"ndim": 2, "depth": 4, "width": 32},
                "small": {"ndim": 2, "depth": 4, "width": 16},
                "little": {"ndim": 2, "depth": 2, "width": 24},
                "tiny": {"ndim": 2, "depth": 1, "width": 4},
            },
        ),
        GeneratorSpec(
            name="wgan_gp_3d",
            title="Multi-channel WGAN-GP over volumes",
            target=f"{_HERE}.wgan_gp_3d:WganGp3dGenerator",
            ndim=(3,),
            stochastic=False,
            source="Venieri, master thesis, Università di Bologna",
            presets={
                "paper": {"depth": 4, "width": 64, "norm": "instance"},
                "small": {"depth": 3, "width": 16, "norm": "batch"},
                "little": {"depth": 2, "width": 16, "norm": "batch"},
                "tiny": {"depth": 2, "width": 4, "norm": "batch"},
            },
        ),
        GeneratorSpec(
            name="fcmae",
            title="FCMAE (VSCyto2D, VSCyto3D)",
            target=f"{_HERE}.fcmae:FcmaeGenerator",
            ndim=(3,),
            stochastic=False,
            source="doi:10.1101/2024.05.31.596901",
            exactness="approximate",
            presets={
                "vscyto2d": {"depth": 1, "stem_depth": 1, "stem": 2},
                "vscyto3d": {"depth": 15, "stem_depth": 5, "stem": 4},
                "little": {
                    "depth": 5,
                    "stem_depth": 5,
                    "stem": 2,
                    "decoder_blocks": 1,
                    "dims": (24, 48),
                    "blocks": (1, 2),
                },
                "tiny": {
                    "depth": 4,
                    "stem_depth": 2,
                    "stem": 2,
                    "decoder_blocks": 1,
                    "dims": (16, 24),
                    "blocks": (1, 1),
                },
            },
        ),
        GeneratorSpec(
            name="unext2",
            title="UNeXt2 (VSCyto3D of 2024, VSNeuromast)",
            target=f"{_HERE}.unext2:UNeXt2Generator",
            ndim=(3,),
            stochastic=False,
            source="doi:10.1101/2024.05.31.596901",
            exactness="approximate",
            presets={
                "vscyto3d-2024": {"depth": 5, "stem_depth": 5},
                "vsneuromast": {"depth": 21, "stem_depth": 7},
                "little": {
                    "depth": 5,
                    "stem_depth": 5,
                    "decoder_blocks": 1,
                    "dims": (24, 48),
                    "blocks": (1, 2),
                    "expansion": 2,
                },
                "tiny": {
                    "depth": 2,
                    "stem_depth": 2,
                    "decoder_blocks": 1,
                    "dims": (16, 24),
                    "blocks": (1, 1),
                    "expansion": 4,
                },
            },
        ),
    )
}
"""Every method that can be trained, by registry name; those of other packages are among them."""

GRAPHS: dict[str, GeneratorSpec] = {
    spec.name: spec
    for spec in (
        GeneratorSpec(
            name="onnx",
            title="ONNX graph of others",
            target=f"{_HERE}.graphs:OnnxGenerator",
            ndim=(2, 3),
            stochastic=False,
            source="https://onnx.ai",
            exactness="approximate",
            weights="weights.onnx",
        ),
        GeneratorSpec(
            name="torchscript",
            title="TorchScript module of others",
            target=f"{_HERE}.graphs:TorchScriptGenerator",
            ndim=(2, 3),
            stochastic=False,
            source="https://docs.pytorch.org/docs/stable/jit.html",
            exactness="approximate",
            weights="weights.pt",
        ),
    )
}
"""Networks of others that run as they came, by registry name; they are not trained."""

_OTHERS, BROKEN = installed({*GENERATORS, *GRAPHS})
"""Those of other packages, and why some of these cannot be used, by name."""
GENERATORS.update(_OTHERS)


def get_spec(name: str) -> GeneratorSpec:
    """Return the description of a generator.

    Raises
    ------
    UnknownNameError
        If there is none of that name, with the nearest; or if it is of another package, and
        cannot be used, with the reason.
    """
    if name in GRAPHS:
        return GRAPHS[name]
    if name in GENERATORS:
        return GENERATORS[name]
    if name in BROKEN:
        raise UnknownNameError(BROKEN[name])
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
    built = build(
        spec.target, spec.presets, called=f"generator {name!r}", preset=preset,
        architecture=architecture, seed=seed, in_channels=in_channels, out_channels=out_channels,
    )  # fmt: skip
    return cast(Generator, built)
