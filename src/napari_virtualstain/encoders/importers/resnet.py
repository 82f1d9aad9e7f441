"""Weights of ResNet classifiers, over planes or volumes, under the names published for torch.

He et al. 2016, doi:10.1109/CVPR.2016.90. A classifier says how many classes it tells apart and not
which: they have to be stated.
"""

from __future__ import annotations

from napari_virtualstain.encoders.importers.base import FoundEncoder, plain
from napari_virtualstain.nets.published import Content, Format, State, count_of, with_counters

__all__ = ["RESNET"]

_FIRST, _LAST = "conv1.weight", "fc.weight"
_PREFIXES = ("module.", "model.", "backbone.")
_CROPS = {2: (224, 224), 3: (32, 128, 128)}
_KNOWN: dict[tuple[bool, tuple[int, ...]], str] = {
    (True, (3, 4, 6, 3)): "ResNet-50", (True, (3, 4, 23, 3)): "ResNet-101",
    (False, (3, 4, 6, 3)): "ResNet-34", (False, (2, 2, 2, 2)): "ResNet-18",
}  # fmt: skip


def _fits(state: State) -> bool:
    named = plain(state, _PREFIXES)
    return {_FIRST, "bn1.running_mean", "layer1.0.conv1.weight", _LAST} <= named.keys()


def _read(content: Content) -> FoundEncoder:
    state = with_counters(plain(content.state, _PREFIXES))
    first, ndim = state[_FIRST], state[_FIRST].ndim - 2
    scales = len({name.split(".", 1)[0] for name in state if name.startswith("layer")})
    blocks = tuple(count_of(state, f"layer{n + 1}.") for n in range(scales))
    bottleneck = "layer1.0.conv3.weight" in state
    named = _KNOWN.get((bottleneck, blocks), f"ResNet of {sum(blocks)} blocks")
    over = "planes" if ndim == 2 else "volumes"
    return FoundEncoder(
        format=f"{named} over {over}",
        encoder="resnet" if ndim == 2 else "resnet3d",
        architecture={
            "ndim": ndim, "blocks": blocks, "width": int(first.shape[0]), "bottleneck": bottleneck,
        },
        in_channels=int(first.shape[1]),
        state=state,
        first=_FIRST,
        crop_px=_CROPS[ndim],
        classes=int(state[_LAST].shape[0]),
        title=f"{named} classifier over {over}",
        label="class",
        citation="He et al. 2016, doi:10.1109/CVPR.2016.90",
        limits=("The file does not say how large its pictures were.",),
        grey_values="Nor how they were normalised: each channel of each picture is brought to mean "
        "0 and SD 1.",
    )  # fmt: skip


RESNET = Format(name="ResNet classifiers", fits=_fits, read=_read)
