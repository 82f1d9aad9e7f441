"""A residual network without classes or modules."""

from __future__ import annotations

from torch.nn import functional


def twin(w, x, blocks, ndim, bottleneck):
    """Return features of each scale, their mean, and scores, by the names of the weights alone."""
    conv = functional.conv2d if ndim == 2 else functional.conv3d
    pool = functional.max_pool2d if ndim == 2 else functional.max_pool3d

    def norm(x, name):
        return functional.batch_norm(
            x, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"],
            w[f"{name}.bias"],
        )  # fmt: skip

    x = norm(conv(x, w["conv1.weight"], stride=2, padding=3), "bn1")
    x = pool(x.clamp(min=0), 3, 2, 1)
    scales = []
    for scale, count in enumerate(blocks, 1):
        for n in range(count):
            at, stride = f"layer{scale}.{n}", 2 if scale > 1 and n == 0 else 1
            kept = x
            if f"{at}.downsample.0.weight" in w:
                kept = conv(x, w[f"{at}.downsample.0.weight"], stride=stride)
                kept = norm(kept, f"{at}.downsample.1")
            strides = (1, stride, 1) if bottleneck else (stride, 1)
            for k, step in enumerate(strides, 1):
                weight = w[f"{at}.conv{k}.weight"]
                x = conv(x, weight, stride=step, padding=weight.shape[-1] // 2)
                x = norm(x, f"{at}.bn{k}")
                x = x.clamp(min=0) if k < len(strides) else x
            x = (x + kept).clamp(min=0)
        scales.append(x)
    pooled = x.mean(dim=tuple(range(2, x.ndim)))
    return scales, pooled, pooled @ w["fc.weight"].T + w["fc.bias"]
