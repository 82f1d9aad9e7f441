"""Guided diffusion's networks as plain functions of their weights, as slow as they like."""

from __future__ import annotations

from math import cos, exp, log, sin

import torch
from torch.nn import functional


def embedded(w, name, time, width):
    half = width // 2
    rates = [exp(-log(10000) * n / half) for n in range(half)]
    rows = [[f(float(t) * r) for f in (cos, sin) for r in rates] for t in time]
    e = torch.tensor(rows)
    e = silu(e @ w[f"{name}.0.weight"].T + w[f"{name}.0.bias"])
    return e @ w[f"{name}.2.weight"].T + w[f"{name}.2.bias"]


def silu(x):
    return x / (1 + torch.exp(-x))


def group_norm(x, groups, eps=1e-5):
    parts = []
    for part in x.split(x.shape[1] // groups, dim=1):
        mean = part.flatten(1).mean(1).reshape(-1, *(1,) * (x.ndim - 1))
        spread = ((part - mean) ** 2).flatten(1).mean(1).reshape(mean.shape)
        parts.append((part - mean) / (spread + eps).sqrt())
    return torch.cat(parts, dim=1)


def affine(x, w, name):
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return x * w[f"{name}.weight"].reshape(shape) + w[f"{name}.bias"].reshape(shape)


def conv(x, w, name):
    weight = w[f"{name}.weight"]
    return functional.conv2d(x, weight, w[f"{name}.bias"], padding=weight.shape[-1] // 2)


def resized(x, step):
    if step == "up":
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    if step == "down":
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    return x


def spade(x, w, name, groups, map_):
    step = map_.shape[-1] // x.shape[-1]
    hidden = conv(map_[..., ::step, ::step], w, f"{name}.mlp_shared.0").clamp(min=0)
    gamma, beta = (conv(hidden, w, f"{name}.mlp_{part}") for part in ("gamma", "beta"))
    return group_norm(x, groups) * (1 + gamma) + beta


def block(x, w, name, e, groups, *, step="keep", map_=None):
    told = f"{name}.in_norm.mlp_gamma.weight" in w
    at = ("in_layers.1", "out_layers.2") if told else ("in_layers.2", "out_layers.3")
    if told:
        h = spade(x, w, f"{name}.in_norm", groups, map_)
    else:
        h = affine(group_norm(x, groups), w, f"{name}.in_layers.0")
    h = conv(resized(silu(h), step), w, f"{name}.{at[0]}")
    both = silu(e) @ w[f"{name}.emb_layers.1.weight"].T + w[f"{name}.emb_layers.1.bias"]
    scale, shift = both[:, : h.shape[1], None, None], both[:, h.shape[1] :, None, None]
    if told:
        h = spade(h, w, f"{name}.out_norm", groups, map_)
    else:
        h = affine(group_norm(h, groups), w, f"{name}.out_layers.0")
    h = conv(silu(h * (1 + scale) + shift), w, f"{name}.{at[1]}")
    x = resized(x, step)
    return h + (conv(x, w, f"{name}.skip_connection") if f"{name}.skip_connection.bias" in w else x)


def weighed(q, k, v):
    """Each (B, C, N)."""
    return v @ torch.softmax(q.transpose(1, 2) @ k / q.shape[1] ** 0.5, dim=-1).transpose(1, 2)


def attention(x, w, name, groups, head):
    flat = affine(group_norm(x.flatten(2), groups), w, f"{name}.norm")
    qkv = w[f"{name}.qkv.weight"][..., 0] @ flat + w[f"{name}.qkv.bias"][:, None]
    found = [weighed(*part.split(head, dim=1)) for part in qkv.split(3 * head, dim=1)]
    out = w[f"{name}.proj_out.weight"][..., 0] @ torch.cat(found, dim=1)
    return x + (out + w[f"{name}.proj_out.bias"][:, None]).reshape(x.shape)


def stage(x, w, name, e, groups, head, *, steps=("keep",), map_=None):
    """Go through the layers of a name, as its weights say; each block has a step."""
    steps = list(steps)
    for n in range(3):
        part = f"{name}.{n}"
        if f"{part}.weight" in w:
            x = conv(x, w, part)
        elif f"{part}.qkv.weight" in w:
            x = attention(x, w, part, groups, head)
        elif f"{part}.emb_layers.1.weight" in w:
            x = block(x, w, part, e, groups, step=steps.pop(0), map_=map_)
    return x


def down(x, w, e, groups, head, sizes, blocks):
    skips = []
    for n in range(sizes * (blocks + 1)):
        step = "down" if n and n % (blocks + 1) == 0 else "keep"
        x = stage(x, w, f"input_blocks.{n}", e, groups, head, steps=[step])
        skips.append(x)
    return skips


def unet(w, x, e, *, groups, head, sizes, blocks, map_=None):
    skips = down(x, w, e, groups, head, sizes, blocks)
    x = stage(skips[-1], w, "middle_block", e, groups, head, steps=["keep"] * 2, map_=map_)
    for n in range(sizes * (blocks + 1)):
        x = torch.cat([x, skips.pop()], dim=1)
        x = stage(x, w, f"output_blocks.{n}", e, groups, head, steps=["keep", "up"], map_=map_)
    return conv(silu(affine(group_norm(x, groups), w, "out.0")), w, "out.2")


def classifier(w, x, e, *, groups, head, sizes, blocks):
    x = down(x, w, e, groups, head, sizes, blocks)[-1]
    x = stage(x, w, "middle_block", e, groups, head, steps=["keep"] * 2)
    x = silu(affine(group_norm(x, groups), w, "out.0"))
    if "out.3.weight" in w:
        return x.mean(dim=(2, 3)) @ w["out.3.weight"][..., 0, 0].T + w["out.3.bias"]
    flat = x.flatten(2)
    flat = torch.cat([flat.mean(dim=2, keepdim=True), flat], dim=2)
    flat = flat + w["out.2.positional_embedding"]
    qkv = w["out.2.qkv_proj.weight"][..., 0] @ flat + w["out.2.qkv_proj.bias"][:, None]
    q, k, v = qkv.chunk(3, dim=1)
    heads = [weighed(*(part[:, n : n + head] for part in (q, k, v)))
             for n in range(0, x.shape[1], head)]  # fmt: skip
    found = torch.cat(heads, dim=1)[..., 0]
    return found @ w["out.2.c_proj.weight"][..., 0].T + w["out.2.c_proj.bias"]
