"""Several devices teach what one does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from little_pairs import field as field_of
from little_pairs import pairs
from structure_classifier import card_of

from napari_virtualstain.encoders.package import EncoderModel
from napari_virtualstain.encoders.perceptual import Perceptual, PerceptualLoss
from napari_virtualstain.encoders.registry import build_encoder
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.generators.learning import Batch
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.losses.descent import Moment
from napari_virtualstain.training.painting import fit
from napari_virtualstain.training.settings import LoopSettings, learning_settings
from napari_virtualstain.training.together import make_learner

# Without BatchNorm, whose statistics are those of a share.
PLAIN = {"depth": 2, "width": 4, "norm": "none"}
SETTINGS = LoopSettings(
    steps=6, batch=4, patch=32, validate_every=3, learning_rate=1e-2, clip=1.0, seed=5
)


@pytest.fixture(scope="module")
def train():
    return pairs(field_of(0), field_of(1, missing=True))


def fresh(name="unet"):
    return build_generator(name, in_channels=2, out_channels=2, architecture=PLAIN, seed=1)


def trained(train, folder, devices, *, name="unet", **options):
    generator = fresh(name)
    settings = SETTINGS.model_copy(update=options.pop("changed", {}))
    fit(generator, train, settings, folder=folder, stain_names=("a", "b"), devices=devices, **options)  # fmt: skip
    return generator.module().state_dict()


def alike(one, other, tolerance):
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["unet", "pix2pix"])
@pytest.mark.parametrize("devices", [2, 3])
def test_devices_with_shares_learn_what_one_does_in_parts(train, tmp_path, name, devices):
    batch = 2 * devices
    parts = {"batch": batch, "at_once": 2}
    alone = trained(train, tmp_path / "one", ["cpu"], name=name, changed=parts)
    shared = trained(train, tmp_path / "all", ["cpu"] * devices, name=name, changed=parts)
    alike(shared, alone, 1e-5)
    logs = [
        np.genfromtxt(tmp_path / f / "log.csv", delimiter=",", names=True) for f in ("one", "all")
    ]
    for column in ("train_loss", *(("train_critic",) if name == "pix2pix" else ())):
        np.testing.assert_allclose(logs[0][column], logs[1][column], rtol=1e-4)


@pytest.mark.parametrize("name", ["unet", "pix2pix", "isl"])
def test_devices_share_a_judge_of_stains(train, tmp_path, name):
    sizes = {"ndim": 2, "blocks": (1,), "width": 4, "bottleneck": False}
    encoder = build_encoder("resnet", in_channels=1, classes=2, architecture=sizes)
    judge = EncoderModel(
        card=card_of(("a", "b"), sizes=sizes), encoder=encoder, path=tmp_path, fingerprint=""
    )
    term = PerceptualLoss(Perceptual(judge, ("a", "b")), ("a", "b"), train.outputs, weight=2.0)
    parts = {"batch": 4, "at_once": 2}
    alone, shared = (
        trained(train, tmp_path / place, ["cpu"] * n, name=name, changed=parts, term=term)
        for place, n in (("one", 1), ("both", 2))
    )
    without = trained(train, tmp_path / "none", ["cpu"], name=name, changed=parts)
    alike(shared, alone, 1e-4)
    assert any((alone[key] - value).abs().max() > 1e-3 for key, value in without.items())
    logs = [
        np.genfromtxt(tmp_path / f / "log.csv", delimiter=",", names=True) for f in ("one", "both")
    ]
    np.testing.assert_allclose(*(log["train_perceptual"] for log in logs), rtol=1e-4)


def vae_trained(train, folder, devices, *, code, **options):
    generator = build_generator("vae_gan", in_channels=2, out_channels=2, preset="tiny", seed=1)
    method = (f"code={code}", "critic_width=4", "critic_norm=none")
    settings = SETTINGS.model_copy(update={"batch": 4, "at_once": 2, "method": method})
    fit(generator, train, settings, folder=folder, stain_names=("a", "b"), devices=devices, **options)  # fmt: skip
    return generator.module().state_dict()


def test_devices_share_a_game_whose_critic_is_weighed_by_gradients(train, tmp_path):
    alone, shared = (
        vae_trained(train, tmp_path / str(n), ["cpu"] * n, code="likeliest") for n in (1, 2)
    )
    alike(shared, alone, 1e-4)


@pytest.mark.parametrize("devices", [["cpu"], ["cpu", "cpu"]], ids=len)
def test_a_resumed_training_draws_the_codes_that_an_undisturbed_one_does(train, tmp_path, devices):
    whole = vae_trained(train, tmp_path / "a", devices, code="drawn")
    steps = iter(range(100))
    stop = {"should_stop": lambda: next(steps) >= 3}  # within the game
    vae_trained(train, tmp_path / "b", devices, code="drawn", **stop)
    alike(vae_trained(train, tmp_path / "b", devices, code="drawn", resume=True), whole, 0)


def learner_of(devices, name="unet"):
    generator = fresh(name)
    return make_learner(generator, learning_settings(generator.learning, SETTINGS), devices)


def batch_of(n):
    rng = np.random.default_rng(n)
    planes, stains = (torch.tensor(rng.normal(size=(n, 2, 32, 32)), dtype=torch.float32) for _ in "ab")  # fmt: skip
    return Batch(planes, stains, at_once=n)


def test_all_keep_the_same_weights_also_when_a_batch_is_too_small_for_some():
    learner = learner_of(["cpu"] * 3, "pix2pix")
    for step, n in enumerate((3, 6, 1, 5, 3)):
        learner.step(batch_of(n), Moment(step=step, epoch=0.0))
    first, *others = learner._learners
    for other in others:
        for name, network in first.networks.items():
            # Not running statistics, which are those of a share.
            alike(*(dict(one.named_parameters()) for one in (network, other.networks[name])), 0)


def test_a_new_rate_holds_for_all():
    learner = learner_of(["cpu", "cpu"])
    for group in learner.optimisers["generator"].param_groups:
        group["lr"] = 0.0
    before = {k: v.clone() for k, v in learner.networks["generator"].state_dict().items()}
    learner.step(batch_of(4), Moment(step=0, epoch=0.0))
    for one in learner._learners:
        alike(one.networks["generator"].state_dict(), before, 0)


def test_a_resumed_training_on_two_devices_goes_on_as_if_undisturbed(train, tmp_path):
    devices = ["cpu", "cpu"]
    whole = trained(train, tmp_path / "a", devices)
    steps = iter(range(100))
    trained(train, tmp_path / "b", devices, should_stop=lambda: next(steps) >= 2)
    alike(trained(train, tmp_path / "b", devices, resume=True), whole, 0)


def test_a_share_without_any_stain_keeps_nobody_from_learning():
    generator = build_generator(
        "wgan_gp", in_channels=2, out_channels=2, architecture=PLAIN, seed=1
    )
    told = learning_settings(generator.learning, SETTINGS)
    learner = make_learner(generator, told, ["cpu", "cpu"])
    batch = batch_of(4)
    batch.stains[:2] = float("nan")
    said = learner.step(batch, Moment(step=0, epoch=0.0))
    assert np.isfinite(said["gradient_norm"])
    assert np.isfinite(list(said.values())).all()


@pytest.mark.parametrize("place", [0, 1])
def test_a_device_that_fails_ends_the_step_with_its_own_error(place):
    learner = learner_of(["cpu", "cpu"])

    def step(batch, moment):
        raise PixelDataError("no memory")

    learner._learners[place].step = step
    with pytest.raises(PixelDataError, match="no memory"):
        learner.step(batch_of(4), Moment(step=0, epoch=0.0))
