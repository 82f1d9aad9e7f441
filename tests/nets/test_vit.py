"""The transformer equals a plain functional twin, and its attention is read row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_virtualstain.nets.projection import Projection
from napari_virtualstain.nets.vit import VisionTransformer

SMALL = {"patch": 4, "dim": 24, "depth": 3, "heads": 3, "image": 16}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    made = VisionTransformer(2, **SMALL).eval()
    for parameter in made.parameters():  # zeros and ones would hide what is left out
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def pictures(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype("f4"))


def norm(x, w, name):
    centred = x - x.mean(-1, keepdim=True)
    spread = (centred**2).mean(-1, keepdim=True)
    return centred / (spread + 1e-6).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def twin(w, x, positions):
    """With loops over heads and the whole matrix of attention; return features and attentions."""
    patch, dim = SMALL["patch"], SMALL["dim"]
    cells = functional.unfold(x, patch, stride=patch).transpose(1, 2)  # (B, N, C p p)
    tokens = cells @ w["patch_embed.proj.weight"].flatten(1).T + w["patch_embed.proj.bias"]
    x = torch.cat([w["cls_token"].expand(len(x), 1, dim), tokens], dim=1) + positions
    matrices = []
    for n in range(SMALL["depth"]):
        at = f"blocks.{n}"
        qkv = norm(x, w, f"{at}.norm1") @ w[f"{at}.attn.qkv.weight"].T + w[f"{at}.attn.qkv.bias"]
        each = dim // SMALL["heads"]
        heads, found = [], []
        for h in range(SMALL["heads"]):
            q, k, v = (qkv[..., s * dim + h * each :][..., :each] for s in range(3))
            matrix = torch.softmax(q @ k.transpose(1, 2) / each**0.5, dim=-1)
            heads.append(matrix)
            found.append(matrix @ v)
        matrices.append(torch.stack(heads, dim=1))
        x = x + torch.cat(found, -1) @ w[f"{at}.attn.proj.weight"].T + w[f"{at}.attn.proj.bias"]
        hidden = norm(x, w, f"{at}.norm2") @ w[f"{at}.mlp.fc1.weight"].T + w[f"{at}.mlp.fc1.bias"]
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        x = x + hidden @ w[f"{at}.mlp.fc2.weight"].T + w[f"{at}.mlp.fc2.bias"]
    return norm(x, w, "norm")[:, 0], matrices


def test_features_and_attention_are_those_of_a_plain_twin(net):
    x = pictures(2, 2, 16, 16)
    with torch.no_grad():
        wanted, matrices = twin(net.state_dict(), x, net.pos_embed)
        torch.testing.assert_close(net(x), wanted, rtol=1e-5, atol=1e-5)
        for block, matrix in enumerate(matrices):
            got = net.attention(x, block=block, rows=(0, 5, 16))
            torch.testing.assert_close(got, matrix[:, :, [0, 5, 16]], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(net.attention(x), matrices[-1][:, :, :1], rtol=1e-5, atol=1e-6)


def test_each_row_of_attention_sums_to_one(net):
    with torch.no_grad():
        rows = net.attention(pictures(1, 2, 24, 8), rows=range(13))
    assert rows.shape == (1, 3, 13, 13)
    torch.testing.assert_close(rows.sum(-1), torch.ones(1, 3, 13))


def cubic(x):
    """Keys' kernel with a = -0.75, which torch's bicubic has."""
    x = abs(x)
    if x <= 1:
        return 1.25 * x**3 - 2.25 * x**2 + 1
    return -0.75 * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def stretched(grid, count):
    """Bring the first axis to a length, as DINO does: the tenth is in the step, not in the size."""
    edge = len(grid)
    step = edge / (count + 0.1)
    out = []
    for n in range(count):
        at = (n + 0.5) * step - 0.5
        low = int(np.floor(at))
        out.append(
            sum(cubic(at - k) * grid[min(max(k, 0), edge - 1)] for k in range(low - 1, low + 3))
        )
    return np.stack(out)


def test_positions_of_another_size_are_interpolated_as_in_dino(net):
    learnt = net.pos_embed.detach().numpy()[0]
    grid = stretched(learnt[1:].reshape(4, 4, -1).astype(float), 6)
    grid = stretched(grid.swapaxes(0, 1), 3).swapaxes(0, 1)
    wanted = np.concatenate([learnt[:1], grid.reshape(18, -1)])
    np.testing.assert_allclose(net._positions(6, 3).detach().numpy()[0], wanted, atol=1e-5)


def test_the_two_ways_to_interpolate_agree_at_the_learnt_size_only():
    torch.manual_seed(1)
    one = VisionTransformer(1, **SMALL).eval()
    other = VisionTransformer(1, **SMALL, positions="timm").eval()
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        same = [net(pictures(1, 1, 16, 16)) for net in (one, other)]
        apart = [net(pictures(1, 1, 24, 20)) for net in (one, other)]
    assert torch.equal(*same)
    assert not torch.allclose(*apart, atol=1e-6)


@pytest.mark.parametrize("shape", [(16, 18), (3, 16), (0, 16)])
def test_a_picture_that_is_not_made_of_patches_is_refused(net, shape):
    with pytest.raises(ValueError, match="patches of 4 px"):
        net.grid(shape)


def test_keys_and_shapes_are_those_of_dino():
    with torch.device("meta"):
        state = VisionTransformer(3).state_dict()
    block = {
        "norm1.weight": (384,), "norm1.bias": (384,), "attn.qkv.weight": (1152, 384),
        "attn.qkv.bias": (1152,), "attn.proj.weight": (384, 384), "attn.proj.bias": (384,),
        "norm2.weight": (384,), "norm2.bias": (384,), "mlp.fc1.weight": (1536, 384),
        "mlp.fc1.bias": (1536,), "mlp.fc2.weight": (384, 1536), "mlp.fc2.bias": (384,),
    }  # fmt: skip
    wanted = {
        "cls_token": (1, 1, 384), "pos_embed": (1, 785, 384),
        "patch_embed.proj.weight": (384, 3, 8, 8), "patch_embed.proj.bias": (384,),
        **{f"blocks.{n}.{key}": shape for n in range(12) for key, shape in block.items()},
        "norm.weight": (384,), "norm.bias": (384,),
    }  # fmt: skip
    assert {key: tuple(value.shape) for key, value in state.items()} == wanted


def test_a_projection_is_that_of_a_plain_twin():
    torch.manual_seed(2)
    head = Projection(6, 9, hidden=8, bottleneck=4, fixed_length=False)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    w = {k: v.detach() for k, v in head.state_dict().items()}
    assert list(w) == [
        "mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias", "mlp.4.weight", "mlp.4.bias",
        "last_layer.weight_g", "last_layer.weight_v",
    ]  # fmt: skip
    x = wanted = pictures(5, 6)
    for n in (0, 2, 4):
        wanted = wanted @ w[f"mlp.{n}.weight"].T + w[f"mlp.{n}.bias"]
        wanted = wanted * 0.5 * (1 + torch.erf(wanted / 2**0.5)) if n < 4 else wanted
    wanted = wanted / wanted.pow(2).sum(1, keepdim=True).sqrt()
    rows = w["last_layer.weight_v"]
    rows = rows / rows.pow(2).sum(1, keepdim=True).sqrt() * w["last_layer.weight_g"]
    torch.testing.assert_close(head(x).detach(), wanted @ rows.T, rtol=1e-5, atol=1e-6)


def test_prototypes_of_fixed_length_learn_their_direction_only():
    head = Projection(6, 9, hidden=8, bottleneck=4)
    head(pictures(2, 6)).sum().backward()
    assert head.last_layer.weight_g.grad is None
    assert head.last_layer.weight_v.grad.abs().max() > 0


@pytest.mark.slow
def test_attention_of_a_whole_field_takes_less_than_two_gigabytes():
    import resource

    torch.manual_seed(0)
    net = VisionTransformer(3).eval()
    with torch.inference_mode():
        rows = net.attention(pictures(1, 3, 1024, 1024))
    assert rows.shape == (1, 6, 1, 1 + 128 * 128)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 < 2
