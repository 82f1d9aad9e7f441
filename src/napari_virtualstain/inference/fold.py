"""The same network with fewer operations: BatchNorm inside the convolution before it.

In evaluation BatchNorm is a scale and an offset per channel, which a
convolution in front of it can apply itself (Jacob et al. 2018,
doi:10.1109/CVPR.2018.00286, section 3.2). The result differs from the
network's own by float rounding only.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import fx, nn

__all__ = ["fold_norms"]

_PAIRS = {
    nn.Conv1d: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d, nn.Conv3d: nn.BatchNorm3d,
    nn.ConvTranspose1d: nn.BatchNorm1d, nn.ConvTranspose2d: nn.BatchNorm2d,
    nn.ConvTranspose3d: nn.BatchNorm3d,
}  # fmt: skip


def fold_norms(graph: fx.GraphModule) -> fx.GraphModule:
    """Return a copy of a traced network for evaluation, with every norm folded that can be.

    Parameters
    ----------
    graph
        In evaluation mode; left as it is.
    """
    folded = copy.deepcopy(graph).eval()
    parts = dict(folded.named_modules())
    for node in list(folded.graph.nodes):
        before = node.args[0] if node.args else None
        if not (
            node.op == "call_module"
            and isinstance(before, fx.Node)
            and before.op == "call_module"
            and len(before.users) == 1
        ):
            continue
        convolution, norm = parts[str(before.target)], parts[str(node.target)]
        wanted = _PAIRS.get(type(convolution))
        if wanted is None or not isinstance(norm, wanted) or norm.running_mean is None:
            continue
        if _times_used(folded, str(before.target)) > 1 or _times_used(folded, str(node.target)) > 1:
            continue  # shared weights: folding would change the other use
        _fold(convolution, norm)
        node.replace_all_uses_with(before)
        folded.graph.erase_node(node)
    folded.graph.lint()
    folded.delete_all_unused_submodules()
    folded.recompile()
    return folded


def _times_used(graph: fx.GraphModule, target: str) -> int:
    return sum(
        node.op == "call_module" and str(node.target) == target for node in graph.graph.nodes
    )


def _fold(convolution: nn.Module, norm: nn.Module) -> None:
    norm = cast(nn.BatchNorm2d, norm)
    convolution = cast(nn.Conv2d, convolution)
    mean, variance = cast(torch.Tensor, norm.running_mean), cast(torch.Tensor, norm.running_var)
    # In float64, as the product of two roundings would be seen in the last digits.
    scale = (variance.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    offset = -mean.double() * scale
    if norm.bias is not None:
        offset = offset + norm.bias.double()
    weight = convolution.weight
    transposed = isinstance(
        convolution, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
    )
    with torch.no_grad():
        if transposed:
            # (in, out / groups, *K): the output channels of group g are its own.
            groups = convolution.groups
            split = scale.reshape(groups, 1, -1, *(1,) * (weight.ndim - 2))
            new = weight.double().reshape(groups, -1, *weight.shape[1:]) * split
            new = new.reshape(weight.shape)
        else:
            new = weight.double() * scale.reshape(-1, *(1,) * (weight.ndim - 1))
        bias = offset if convolution.bias is None else convolution.bias.double() * scale + offset
        convolution.weight = nn.Parameter(new.to(weight.dtype), requires_grad=False)
        convolution.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=False)
