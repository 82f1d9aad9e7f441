"""LBBDM learns two codes, then a bridge between them, and walks it."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from napari_virtualstain.datasets.pairs import PairedField, pair_up
from napari_virtualstain.errors import SettingsError, UnknownNameError
from napari_virtualstain.generators.learning import Batch
from napari_virtualstain.generators.registry import GENERATORS, build_generator
from napari_virtualstain.generators.sampled import Sampling, draw_sample
from napari_virtualstain.intensity import Rule
from napari_virtualstain.losses.autoencoder import posterior_kl
from napari_virtualstain.losses.descent import Moment
from napari_virtualstain.losses.pixel import get_loss
from napari_virtualstain.nets.autoencoder_kl import AutoencoderKL
from napari_virtualstain.nets.guided_unet import GuidedUNet
from napari_virtualstain.training.painting import fit
from napari_virtualstain.training.settings import LoopSettings
from napari_virtualstain.training.together import make_learner

EARLY, LATE = Moment(step=0, epoch=0.0, done=0.2), Moment(step=7, epoch=0.0, done=0.5)


def made(planes=3, stains=2, **architecture):
    return build_generator(
        "lbbdm", in_channels=planes, out_channels=stains, preset="tiny", architecture=architecture
    )


def pictures(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.fixture
def batch():
    return Batch(pictures(4, 3, 24, 24), pictures(4, 2, 24, 24, seed=1), at_once=4)


def learner_of(generator, **stated):
    stated = {"critic_width": 4, "critic_layers": 1, "learning_rate": 1e-3} | stated
    with torch.random.fork_rng():
        torch.manual_seed(1)
        learner = generator.learner(generator.learning(**stated))
    for network in learner.networks.values():
        network.train()
    return learner


def weights_of(generator, part):
    weights = generator.module()[part].state_dict()
    return torch.cat([value.flatten().double().clone() for value in weights.values()])


@pytest.mark.parametrize(("planes", "stains"), [(3, 5), (5, 2), (1, 1)])
def test_planes_and_stains_may_be_of_any_number(planes, stains):
    drawn = made(planes, stains).predict(pictures(1, planes, 16, 16).numpy())
    assert drawn.shape == (1, stains, 16, 16)


def test_the_papers_preset_codes_512_px_as_4_x_64_x_64_with_the_published_weights():
    with torch.device("meta"):
        generator = build_generator("lbbdm", in_channels=3, out_channels=5, preset="paper")
        assert generator.given(torch.empty(1, 3, 512, 512)).shape == (1, 4, 64, 64)
        assert generator.painted(torch.empty(1, 4, 64, 64)).shape == (1, 5, 512, 512)
        published = {
            "planes": AutoencoderKL(3),
            "stains": AutoencoderKL(5),
            "denoise_fn": GuidedUNet(
                4, 4, width=128, multipliers=(1, 4, 8), embed="time_embed", head_channels=64
            ),
        }
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in published.items()}
    module = generator.module()
    for name, net in published.items():
        own = module[name] if name == "denoise_fn" else module[name].autoencoder
        shapes = ({k: v.shape for k, v in n.state_dict().items()} for n in (own, net))
        assert next(shapes) == next(shapes), name
    # And mean and SD of both codes.
    total = sum(p.numel() for p in module.parameters())
    assert total == sum(counts.values()) + 2 * 2 * 4 == PAPER
    assert (generator.shrink, generator.multiple_of) == (8, 32)


PAPER = 404_405_988


def test_it_walks_in_as_many_steps_as_the_paper_unless_told_and_in_one_way():
    generator = made()
    assert generator.rule(Sampling()).steps == 200
    assert generator.rule(Sampling(steps=25)).steps == 25
    with pytest.raises(SettingsError, match=r"'ddim' begins with noise.*Leave out --sampler\.$"):
        generator.rule(Sampling(sampler="ddim"))
    with pytest.raises(SettingsError, match="takes 1 to 1000"):
        generator.rule(Sampling(steps=0))


def test_a_bridge_that_has_learnt_nothing_paints_the_code_of_the_planes():
    """Its last layer is zero, so that it says x is clean: what is left is the noise of the walk."""
    generator = made(as_published=True, eta=0.0)
    planes = pictures(2, 3, 16, 16)
    generator.module().eval()
    with torch.no_grad():
        wanted = generator.stains.paint(generator.planes.code(planes)).numpy()
    drawn = draw_sample(generator, planes.numpy(), Sampling(steps=20), seed=0)
    np.testing.assert_allclose(drawn, wanted, atol=1e-4)


def test_the_networks_that_are_read_are_those_that_are_walked_with():
    generator = made()
    torch.nn.init.normal_(generator.net.out[2].weight)
    for coder in (generator.planes, generator.stains):
        coder.scale.measure([2 + 3 * pictures(2, 4, 8, 8)])
    planes, x, how = pictures(1, 3, 16, 16), pictures(1, 4, 8, 8, seed=1), Sampling()
    with torch.no_grad():
        given, time = generator.given(planes), generator.rule(how).prepare(3)
        torch.testing.assert_close(generator.given_network()(planes), given)
        torch.testing.assert_close(generator.painted_network()(x), generator.painted(x))
        read = generator.step_network(time, how)(torch.cat([given, x], dim=1))
        torch.testing.assert_close(read, generator.denoise(x, given, time, how)[0])
        first = generator.denoise(given[:, :4], given, generator.rule(how).prepare(0), how)[0]
        torch.testing.assert_close(generator.first_network()(planes), generator.painted(first))


@pytest.mark.parametrize(("join", "seen"), [("none", 0), ("code", 4), ("planes", 4 + 3 * 4)])
def test_the_published_network_sees_x_alone_and_ours_what_is_joined(join, seen):
    generator = made(join=join)
    torch.nn.init.normal_(generator.net.out[2].weight)
    x, time = pictures(1, 4, 8, 8), torch.tensor([400.0])
    assert generator.net.in_channels == 4 + seen
    with torch.no_grad():
        given = generator.given(pictures(1, 3, 16, 16))
        before = generator.answer(x, given, time)
        for channel in range(given.shape[1]):
            other = given.clone()
            other[:, channel] += 1
            assert torch.equal(generator.answer(x, other, time), before) is (channel >= seen)


def test_what_cannot_be_joined_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'code'"):
        made(join="codes")


@pytest.mark.parametrize(("steps", "spread"), [(None, 0.98), (25, 0.89)])
def test_drawn_codes_have_the_spread_of_the_bridge(monkeypatch, steps, spread):
    """Where codes are normal and the planes say nothing of them, what the network says is known."""
    generator = made()
    bridge = generator.bridge

    def knowing(x, given, time):
        t = int(time[0])
        m, variance = float(bridge.m[t]), float(bridge.variance[t])
        clean = (1 - m) / ((1 - m) ** 2 + variance) * (x - m * given[:, :4])
        return x - clean

    monkeypatch.setattr(generator, "answer", knowing)
    monkeypatch.setattr(generator, "painted", lambda x: x)
    drawn = draw_sample(generator, pictures(1, 3, 128, 128).numpy(), Sampling(steps=steps), seed=3)
    assert drawn.shape == (1, 4, 64, 64)
    assert drawn.std() == pytest.approx(spread, abs=0.02)
    assert drawn.mean() == pytest.approx(0, abs=0.03)
    apart = np.corrcoef(drawn[0].reshape(4, -1))[np.triu_indices(4, 1)]
    assert np.abs(apart).max() < 0.06


def test_a_code_is_missing_where_any_stain_is_and_nan_reaches_no_other():
    generator, stains = made(), pictures(1, 2, 16, 16)
    stains[0, 1, 5, 6] = torch.nan
    with torch.no_grad():
        codes = generator.coded(stains)
        filled = generator.coded(torch.nan_to_num(stains))
    missing = torch.isnan(codes)
    assert missing[0, :, 2, 3].all()
    assert int(missing.sum()) == codes.shape[1]
    torch.testing.assert_close(codes[~missing], filled[~missing])


def test_first_the_autoencoders_learn_and_then_only_the_bridge(batch):
    generator = made()
    learner = learner_of(generator)
    parts = ("planes", "stains", "denoise_fn")

    def moved(moment):
        before = {part: weights_of(generator, part) for part in parts}
        said = learner.step(batch, moment)
        assert all(np.isfinite(value) for value in said.values())
        changed = {
            part for part in parts if not torch.equal(weights_of(generator, part), before[part])
        }
        return changed, set(said)

    assert moved(EARLY) == (
        {"planes", "stains"},
        {"loss", "pixel", "kl", "planes loss", "planes pixel", "planes kl"},
    )
    assert not generator.stains.scale.measured
    # The first step of the second part measures codes, and no weight of an autoencoder moves.
    before = generator.planes.autoencoder.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    assert moved(LATE)[1] == {"loss", "known"}
    after = generator.planes.autoencoder.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert moved(LATE)[0] == {"denoise_fn"}
    for coder, given in ((generator.planes, batch.planes), (generator.stains, batch.stains)):
        code = coder.code(given).detach()
        assert float(code.std()) == pytest.approx(1, abs=1e-3)
        assert float(code.mean()) == pytest.approx(0, abs=1e-3)


def test_a_training_that_starts_from_a_trained_one_measures_codes_anew(batch):
    generator = made()
    learner = learner_of(generator)
    learner.step(batch, LATE)
    learner = learner_of(generator)  # of the same weights, which are frozen now
    learner.step(batch, EARLY)
    assert not generator.stains.scale.measured
    assert torch.equal(generator.stains.scale.sd, torch.ones(1, 4, 1, 1))
    assert all(p.requires_grad for p in generator.stains.autoencoder.parameters())


def test_early_the_loss_is_that_of_pixels_and_of_codes(batch):
    generator = made()
    batch.stains[0, 1, :20] = torch.nan
    wanted = {}
    shown = {"": (generator.stains, batch.stains), "planes ": (generator.planes, batch.planes)}
    with torch.no_grad():
        for name, (coder, truth) in shown.items():
            posterior = coder.autoencoder.encode(torch.nan_to_num(truth))
            pixel = get_loss("l1")(coder.autoencoder.decode(posterior.mean), truth)
            kl = posterior_kl(posterior.mean, posterior.logvar).mean()
            wanted |= {f"{name}pixel": pixel, f"{name}kl": kl}
            wanted[f"{name}loss"] = pixel + 50 * kl / truth[0].numel()
    said = learner_of(generator, code="likeliest", kl_weight=50.0).step(batch, EARLY)
    assert said == pytest.approx({name: float(value) for name, value in wanted.items()}, rel=1e-5)


def test_late_the_loss_is_the_squared_error_of_what_is_said_of_known_codes(batch, monkeypatch):
    generator = made()
    learner = learner_of(generator)
    learner.step(batch, LATE)
    batch.stains[0, 1] = torch.nan
    monkeypatch.setattr(
        generator, "answer", lambda x, given, time: torch.zeros_like(x, requires_grad=True)
    )
    torch.manual_seed(5)
    said = learner.step(batch, LATE)
    torch.manual_seed(5)
    bridge, t = generator.bridge, torch.randint(0, 1000, (4,))
    eps = torch.randn(4, 4, 12, 12)
    m, variance = (torch.from_numpy(v)[t].reshape(-1, 1, 1, 1) for v in (bridge.m, bridge.variance))
    with torch.no_grad():
        end, clean = generator.planes.code(batch.planes), generator.stains.code(batch.stains)
    target = m * (end - clean) + variance.sqrt() * eps
    assert said["loss"] == pytest.approx(float(target[1:].square().mean()), rel=1e-5)
    assert said["known"] == 0.75


def test_where_no_stain_is_whole_the_bridge_learns_nothing(batch):
    generator = made()
    batch.stains[:, 1] = torch.nan
    learner = learner_of(generator, weight_decay=0.0)
    before = weights_of(generator, "denoise_fn")
    for _ in range(2):
        assert learner.step(batch, LATE)["loss"] == 0.0
    assert torch.equal(weights_of(generator, "denoise_fn"), before)


def test_critics_come_when_they_are_asked_for_and_see_no_truth_beside(batch):
    learner = learner_of(made(), critic_from=0.5)
    assert "critic" not in learner.step(batch, EARLY)
    said = learner.step(batch, Moment(step=1, epoch=0.0, done=0.26))
    assert {"critic", "balance", "features", "planes critic"} <= set(said)
    critic = learner.networks["critic of stains"]
    scores = [critic(batch.stains, shown) for shown in (batch.stains, -batch.stains)]
    assert torch.equal(*scores)


def test_the_rate_of_the_autoencoders_sinks_to_nothing(batch):
    steps = []
    for done in (0.0, 0.49):
        generator = made()
        learner = learner_of(generator)
        before = weights_of(generator, "stains")
        learner.step(batch, Moment(step=0, epoch=0.0, done=done))
        steps.append(float((weights_of(generator, "stains") - before).abs().max()))
        rates = {group["lr"] for one in learner.optimisers.values() for group in one.param_groups}
        assert rates == {1e-3}
    assert steps[1] < 0.01 * steps[0]


def test_devices_that_share_a_batch_have_codes_of_one_scale(batch):
    settings = made().learning(critic_width=4)
    scales = []
    for devices in (["cpu"], ["cpu", "cpu"]):
        generator = made()
        learner = make_learner(generator, settings, devices)
        learner.step(batch, LATE)
        learners = getattr(learner, "_learners", [learner])
        scales += [one._generator.stains.scale.state_dict() for one in learners]
    alone, first, second = scales
    for name, value in first.items():
        assert torch.equal(value, second[name])
        torch.testing.assert_close(value, alone[name])


@pytest.fixture(scope="module")
def train():
    rng = np.random.default_rng(0)
    fields = [
        PairedField(f"field {n}", *(rng.normal(size=(c, 48, 48)).astype("f4") for c in (3, 2)))
        for n in range(2)
    ]
    return pair_up(fields, input_rule=Rule(), output_rule=Rule(), stain_names=("a", "b"))


def trained(train, folder, devices, **options):
    generator = made()
    settings = LoopSettings(
        steps=8, batch=4, patch=24, learning_rate=1e-2, seed=5, method=("critic_width=4",)
    )
    fit(generator, train, settings, folder=folder, stain_names=("a", "b"), devices=devices, **options)  # fmt: skip
    return generator.module().state_dict()


AMONG_CODES, BETWEEN, ON_THE_BRIDGE = 3, 4, 6


@pytest.mark.parametrize(
    ("devices", "stops"),
    [(["cpu"], (AMONG_CODES, BETWEEN, ON_THE_BRIDGE)), (["cpu", "cpu"], (BETWEEN,))],
    ids=["one device", "two devices"],
)
def test_a_resumed_training_ends_with_the_bits_of_an_undisturbed_one(
    train, tmp_path, devices, stops
):
    # Two at once draw from one random state, in whatever order; what they learn alike is the codes.
    alike = ("",) if len(devices) == 1 else ("planes", "stains")
    whole = trained(train, tmp_path / "whole", devices)
    for stop_after in stops:
        folder, steps = tmp_path / str(stop_after), iter(range(1, 100))
        trained(train, folder, devices, should_stop=lambda s=steps, n=stop_after: next(s) >= n)
        found = trained(train, folder, devices, resume=True)
        for name, value in whole.items():
            if name.startswith(alike):
                assert torch.equal(value, found[name]), (stop_after, name)


def test_nothing_is_examined_before_codes_stay_as_they_are(train, tmp_path):
    """A training that gives up after one examination without gain does not do so before the bridge."""
    settings = LoopSettings(
        steps=8, batch=4, patch=24, seed=5, method=("critic_width=4",), validate_every=2, patience=1
    )
    generator = made()
    result = fit(
        generator, train, settings, validation=train, folder=tmp_path, stain_names=("a", "b")
    )
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4", "6", "8"]
    assert [bool(row["validation_loss"]) for row in rows] == [False, False, True, True]
    assert result.best is not None
    assert generator.drawable


def test_small_presets_have_no_attention_and_the_papers_has():
    for preset in GENERATORS["lbbdm"].presets:
        with torch.device("meta"):
            generator = build_generator("lbbdm", in_channels=1, out_channels=1, preset=preset)
            told = generator.first_network().approximate_reach
        assert (told is not None) == (preset == "paper")
