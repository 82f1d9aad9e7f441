"""The guided U-Net and the KL autoencoder are those of diffusers, through a map of names."""

from __future__ import annotations

import re

import pytest
import torch

from napari_virtualstain.nets.autoencoder_kl import AutoencoderKL
from napari_virtualstain.nets.guided_unet import GuidedUNet

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")

SIZES, BLOCKS = 3, 2


def close(found, wanted):
    assert wanted.std() > 0.1
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def filled(theirs, ours, renamed):
    """Give their network all of our weights, none left over and none missing."""
    pairs = [pair for name, value in ours.state_dict().items() for pair in renamed(name, value)]
    theirs.load_state_dict(dict(pairs), strict=True)
    return theirs.eval()


RESNET = {
    "in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2", "out_layers.3": "conv2", "skip_connection": "conv_shortcut",
}  # fmt: skip


def attention(to, part, value):
    """Heads have question, key and value in turn here, one behind the other there."""
    if part.startswith("qkv"):
        thirds = value.reshape(-1, 3, 4, *value.shape[1:]).transpose(0, 1)
        for letter, third in zip("qkv", thirds, strict=True):
            rows = third.reshape(-1, *value.shape[1:])
            yield f"{to}.to_{letter}{part[3:]}", rows.squeeze(-1) if rows.ndim == 3 else rows
    elif part.startswith("proj_out"):
        yield f"{to}.to_out.0{part[8:]}", value.squeeze(-1) if value.ndim == 3 else value
    else:
        yield part.replace("norm", f"{to}.group_norm"), value


def unet_name(name, value):
    fixed = {
        "cond_embed.0": "time_embedding.linear_1", "cond_embed.2": "time_embedding.linear_2",
        "label_emb": "class_embedding", "input_blocks.0.0": "conv_in", "out.0": "conv_norm_out",
        "out.2": "conv_out",
    }  # fmt: skip
    head, kind = name.rsplit(".", 1)
    if head in fixed:
        yield f"{fixed[head]}.{kind}", value
        return
    where, stage, layer, part = re.fullmatch(
        r"(input_blocks|output_blocks|middle_block)(?:\.(\d+))?\.(\d+)\.(.*)", name
    ).groups()
    layer = int(layer)
    if where == "middle_block":
        to = "mid_block.attentions.0" if layer == 1 else f"mid_block.resnets.{layer // 2}"
    else:
        number = int(stage) - (where == "input_blocks")
        size, n = divmod(number, BLOCKS + 1)
        if where == "input_blocks":
            to = f"down_blocks.{size}." + (f"resnets.{n}" if n < BLOCKS else "downsamplers.0")
        else:
            to = f"up_blocks.{size}." + ("upsamplers.0" if layer else f"resnets.{n}")
    if "attentions" in to:
        yield from attention(to, part, value)
        return
    inner, kind = part.rsplit(".", 1)
    yield f"{to}.{RESNET[inner]}.{kind}", value


@pytest.mark.parametrize("classes", [(), (6,)], ids=["Palette", "class-guided"])
def test_the_guided_unet_is_theirs(classes):
    torch.manual_seed(0)
    ours = GuidedUNet(
        8, 5, width=8, multipliers=(1, 2, 4), blocks=BLOCKS, groups=4, head_channels=4,
        classes=classes, init="kaiming",
    ).eval()  # fmt: skip
    theirs = diffusers.UNet2DModel(
        in_channels=8, out_channels=5, block_out_channels=(8, 16, 32), layers_per_block=BLOCKS,
        down_block_types=("ResnetDownsampleBlock2D",) * SIZES,
        up_block_types=("ResnetUpsampleBlock2D",) * SIZES, resnet_time_scale_shift="scale_shift",
        norm_num_groups=4, attn_norm_num_groups=4, attention_head_dim=4, norm_eps=1e-5,
        flip_sin_to_cos=True, freq_shift=0, num_class_embeds=classes[0] if classes else None,
    )  # fmt: skip
    theirs = filled(theirs, ours, unet_name)
    x, gamma = torch.randn(2, 8, 16, 24), torch.tensor([0.1, 0.8])
    labels = torch.tensor([5, 2]) if classes else None
    with torch.no_grad():
        wanted = theirs(x, gamma, class_labels=labels).sample
        close(ours(x, gamma, None if labels is None else labels[:, None]), wanted)


def autoencoder_name(name, value):
    changes = (
        (r"encoder\.down\.(\d+)\.block\.", r"encoder.down_blocks.\1.resnets."),
        (r"encoder\.down\.(\d+)\.downsample\.", r"encoder.down_blocks.\1.downsamplers.0."),
        (r"decoder\.up\.(\d+)\.block\.",
         lambda m: f"decoder.up_blocks.{SIZES - 1 - int(m[1])}.resnets."),
        (r"decoder\.up\.(\d+)\.upsample\.",
         lambda m: f"decoder.up_blocks.{SIZES - 1 - int(m[1])}.upsamplers.0."),
        (r"mid\.block_1\.", "mid_block.resnets.0."),
        (r"mid\.block_2\.", "mid_block.resnets.1."),
        (r"mid\.attn_1\.norm\.", "mid_block.attentions.0.group_norm."),
        (r"mid\.attn_1\.proj_out\.", "mid_block.attentions.0.to_out.0."),
        (r"mid\.attn_1\.([qkv])\.", r"mid_block.attentions.0.to_\1."),
        (r"nin_shortcut", "conv_shortcut"),
        (r"norm_out", "conv_norm_out"),
    )  # fmt: skip
    for pattern, to in changes:
        name = re.sub(pattern, to, name)
    yield name, value[..., 0, 0] if "attentions" in name and value.ndim == 4 else value


def test_the_autoencoder_is_theirs(shaken):
    torch.manual_seed(0)
    ours = shaken(
        AutoencoderKL(3, width=8, multipliers=(1, 2, 4), blocks=BLOCKS, groups=4, latent=2)
    )
    theirs = diffusers.AutoencoderKL(
        in_channels=3, out_channels=3, block_out_channels=(8, 16, 32), layers_per_block=BLOCKS,
        down_block_types=("DownEncoderBlock2D",) * SIZES, latent_channels=2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * SIZES,
    )  # fmt: skip
    theirs = filled(theirs, ours, autoencoder_name)
    x = torch.randn(2, 3, 16, 24)
    with torch.no_grad():
        posterior, wanted = ours.encode(x), theirs.encode(x).latent_dist
        close(posterior.mean, wanted.mean)
        close(posterior.logvar, wanted.logvar)
        close(ours.decode(posterior.mode()), theirs.decode(wanted.mode()).sample)
