"""The KL autoencoder as plain functions of its weights."""

from __future__ import annotations

import torch
from guided_twin import affine, conv, group_norm, silu, weighed
from torch.nn import functional


def norm(x, w, name, groups):
    return affine(group_norm(x, groups, eps=1e-6), w, name)


def block(x, w, name, groups):
    h = conv(silu(norm(x, w, f"{name}.norm1", groups)), w, f"{name}.conv1")
    h = conv(silu(norm(h, w, f"{name}.norm2", groups)), w, f"{name}.conv2")
    return h + (conv(x, w, f"{name}.nin_shortcut") if f"{name}.nin_shortcut.bias" in w else x)


def middle(x, w, name, groups):
    x = block(x, w, f"{name}.block_1", groups)
    if f"{name}.attn_1.q.weight" in w:
        calm = norm(x, w, f"{name}.attn_1.norm", groups)
        q, k, v = (conv(calm, w, f"{name}.attn_1.{part}").flatten(2) for part in "qkv")
        found = weighed(q, k, v).reshape(x.shape)
        x = x + conv(found, w, f"{name}.attn_1.proj_out")
    return block(x, w, f"{name}.block_2", groups)


def halved(x, w, name):
    """Each number of the result sees 3 x 3 px from twice its own place on."""
    padded = torch.zeros(*x.shape[:2], x.shape[2] + 1, x.shape[3] + 1)
    padded[..., :-1, :-1] = x
    every = functional.conv2d(padded, w[f"{name}.weight"], w[f"{name}.bias"])
    return every[..., ::2, ::2]


def encoded(x, w, groups, sizes, blocks):
    x = conv(x, w, "encoder.conv_in")
    for n in range(sizes):
        for m in range(blocks):
            x = block(x, w, f"encoder.down.{n}.block.{m}", groups)
        if n < sizes - 1:
            x = halved(x, w, f"encoder.down.{n}.downsample.conv")
    x = norm(middle(x, w, "encoder.mid", groups), w, "encoder.norm_out", groups)
    numbers = conv(conv(silu(x), w, "encoder.conv_out"), w, "quant_conv")
    half = numbers.shape[1] // 2
    return numbers[:, :half], numbers[:, half:].clip(-30, 20)


def decoded(z, w, groups, sizes, blocks):
    x = conv(conv(z, w, "post_quant_conv"), w, "decoder.conv_in")
    x = middle(x, w, "decoder.mid", groups)
    for n in reversed(range(sizes)):
        for m in range(blocks + 1):
            x = block(x, w, f"decoder.up.{n}.block.{m}", groups)
        if n:
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            x = conv(x, w, f"decoder.up.{n}.upsample.conv")
    return conv(silu(norm(x, w, "decoder.norm_out", groups)), w, "decoder.conv_out")
