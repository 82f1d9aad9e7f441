"""Weights of others are recognised by their names, and compute what they computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_virtualstain.diffusion.bridge import BrownianBridge
from napari_virtualstain.diffusion.noise_schedule import alphas_cumprod
from napari_virtualstain.errors import ModelPackageError, SettingsError
from napari_virtualstain.generators.card import IQR_UNIT
from napari_virtualstain.generators.importers import FORMATS, recognise
from napari_virtualstain.generators.importers.convert import Stated, convert
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.generators.sampled import Sampling, draw_sample
from napari_virtualstain.nets.published import Content, read_checkpoint


def weights(name, *, planes=1, stains=2, **architecture):
    """A generator of ours at random, to be disguised as a checkpoint of others."""
    made = build_generator(
        name, in_channels=planes, out_channels=stains, architecture=architecture, seed=7
    )
    return made, made.module().state_dict()


def lightning(state):
    named = {f"model.{name}": value for name, value in state.items()}
    return {
        "epoch": 3, "global_step": 1234, "state_dict": {**named, "loss_weight": torch.ones(1)},
        "pytorch-lightning_version": "2.4.0", "hparams_name": "kwargs",
    }  # fmt: skip


UNET = {"depth": 3, "width": 4, "norm": "none"}
FCMAE = {"stem_depth": 2, "stem": 2, "dims": [8, 12], "blocks": [1, 2], "decoder_blocks": 2}
UNEXT2 = {"stem_depth": 2, "dims": [8, 12], "blocks": [2, 1], "decoder_blocks": 1, "expansion": 3}
KL = {"width": 32, "multipliers": [1, 2], "blocks": 1, "latent": 3, "attention": True, "groups": 32}
CASES = {
    "label-free generator": ("unet", {"planes": 3, "stains": 5, **UNET}, lambda s: {
        "epoch": 30, "model_dict": s, "optim_dict": {"state": {}, "param_groups": [{"lr": 2e-4}]},
        "best_loss_on_test": {"l1": torch.tensor(0.3)}, "n_classes": 5, "in_channels": 3,
        "padding": True, "depth": 3, "wf": 2, "up_mode": "upconv", "batch_norm": False,
    }),
    "label-free with BatchNorm": ("unet", {"planes": 3, **UNET, "norm": "batch-after"},
                                  lambda s: {"model_dict": s}),
    "label-free weights alone": ("unet", {"planes": 3, **UNET}, lambda s: s),
    "fnet": ("fnet", {"stains": 1, "ndim": 3, "depth": 2, "width": 3}, lambda s: {
        "nn_module": "fnet_nn_3d", "nn_kwargs": {}, "nn_state": s,
        "optimizer_state": {"state": {}, "param_groups": []}, "count_iter": 50000, "gpu_ids": 0,
    }),
    "fnet over planes": ("fnet2d", {"ndim": 2, "depth": 1, "width": 3}, lambda s: {"nn_state": s}),
    "fnet of an old torch": ("fnet", {"ndim": 3, "depth": 1, "width": 3}, lambda s: {
        "nn_state": {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
    }),
    "trained on several cards": ("unet", {"planes": 3, **UNET}, lambda s: {
        f"module.{k}": v for k, v in s.items()
    }),
    "VisCy FCMAE": ("fcmae", {"depth": 4, **FCMAE}, lightning),
    "VisCy FCMAE of one plane": (
        "fcmae", {"depth": 1, **FCMAE, "stem_depth": 1}, lightning,
    ),
    "VisCy UNeXt2": ("unext2", {"depth": 4, **UNEXT2}, lightning),
    "KL autoencoder": ("vae_gan", {"planes": 3, "stains": 3, **KL}, lambda s: {
        "state_dict": {**s, "loss.logvar": torch.zeros(()), "loss.discriminator.main.0.bias":
                       torch.zeros(4)}, "global_step": 9, "epoch": 1,
    }),
    "KL autoencoder of Stable Diffusion": ("vae_gan", {"planes": 3, "stains": 3, **KL}, lambda s: {
        "state_dict": {
            "model.diffusion_model.time_embed.0.weight": torch.zeros(2, 2),
            **{f"first_stage_model.{k}": v for k, v in s.items()},
        },
    }),
    "KL autoencoder without attention": (
        "vae_gan", {"planes": 3, "stains": 3, **KL, "attention": False}, lambda s: s,
    ),
    "VisCy weights alone": ("unext2", {"depth": 2, "stains": 1, **UNEXT2}, lambda s: s),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
@pytest.mark.parametrize("name", CASES)
def test_what_was_saved_computes_the_same(name, kind, tmp_path):
    generator, settings, disguise = CASES[name]
    made, state = weights(generator, **settings)
    held = disguise(state)
    path = tmp_path / f"weights.{kind}"
    if kind == "pth":
        torch.save(held, path)
    elif all(isinstance(v, torch.Tensor) for v in held.values()):
        save_file(held, path)
    else:
        pytest.skip("not weights alone")
    found = recognise(read_checkpoint(path))
    stains = tuple(f"stain {n}" for n in range(made.out_channels))
    card, built = convert(
        found, Stated(stains=stains, pixel_size_um=0.5), name="m", file=path.name, sha256="0" * 64
    )
    assert card.generator == generator
    assert (
        card.architecture.items()
        >= {
            key: value for key, value in settings.items() if key not in {"planes", "stains"}
        }.items()
    )
    assert (built.in_channels, built.out_channels) == (made.in_channels, made.out_channels)
    z = [] if made.ndim == 2 else [made.window or 4]
    edges = (*z, 32, 48)
    planes = np.random.default_rng(0).normal(size=(2, made.in_channels, *edges))
    planes = planes.astype(np.float32)
    np.testing.assert_array_equal(built.predict(planes), made.predict(planes))


def known(kind, *, depth, stains, **more):
    _, state = weights(kind, stains=stains, depth=depth, **more)
    return recognise(Content(state=state, beside={})).defaults


def test_published_models_are_known_by_their_shapes():
    small = {"dims": [8, 12, 16], "blocks": [1, 1, 1]}
    flat = known("fcmae", depth=1, stains=2, stem_depth=1, stem=2, **small)
    deep = known("fcmae", depth=15, stains=2, stem_depth=15, stem=4, **small)
    other = known("fcmae", depth=15, stains=1, stem_depth=15, stem=4, **small)
    fish = known("unext2", depth=21, stains=2, stem_depth=21, **small)
    assert [d.title for d in (flat, deep, fish)] == ["VSCyto2D", "VSCyto3D", "VSNeuromast"]
    assert (deep.pixel_size_um, deep.z_step_um) == (0.1, 0.2)
    for found in (flat, deep, fish):
        assert found.stains == ("Nucleus", "Membrane")
        assert (found.input_rule.kind, found.unit) == ("robust", IQR_UNIT)
        assert found.licence == "BSD-3-Clause"
    assert (other.stains, other.input_rule.kind, other.licence) == (None, "zscore", "")


def test_the_card_says_where_weights_come_from_and_what_they_are_not():
    _, state = weights("unet", planes=3, stains=5, **UNET)
    found = recognise(Content(state=state, beside={"epoch": 30}))
    card, _ = convert(
        found, Stated(pixel_size_um=0.65, z_offsets_um=(-4.0, 0.0, 4.0), licence="asked for"),
        name="cp", file="cell_GEN.pth", sha256="ab" * 32,
    )  # fmt: skip
    assert card.stain_names == ("DNA", "ER", "RNA", "AGP", "Mito")
    assert [plane.z_offset_um for plane in card.inputs] == [-4.0, 0.0, 4.0]
    assert card.relative_intensity
    assert card.licence == "asked for"
    assert card.imported is not None
    assert (card.imported.file, card.imported.sha256) == ("cell_GEN.pth", "ab" * 32)
    assert any("neither trained nor examined here" in limit for limit in card.limits)


def autoencoder(**architecture):
    _, state = weights("vae_gan", planes=3, stains=3, **{**KL, **architecture})
    return recognise(Content(state={**state, "loss.logvar": torch.zeros(())}, beside={}))


WIDTHS = {
    "as many as published": (None, None, ("a", "b", "c"), 3),
    "one plane, two stains": ((0.0,), None, ("a", "b"), 1),
    "five planes by their mean": ((-4.0, -2.0, 0.0, 2.0, 4.0), "mean", ("a", "b", "c", "d", "e"), 5),
}  # fmt: skip


@pytest.mark.parametrize(("offsets", "adapt", "stains", "planes"), WIDTHS.values(), ids=WIDTHS)
def test_an_autoencoder_for_photographs_takes_the_planes_and_stains_that_are_stated(
    offsets, adapt, stains, planes
):
    stated = Stated(stains=stains, z_offsets_um=offsets, pixel_size_um=0.5, adapt=adapt)
    card, built = convert(autoencoder(), stated, name="kl", file="model.ckpt", sha256="")
    assert (len(card.inputs), card.stain_names) == (planes, stains)
    assert (built.in_channels, built.out_channels) == (planes, len(stains))
    made, state = weights("vae_gan", planes=3, stains=3, **KL)
    # A picture of one grey in all planes, which is one in all colours for the published weights.
    grey = np.random.default_rng(0).normal(size=(1, 1, 16, 16)).astype(np.float32)
    wanted = made.predict(np.repeat(grey, 3, axis=1))[0]
    got = built.predict(np.repeat(grey, planes, axis=1))[0]
    if planes % 3 and adapt is None:  # colours in turn, and not all of them
        own = built.module().state_dict()["encoder.conv_in.weight"]
        torch.testing.assert_close(own, 3 / planes * state["encoder.conv_in.weight"][:, :planes])
    elif adapt == "mean":
        np.testing.assert_allclose(got, np.repeat(wanted.mean(0)[None], len(stains), 0), atol=1e-4)
    else:
        np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_a_card_says_plainly_that_an_autoencoder_for_photographs_knows_no_stains():
    card, _ = convert(
        autoencoder(), Stated(stains=("DNA",), pixel_size_um=0.5), name="kl", file="f", sha256=""
    )
    (first, *_), report = card.limits, card.training
    assert "has never seen a stain" in first
    assert "--generator vae_gan --start" in first
    assert (report.data, report.recipe) == ("photographs", "imported")


NOT_WIDENED = {
    "no names": (Stated(pixel_size_um=0.5), "Name those that it is to learn with --stains"),
    "one name twice": (Stated(stains=("a", "a"), pixel_size_um=0.5), "Name each once"),
    "another way": (Stated(stains=("a",), pixel_size_um=0.5, adapt="sum"), "Use --adapt repeat"),
}


@pytest.mark.parametrize(("stated", "words"), NOT_WIDENED.values(), ids=NOT_WIDENED)
def test_what_an_autoencoder_for_photographs_needs_is_asked_for(stated, words):
    with pytest.raises(SettingsError, match=words):
        convert(autoencoder(), stated, name="kl", file="w.ckpt", sha256="")


def test_the_published_autoencoder_has_the_architecture_of_the_preset_named_paper():
    paper = build_on_meta(preset="paper")
    names = paper.module().state_dict()
    found = recognise(Content(state=names, beside={}))
    again = build_on_meta(found.architecture)
    shapes = {name: value.shape for name, value in names.items()}
    assert {name: value.shape for name, value in again.module().state_dict().items()} == shapes
    assert found.format.endswith("(f8)")


def build_on_meta(architecture=None, *, preset=None):
    with torch.device("meta"):
        return build_generator(
            "vae_gan", in_channels=3, out_channels=3, preset=preset, architecture=architecture
        )


UNSAID = {
    "stains": ({"stains": 2}, {"pixel_size_um": 0.5}, r"Name its 2 stains with --stains"),
    "pixel size": ({"stains": 5}, {}, r"State it with --pixel-size in µm"),
    "too few stains": (
        {"stains": 3}, {"pixel_size_um": 0.5, "stains": ("a", "b")},
        r"predicts 3 stains, and --stains names 2 \(a, b\)",
    ),
    "one stain twice": (
        {"stains": 2}, {"pixel_size_um": 0.5, "stains": ("a", "a")}, r"Name each once",
    ),
    "offsets": (
        {"stains": 5}, {"pixel_size_um": 0.5, "z_offsets_um": (0.0,)},
        r"takes 3 planes, and --z-offsets names 1",
    ),
    "a step of no stack": (
        {"stains": 5}, {"pixel_size_um": 0.5, "z_step_um": 1.0}, r"Leave out --z-step",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSAID)
def test_what_a_checkpoint_cannot_say_is_asked_for(name):
    settings, stated, words = UNSAID[name]
    _, state = weights("unet", planes=3, **settings, **UNET)
    found = recognise(Content(state=state, beside={}))
    with pytest.raises(SettingsError, match=words):
        convert(found, Stated(**stated), name="m", file="w.pth", sha256="")


def test_a_stack_of_two_kinds_of_light_or_with_offsets_is_refused():
    stated = {"stains": ("a", "b"), "pixel_size_um": 0.5}
    for planes, more, words in (
        (2, {}, "stacks of 2 kinds of light"), (1, {"z_offsets_um": (0.0,)}, "Leave out --z-offsets")
    ):  # fmt: skip
        _, state = weights("fcmae", planes=planes, depth=2, **FCMAE)
        found = recognise(Content(state=state, beside={}))
        with pytest.raises(SettingsError, match=words):
            convert(found, Stated(**stated, **more), name="m", file="w.ckpt", sha256="")


def changed(state, change):
    state = dict(state)
    change(state)
    return state


DAMAGED = {
    "missing": (lambda s: [s.pop(f"up_path.0.conv_block.block.{n}.weight") for n in (0, 2)],
                r"up_path.0.conv_block.block.0.weight, up_path.0.conv_block.block.2.weight missing"),
    "too many": (lambda s: s.update({f"extra.{n}": torch.zeros(1) for n in range(5)}),
                 r"extra.0, extra.1, extra.2 and 2 more too many"),
    "another shape": (lambda s: s.update({"last.bias": torch.zeros(9)}),
                      r"last.bias of another shape"),
    "no numbers": (lambda s: s.update({"last.bias": torch.full((5,), torch.nan)}),
                   r"values that are no numbers: last.bias"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_weights_that_are_not_all_of_a_network_are_refused_with_three_names(name):
    change, words = DAMAGED[name]
    _, state = weights("unet", planes=3, stains=5, **UNET)
    found = recognise(Content(state=changed(state, change), beside={}))
    with pytest.raises(ModelPackageError, match=words):
        convert(found, Stated(pixel_size_um=0.5), name="m", file="w.pth", sha256="")


LATER = {
    "BBDM": ["m_t", "denoise_fn.time_embed.0.weight", "vqgan.encoder.conv_in.weight"],
    "an LDM autoencoder with a codebook": [
        "encoder.conv_in.weight", "encoder.down.0.block.0.norm1.weight", "decoder.conv_out.weight",
        "quant_conv.weight", "post_quant_conv.weight", "quantize.embedding.weight",
    ],
    "an autoencoder with names of diffusers": [
        "encoder.conv_in.weight", "encoder.down_blocks.0.resnets.0.norm1.weight",
        "decoder.conv_out.weight", "quant_conv.weight", "post_quant_conv.weight",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", LATER)
def test_what_comes_later_is_recognised(name):
    state = {key: torch.zeros(2) for key in LATER[name]}
    with pytest.raises(ModelPackageError, match=f"looks like {name}.*cannot run yet"):
        recognise(Content(state=state, beside={}))


def test_a_critic_is_not_a_generator():
    state = {"model.0.weight": torch.zeros(64, 8, 4, 4), "model.0.bias": torch.zeros(64)}
    with pytest.raises(ModelPackageError, match=r"looks like a critic.*8 channels.*_GEN.pth"):
        recognise(Content(state=state, beside={}))


def test_others_are_refused_with_three_names():
    state = {name: torch.zeros(2) for name in ("conv1.weight", "fc.bias", "fc.weight", "bn.weight")}
    with pytest.raises(ModelPackageError) as caught:
        recognise(Content(state=state, beside={}))
    assert "for example conv1.weight, fc.bias, fc.weight. Import" in str(caught.value)
    assert "bn.weight" not in str(caught.value)


def test_a_part_that_tells_the_size_and_is_missing_is_named():
    _, state = weights("unext2", depth=4, **UNEXT2)
    broken = {k: v for k, v in state.items() if k != "head.conv.1.bias"}
    with pytest.raises(ModelPackageError, match="look like VisCy UNeXt2, but lack .*head.conv.1"):
        recognise(Content(state=broken, beside={}))


def test_every_format_has_a_name_of_its_own():
    assert len({one.name for one in FORMATS}) == len(FORMATS)


GUIDED = {"width": 32, "multipliers": (1, 2), "blocks": 1, "groups": 32, "middle_attention": True}


def published(name, **architecture):
    """Return a generator of ours, and its weights as the public codes keep them."""
    generator = build_generator(
        name, in_channels=3, out_channels=5, architecture={**GUIDED, **architecture}
    )
    state = {f"denoise_fn.{key}": v for key, v in generator.module().state_dict().items()}
    levels = torch.from_numpy(alphas_cumprod("palette")).float()
    return generator, {**state, "gammas": levels, "posterior_mean_coef1": torch.zeros(2000)}


@pytest.mark.parametrize(
    ("name", "more"), [("palette", {}), ("guided_i2i", {"classes": (7,), "clip": (-15.0, 15.0)})]
)
def test_networks_of_diffusion_are_built_as_their_weights_say(name, more):
    generator, state = published(name, **more)
    found = recognise(Content(state=state, beside={}))
    assert (found.generator, found.in_channels, found.out_channels) == (name, 3, 5)
    card, made = convert(
        found, Stated(pixel_size_um=0.5, stains=tuple("abcde")), name="m", file="w.pth", sha256=""
    )
    planes = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    np.testing.assert_array_equal(made.predict(planes, seed=1), generator.predict(planes, seed=1))
    assert [len(kind.classes) for kind in card.labels] == list(more.get("classes", ()))
    assert not any("schedule" in limit for limit in card.limits)


def test_a_schedule_of_another_training_is_dropped_and_said():
    _, state = published("palette")
    state["gammas"] = torch.linspace(0.9, 0.1, 500)
    found = recognise(Content(state=state, beside={}))
    assert found.architecture["schedule"] == "palette"
    assert "another noise schedule, of 500 steps" in found.defaults.limits[0]


def test_the_published_sizes_are_read_from_the_shapes():
    with torch.device("meta"):
        net = build_generator("palette", in_channels=3, out_channels=5, preset="paper").module()
    state = {f"denoise_fn.{key}": value for key, value in net.state_dict().items()}
    found = recognise(Content(state=state, beside={}))
    wanted = {"width": 64, "multipliers": [1, 2, 4, 8], "blocks": 2, "middle_attention": True}
    assert {key: found.architecture[key] for key in wanted} == wanted


SDM = {
    "width": 64, "multipliers": (1, 1, 2), "blocks": 1, "attention": (4,), "map_hidden": 8,
    "hidden": 0.0,
}  # fmt: skip


def sdm(**architecture):
    made = build_generator(
        "spade_diffusion", in_channels=3, out_channels=2, architecture={**SDM, **architecture}
    )
    stirred(made)
    return made


def stirred(made):
    """Give the layers that begin as zero something to say."""
    torch.manual_seed(3)
    for values in made.module().parameters():
        if not values.abs().sum():
            torch.nn.init.normal_(values, std=0.05)


def converted(content, **stated):
    found = recognise(content)
    names = tuple(f"s{n}" for n in range(found.out_channels))
    card, made = convert(
        found, Stated(pixel_size_um=0.5, stains=names, **stated), name="m", file="w.pt", sha256=""
    )
    return found, card, made


def drawn(generator, planes, **how):
    return draw_sample(generator, planes, Sampling(steps=3, **how), seed=1)


@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_spade_diffusion_draws_what_the_published_weights_draw(guidance):
    made, planes = sdm(), np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    found, card, built = converted(Content(state=made.module().state_dict(), beside={}))
    assert (card.generator, len(card.inputs), len(card.stains)) == ("spade_diffusion", 3, 2)
    want = drawn(made, planes, guidance=guidance)
    np.testing.assert_array_equal(drawn(built, planes, guidance=guidance), want)
    # Its training hid planes by zeros, and ours do not.
    other = sdm(hidden=10.0)
    same = np.array_equal(drawn(other, planes, guidance=guidance), want)
    assert same == (guidance == 0)
    assert found.architecture["attention"] == [4]


@pytest.mark.parametrize("name", ["spade_diffusion", "bbdm"])
def test_published_sizes_with_equal_widths_are_read_from_the_shapes(name):
    more = {"join_planes": False, "first_width": 0} if name == "bbdm" else {}
    with torch.device("meta"):
        net = build_generator(
            name, in_channels=3, out_channels=3, preset="paper", architecture=more
        )
    state = dict(net.module().state_dict())
    found = recognise(Content(state=state, beside={}))
    with torch.device("meta"):
        again = build_generator(
            name, in_channels=3, out_channels=3, architecture=found.architecture
        )
    shapes = {key: value.shape for key, value in state.items()}
    assert {key: value.shape for key, value in again.module().state_dict().items()} == shapes


def test_spade_diffusion_without_a_learnt_variance_is_refused():
    state = dict(sdm().module().state_dict())
    state["out.2.weight"] = state["out.2.weight"][:2]
    with pytest.raises(ModelPackageError, match="without a learnt variance.*Import a checkpoint"):
        recognise(Content(state=state, beside={}))


def bbdm(*, scale=1.0, **architecture):
    made = build_generator(
        "bbdm", in_channels=2, out_channels=2,
        architecture={
            "width": 64, "multipliers": (1, 2), "blocks": 1, "first_width": 0,
            "join_planes": False, "scale": scale, **architecture,
        },
    )  # fmt: skip
    stirred(made)
    bridge = BrownianBridge(scale=scale)
    tables = {
        "m_t": torch.from_numpy(bridge.m).float(),
        "variance_t": torch.from_numpy(bridge.variance).float(),
        "posterior_variance_t": torch.zeros(1000),
    }
    return made, {**made.module().state_dict(), **tables}


@pytest.mark.parametrize(("scale", "join"), [(1.0, False), (2.0, True)])
def test_a_bridge_draws_what_the_published_weights_draw(scale, join, tmp_path):
    made, state = bbdm(scale=scale, join_planes=join)
    averaged = made.module().state_dict()
    blurred = {k: v + (0.5 if k in averaged else 0) for k, v in state.items()}
    path = tmp_path / "top_model_epoch_9.pth"
    torch.save({"model": blurred, "ema": averaged, "epoch": 9, "step": 700}, path)
    found, card, built = converted(read_checkpoint(path))
    planes = np.random.default_rng(0).normal(size=(1, 2, 16, 16)).astype(np.float32)
    np.testing.assert_array_equal(drawn(built, planes), drawn(made, planes))
    assert (card.generator, card.training.steps) == ("bbdm", 700)
    assert (found.architecture["scale"], found.architecture["join_planes"]) == (scale, join)
    assert not any("dropped" in limit for limit in card.limits)
    # Without an average the weights themselves are taken.
    torch.save({"model": state, "epoch": 9}, path)
    _, _, built = converted(read_checkpoint(path))
    np.testing.assert_array_equal(drawn(built, planes), drawn(made, planes))


def test_a_bridge_of_another_training_is_dropped_and_said():
    _, state = bbdm()
    state["m_t"] = state["m_t"][:500]
    found, card, _ = converted(Content(state=state, beside={}))
    assert found.architecture["scale"] == 1.0
    assert "another bridge, of 500 steps, which was dropped" in card.limits[0]


@pytest.mark.parametrize("averaged", [False, True])
def test_a_bridge_between_latents_is_not_taken_for_one_of_pixels(averaged):
    made, state = bbdm()
    latent = {**state, "vqgan.encoder.conv_in.weight": torch.zeros(2)}
    content = Content(state=latent, beside={})
    if averaged:
        content = Content(state=made.module().state_dict(), beside={"model": latent}, under="ema")
    with pytest.raises(ModelPackageError, match="this version cannot"):
        recognise(content)


def test_a_bridge_that_is_conditioned_by_another_network_is_refused():
    _, state = bbdm()
    state["denoise_fn.input_blocks.0.0.weight"] = torch.zeros(64, 5, 3, 3)
    with pytest.raises(ModelPackageError, match="conditioned by a network that is not in the file"):
        recognise(Content(state=state, beside={}))


@pytest.mark.parametrize("kind", ["SDM", "BBDM"])
def test_weights_of_diffusion_that_are_not_all_are_refused_with_three_names(kind):
    state = dict(sdm().module().state_dict() if kind == "SDM" else bbdm()[1])
    lost = [name for name in state if ".out_layers." in name and name.endswith("bias")][:5]
    for name in lost:
        del state[name]
    words = f"look like {kind}.*{', '.join(sorted(lost)[:3])} and 2 more missing"
    with pytest.raises(ModelPackageError, match=words):
        converted(Content(state=state, beside={}))
