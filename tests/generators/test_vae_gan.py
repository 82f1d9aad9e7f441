"""The VAE-GAN paints the likeliest code, keeps its code near a normal one, and plays when it may."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_virtualstain.generators.adversarial import patch_critic
from napari_virtualstain.generators.learning import Batch
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.generators.vae_gan import VaeGame, VaeGanSettings
from napari_virtualstain.inference.norms import exact_statistics, with_statistics
from napari_virtualstain.inference.scan import scan_reach
from napari_virtualstain.losses.autoencoder import posterior_kl
from napari_virtualstain.losses.descent import Moment
from napari_virtualstain.losses.pixel import get_loss
from napari_virtualstain.tiling.plan import plan_tiles

EARLY, LATE = Moment(step=0, epoch=0.0, done=0.3), Moment(step=7, epoch=0.0, done=0.34)


@pytest.fixture
def generator():
    return build_generator("vae_gan", in_channels=3, out_channels=2, preset="tiny", seed=4)


@pytest.fixture
def batch():
    rng = torch.Generator().manual_seed(0)
    planes, stains = (torch.randn((2, n, 32, 32), generator=rng) for n in (3, 2))
    stains[0, 1, :20] = torch.nan
    return Batch(planes, stains, at_once=2)


def game(generator, **stated):
    stated = {"critic_width": 4, "critic_layers": 1, "learning_rate": 1e-3} | stated
    settings = VaeGanSettings(**stated)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        learner = VaeGame(generator.module(), patch_critic(5, settings), settings)
    for network in learner.networks.values():
        network.train()
    return learner


def weights_of(learner, name):
    return torch.cat([p.detach().flatten().clone() for p in learner.networks[name].parameters()])


def test_what_is_predicted_is_the_most_probable_code(generator, batch):
    net = generator.module()
    with torch.no_grad():
        wanted = net.decode(net.encode(batch.planes).mean).numpy()
    np.testing.assert_allclose(generator.predict(batch.planes.numpy()), wanted, atol=1e-6)


def test_the_critic_neither_learns_nor_counts_before_its_time(generator, batch):
    learner = game(generator)
    before, painter = weights_of(learner, "critic"), weights_of(learner, "generator")
    said = learner.step(batch, EARLY)
    assert set(said) == {"loss", "pixel", "kl"}
    assert torch.equal(weights_of(learner, "critic"), before)
    assert not torch.equal(weights_of(learner, "generator"), painter)
    said = learner.step(batch, LATE)
    assert set(said) == {"critic", "loss", "pixel", "kl", "balance", "features"}
    assert not torch.equal(weights_of(learner, "critic"), before)


def test_early_its_loss_is_that_of_pixels_and_of_the_code(generator, batch):
    net = generator.module()
    with torch.no_grad():
        posterior = net.encode(batch.planes)
        pixel = get_loss("l1")(net.decode(posterior.mean), batch.stains)
        kl = posterior_kl(posterior.mean, posterior.logvar).mean()
    said = game(generator, code="likeliest", kl_weight=50.0).step(batch, EARLY)
    assert said["kl"] == pytest.approx(float(kl), rel=1e-5)
    assert said["pixel"] == pytest.approx(float(pixel), rel=1e-5)
    assert said["loss"] == pytest.approx(float(pixel + 50 * kl / (2 * 32 * 32)), rel=1e-5)


def test_late_its_loss_has_the_critic_and_its_features_too(generator, batch):
    learner = game(generator, code="likeliest", feature_weight=3.0)
    critic = learner.networks["critic"]
    learner.optimisers["critic"].param_groups[0]["lr"] = 0.0  # the one that judges is the one here
    said = learner.step(batch, LATE)
    fresh = build_generator("vae_gan", in_channels=3, out_channels=2, preset="tiny", seed=4)
    net = fresh.module()
    known = torch.isfinite(batch.stains)
    predicted = net(batch.planes)
    fake, real = (torch.where(known, x, 0.0) for x in (predicted, batch.stains))
    pixel, last = get_loss("l1")(predicted, batch.stains), net.last_layer
    scores, seen = critic.look(fake, batch.planes)
    features = torch.stack(
        [
            (a - b).abs().mean()
            for a, b in zip(seen, critic.look(real, batch.planes)[1], strict=True)
        ]
    ).mean()
    pulls = [
        torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
        for loss in (pixel, -scores.mean())
    ]
    balance = float(pulls[0] / (pulls[1] + 1e-4))
    wanted = pixel + 0.5 * balance * -scores.mean() + 3 * features + 1e-6 * said["kl"] / 2048
    assert said["balance"] == pytest.approx(balance, rel=1e-4)
    assert said["features"] == pytest.approx(float(features.detach()), rel=1e-4)
    assert said["loss"] == pytest.approx(float(wanted.detach()), rel=1e-4)


def test_a_code_is_drawn_in_training_by_torchs_seed_and_the_step(generator, batch):
    def pixel(step, **stated):
        copy = build_generator("vae_gan", in_channels=3, out_channels=2, preset="tiny", seed=4)
        with torch.random.fork_rng():
            torch.manual_seed(3)
            torch.rand(step)  # what else was drawn before decides nothing
            return game(copy, **stated).step(batch, Moment(step=step, epoch=0.0))["pixel"]

    assert pixel(1) == pixel(1) != pixel(2)
    assert pixel(1, code="likeliest") == pixel(2, code="likeliest") != pixel(1)


def test_a_heavy_divergence_makes_codes_normal(generator, batch):
    learner = game(generator, kl_weight=1e4, learning_rate=1e-2)
    found = [learner.step(batch, EARLY)["kl"] for _ in range(40)]
    assert found[-1] < 0.1 * found[0]


@pytest.mark.parametrize("moment", [EARLY, LATE], ids=["early", "late"])
def test_in_reduced_precision_it_learns_nearly_the_same(generator, batch, moment):
    said = []
    for precision in ("fp32", "bf16"):
        copy = build_generator("vae_gan", in_channels=3, out_channels=2, preset="tiny", seed=4)
        learner = game(copy, code="likeliest")
        when = Moment(step=0, epoch=0.0, done=moment.done, precision=precision)
        said.append(learner.step(batch, when))
        assert all(p.isfinite().all() for p in copy.module().parameters())
    for name, value in said[0].items():
        assert said[1][name] == pytest.approx(value, rel=0.1, abs=0.02), name


@pytest.mark.parametrize("moment", [EARLY, LATE], ids=["early", "late"])
def test_without_any_stain_only_the_code_is_taught(generator, batch, moment):
    batch.stains[:] = torch.nan
    learner = game(generator, kl_weight=0.0)
    before = weights_of(learner, "generator")
    assert all(np.isfinite(value) for value in learner.step(batch, moment).values())
    assert torch.equal(weights_of(learner, "generator"), before)


def test_tiles_with_the_statistics_of_the_whole_are_the_whole():
    """Also where the network pads on one side only, which at a tile's end is not the image's."""
    made = build_generator("vae_gan", in_channels=2, out_channels=2, preset="tiny", seed=4)
    net, shape = made.module().eval(), (136, 152)
    rng = np.random.default_rng(0)
    image = (rng.normal(size=(1, 2, *shape)) * np.linspace(0.2, 3, shape[0])[:, None]).astype("f4")
    reach = scan_reach(net)
    plan = plan_tiles(shape, core=64, halo=reach.halo, multiple_of=reach.multiple_of)

    def tiles():
        return ((image[(slice(None), slice(None), *tile.read)], tile.keep) for tile in plan)

    fixed = with_statistics(net, exact_statistics(net, tiles), 2)
    expected = made.predict(image)[0]
    found = np.empty_like(expected)
    for tile in plan:
        with torch.inference_mode():
            given = torch.from_numpy(image[(slice(None), slice(None), *tile.read)])
            found[(slice(None), *tile.write)] = fixed(given)[0].numpy()[(slice(None), *tile.keep)]
    np.testing.assert_allclose(found, expected, atol=2e-4 * float(np.ptp(expected)))
