"""Weights of "Label-free prediction of Cell Painting from brightfield images".

Cross-Zamirski et al. 2022, doi:10.1038/s41598-022-12914-x. U-Net, generator and critic
are saved alike, as ``model_dict`` with what describes the network beside it; the shapes
of the weights say the same and are what is believed.
"""

from __future__ import annotations

from napari_virtualstain.errors import ModelPackageError
from napari_virtualstain.generators.importers.base import Defaults, Found
from napari_virtualstain.intensity import Rule
from napari_virtualstain.nets.published import Content, Format, State, count_of

__all__ = ["CRITIC", "UNET"]

_STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")
_FIRST = "down_path.0.block.0.weight"


def _read(content: Content) -> Found:
    state = content.state
    first, last = state[_FIRST], state["last.weight"]
    if "up_path.0.up.weight" not in state:
        raise ModelPackageError(
            "This looks like the label-free U-Net with interpolation on its way up, which this "
            "version cannot run. Import one that was trained with up_mode 'upconv'."
        )
    if "down_path.0.block.2.running_mean" in state:
        norm = "batch-after"
    else:
        norm = "batch" if "down_path.0.block.1.running_mean" in state else "none"
    out = int(last.shape[0])
    epoch = content.beside.get("epoch")
    return Found(
        format="label-free U-Net (model_dict)",
        generator="unet",
        architecture={
            "depth": count_of(state, "down_path."), "width": int(first.shape[0]), "norm": norm,
        },
        in_channels=int(first.shape[1]),
        out_channels=out,
        state=state,
        defaults=Defaults(
            title="Label-free prediction of Cell Painting",
            stains=_STAINS if out == len(_STAINS) else None,
            input_rule=Rule(clip_sd=None),
            data="not known" if not isinstance(epoch, int) else f"not known; epoch {epoch}",
            citation="Cross-Zamirski et al. 2022, Sci. Rep. 12, 10001, "
            "doi:10.1038/s41598-022-12914-x",
            limits=(
                "The file names no stains: if they were not stated, the order is the paper's.",
            ),
        ),
    )  # fmt: skip


def _is_unet(state: State) -> bool:
    return _FIRST in state and "last.weight" in state


def _refuse(content: Content) -> Found:
    taken = int(content.state["model.0.weight"].shape[1])
    raise ModelPackageError(
        f"This looks like a critic of label-free prediction (PatchGAN, {taken} channels), which "
        "judges stains and makes none. Import the file of the generator, whose name ends in "
        "_GEN.pth or _Unet.pth."
    )


def _is_critic(state: State) -> bool:
    first = state.get("model.0.weight")
    return (
        first is not None
        and tuple(first.shape[2:]) == (4, 4)
        and all(name.startswith("model.") for name in state)
    )


UNET = Format(name="label-free U-Net", fits=_is_unet, read=_read)
CRITIC = Format(name="label-free critic", fits=_is_critic, read=_refuse)
