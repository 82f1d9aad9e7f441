"""An EfficientNet-lite without classes or modules."""

from __future__ import annotations

from math import ceil

from torch.nn import functional


def twin(w, x, stages):
    """Return features of each scale, their mean, and scores, by the names of the weights alone."""

    def layer(x, conv, norm, stride=1, groups=1, rectify=True):
        weight = w[f"{conv}.weight"]
        kernel = weight.shape[-1]
        wide = []
        for edge in x.shape[:1:-1]:
            total = max((ceil(edge / stride) - 1) * stride + kernel - edge, 0)
            wide += [total // 2, total - total // 2]
        x = functional.conv2d(functional.pad(x, wide), weight, stride=stride, groups=groups)
        x = functional.batch_norm(
            x, w[f"{norm}.running_mean"], w[f"{norm}.running_var"], w[f"{norm}.weight"],
            w[f"{norm}.bias"], eps=1e-3,
        )  # fmt: skip
        return x.clamp(0, 6) if rectify else x

    x = layer(x, "_conv_stem", "_bn0", stride=2)
    scales, n = [], 0
    for blocks, _, stride, expansion, width in stages:
        for k in range(blocks):
            at, kept, step = f"_blocks.{n}", x, stride if k == 0 else 1
            if step > 1:
                scales.append(x)
            if expansion > 1:
                x = layer(x, f"{at}._expand_conv", f"{at}._bn0")
            x = layer(x, f"{at}._depthwise_conv", f"{at}._bn1", stride=step, groups=x.shape[1])
            x = layer(x, f"{at}._project_conv", f"{at}._bn2", rectify=False)
            x = x + kept if step == 1 and kept.shape[1] == width else x
            n += 1
    scales.append(layer(x, "_conv_head", "_bn1"))
    pooled = scales[-1].mean(dim=(2, 3))
    return scales, pooled, pooled @ w["_fc.weight"].T + w["_fc.bias"]
