"""Weights of latent diffusion's KL autoencoders, made for photographs: where a VAE-GAN begins.

Rombach et al. 2022, arXiv:2112.10752. They lie by themselves, with the networks that trained them
beside (``loss.*``), or under ``first_stage_model.`` in a checkpoint of Stable Diffusion. They take
and paint three colours; here first and last convolution are widened to planes and stains
(`nets.widening`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from napari_virtualstain.generators.importers.base import Defaults, Found
from napari_virtualstain.nets.published import Content, Format, State, count_of
from napari_virtualstain.nets.widening import Widening, widen_channels

__all__ = ["KL"]

_STAGE = "first_stage_model."
_GROUPS = 32
"""Of all published norms; shapes do not say it."""


def _plain(state: State) -> State:
    """Return the weights of the autoencoder under its own names, and nothing else."""
    if any(name.startswith(_STAGE) for name in state):
        state = {k.removeprefix(_STAGE): v for k, v in state.items() if k.startswith(_STAGE)}
    return {name: value for name, value in state.items() if not name.startswith("loss.")}


def _widened(
    state: State, in_channels: int, out_channels: int, how: Widening | None
) -> dict[str, Any]:
    # Not the mean: planes above and below focus have opposite contrast, which it would take out.
    return widen_channels(state, in_channels, out_channels, how=how or "repeat")


def _read(content: Content) -> Found:
    state = _plain(content.state)
    sizes = count_of(state, "encoder.down.")
    widths = [int(state[f"encoder.down.{n}.block.0.conv1.weight"].shape[0]) for n in range(sizes)]
    steps = content.beside.get("global_step")
    return Found(
        format=f"KL autoencoder of latent diffusion (f{2 ** (sizes - 1)})",
        generator="vae_gan",
        architecture={
            "width": widths[0],
            "multipliers": [width // widths[0] for width in widths],
            "blocks": count_of(state, "encoder.down.0.block."),
            "latent": int(state["post_quant_conv.weight"].shape[1]),
            "attention": "encoder.mid.attn_1.q.weight" in state,
            "groups": _GROUPS,
        },
        in_channels=int(state["encoder.conv_in.weight"].shape[1]),
        out_channels=int(state["decoder.conv_out.weight"].shape[0]),
        state=state,
        widen=partial(_widened, state),
        steps=steps if isinstance(steps, int) else 0,
        defaults=Defaults(
            title="Autoencoder of latent diffusion, not yet trained to stain",
            data="photographs",
            citation="Rombach et al. 2022, arXiv:2112.10752",
            limits=(
                (
                    "Trained on photographs; it has never seen a stain. Until it is trained on, "
                    "its stains are copies of the bright field. Train it by --generator vae_gan "
                    "--start and the name of this model."
                ),
            ),
        ),
    )


def _is_kl(state: State) -> bool:
    names = ("encoder.down.0.block.0.norm1.weight", "quant_conv.weight", "post_quant_conv.weight")
    for before in ("", _STAGE):
        if all(before + name in state for name in names):
            return f"{before}quantize.embedding.weight" not in state
    return False


KL = Format(name="KL autoencoder of latent diffusion", fits=_is_kl, read=_read)
