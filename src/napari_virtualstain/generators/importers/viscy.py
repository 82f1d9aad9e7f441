"""Weights of VisCy: Lightning checkpoints whose network lies under ``model.``.

Liu, Hirata-Miyasaki et al. 2024, doi:10.1101/2024.05.31.596901. A checkpoint may lack what
it was built with, so that all sizes are read from the shapes of its weights, and
which of the published models it is follows from them.
"""

from __future__ import annotations

from dataclasses import replace

from napari_virtualstain.errors import ModelPackageError
from napari_virtualstain.generators.card import IQR_UNIT
from napari_virtualstain.generators.importers.base import Defaults, Found
from napari_virtualstain.intensity import Rule
from napari_virtualstain.nets.published import Content, Format, State, count_of

__all__ = ["FCMAE", "UNEXT2"]

_FCMAE, _UNEXT2 = "encoder.stem.conv3d.weight", "stem.conv.weight"

_ROBUST = Rule(kind="robust")
_PHASE = ("Trained on quantitative phase; bright field as recorded is another picture to it.",)
_PUBLISHED = Defaults(
    stains=("Nucleus", "Membrane"),
    channel="Phase3D",
    input_rule=_ROBUST,
    unit=IQR_UNIT,
    licence="BSD-3-Clause",
    citation="Liu, Hirata-Miyasaki et al. 2024, doi:10.1101/2024.05.31.596901",
    limits=(
        *_PHASE,
        "Relative intensity only: its training stains were normalised field by field.",
    ),
)
KNOWN: dict[tuple[str, int, int], Defaults] = {
    ("fcmae", 1, 2): replace(
        _PUBLISHED, title="VSCyto2D", channel="Phase2D",
        data="phase images of cultured cells (VSCyto2D of the Chan Zuckerberg Biohub)",
    ),
    ("fcmae", 15, 2): replace(
        _PUBLISHED, title="VSCyto3D", pixel_size_um=0.1, z_step_um=0.2,
        data="phase stacks of cultured cells (VSCyto3D of the Chan Zuckerberg Biohub)",
    ),
    ("unext2", 5, 2): replace(
        _PUBLISHED, title="VSCyto3D of 2024",
        data="phase stacks of cultured cells (VSCyto3D of 2024 of the Chan Zuckerberg Biohub)",
    ),
    ("unext2", 21, 2): replace(
        _PUBLISHED, title="VSNeuromast",
        data="phase stacks of zebrafish neuromasts (VSNeuromast of the Chan Zuckerberg Biohub)",
    ),
}  # fmt: skip
"""Published models by network, planes and stains."""
OTHER = Defaults(channel="Phase3D", input_rule=Rule(clip_sd=None), limits=_PHASE)
"""Others are normalised by mean and SD, as those of DynaCell are, unless it is stated."""


def _plain(state: State) -> State:
    """Return the network's weights without their prefix, and nothing else."""
    if any(name.startswith("model.") for name in state):
        return {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
    return state


def _dims(state: State, name: str, norm: str) -> list[int]:
    levels = [0]
    while name.format(levels[-1] + 1) + ".blocks.0.mlp.fc1.weight" in state:
        levels.append(levels[-1] + 1)
    return [int(state[f"{name.format(n)}.blocks.0.{norm}.weight"].shape[0]) for n in levels]


def _sizes(state: State, name: str, norm: str, kernel: tuple[int, ...]) -> dict[str, object]:
    """Return what the shapes say of a network whose stages have a name."""
    dims = _dims(state, name, norm)
    folded = kernel[0]
    last = len(dims) - 2
    return {
        "depth": kernel[2] * dims[0] // folded,
        "stem_depth": kernel[2],
        "dims": dims,
        "blocks": [count_of(state, f"{name.format(n)}.blocks.") for n in range(len(dims))],
        "decoder_blocks": count_of(state, f"decoder.decoder_stages.{last}.conv.blocks."),
    }


def _found(content: Content, generator: str, state: State, sizes: dict[str, object], taken: int,
           stains: int) -> Found:  # fmt: skip
    depth = sizes["depth"]
    assert isinstance(depth, int)
    title = {"fcmae": "FCMAE", "unext2": "UNeXt2"}[generator]
    steps = content.beside.get("global_step")
    return Found(
        format=f"VisCy {title} for {depth} plane{'s' * (depth > 1)}",
        generator=generator,
        architecture=sizes,
        in_channels=taken,
        out_channels=stains,
        state=state,
        volume=True,
        steps=steps if isinstance(steps, int) else 0,
        defaults=KNOWN.get((generator, depth, stains), replace(OTHER, title=title)),
    )


def _read_fcmae(content: Content) -> Found:
    state = _plain(content.state)
    if any(name.startswith("head.") for name in state):
        raise ModelPackageError(
            "This looks like an FCMAE of VisCy whose head has convolutions, which this version "
            "cannot run. Import one with the plain head, as all published ones have it."
        )
    kernel = tuple(state[_FCMAE].shape)
    sizes = _sizes(state, "encoder.stages.{}", "layernorm", kernel)
    sizes["stem"] = kernel[3]
    last = f"decoder.decoder_stages.{count_of(state, 'decoder.decoder_stages.') - 1}"
    # What a file of weights for single planes folds z by is not used, and may be anything.
    wide = int(state[f"{last}.conv.blocks.0.conv_dw.weight"].shape[0]) // kernel[3] ** 2
    depth = sizes["depth"]
    assert isinstance(depth, int)
    if wide % depth:
        raise ModelPackageError(
            f"This looks like an FCMAE of VisCy for {depth} planes, but {wide} planes come out of "
            "it. Import the checkpoint of a model that was trained to stain, not of a pretraining."
        )
    return _found(content, "fcmae", state, sizes, kernel[1], wide // depth)


def _read_unext2(content: Content) -> Found:
    state = _plain(content.state)
    if "head.conv.0.adn.A.weight" not in state:
        raise ModelPackageError(
            "This looks like a UNeXt2 of VisCy with another head, which this version cannot run. "
            "Import one that gives as many planes as it takes."
        )
    kernel = tuple(state[_UNEXT2].shape)
    sizes = _sizes(state, "encoder_stages.stages_{}", "norm", kernel)
    stains = int(state["head.conv.1.bias"].shape[0]) // 4
    sizes["expansion"] = int(state["head.conv.0.conv.weight"].shape[1]) // stains
    return _found(content, "unext2", state, sizes, kernel[1], stains)


def _is_fcmae(state: State) -> bool:
    return _FCMAE in _plain(state)


def _is_unext2(state: State) -> bool:
    plain = _plain(state)
    return _UNEXT2 in plain and any(name.startswith("encoder_stages.") for name in plain)


FCMAE = Format(name="VisCy FCMAE", fits=_is_fcmae, read=_read_fcmae)
UNEXT2 = Format(name="VisCy UNeXt2", fits=_is_unext2, read=_read_unext2)
