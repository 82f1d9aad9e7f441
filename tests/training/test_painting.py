"""Training learns, stops, and goes on with the same bits."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from little_pairs import field, pairs

from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.errors import (
    DiskError,
    ModelPackageError,
    PixelDataError,
    SettingsError,
    UnknownNameError,
)
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.training.loop import rate_factor
from napari_virtualstain.training.painting import examine, fit, painted_on_nothing
from napari_virtualstain.training.patches import draw_batch, turn
from napari_virtualstain.training.settings import LoopSettings, learning_settings

SETTINGS = LoopSettings(
    steps=12, batch=2, patch=16, validate_every=4, learning_rate=1e-2, seed=5
)  # fmt: skip


@pytest.fixture(scope="module")
def train():
    return pairs(field(0), field(1))


@pytest.fixture(scope="module")
def held(train):
    return pairs(field(2), outputs=train.outputs)


def fresh():
    return build_generator("unet", in_channels=2, out_channels=2, preset="tiny", seed=1)


def train_it(generator, train, folder, *, held=None, settings=SETTINGS, **options):
    return fit(
        generator,
        train,
        settings,
        validation=held,
        folder=folder,
        stain_names=("a", "b"),
        **options,
    )


def log(folder):
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def weights(generator):
    return {k: v.clone() for k, v in generator.module().state_dict().items()}


def test_the_loss_falls(train, tmp_path):
    settings = SETTINGS.model_copy(update={"steps": 60, "validate_every": 20})
    train_it(fresh(), train, tmp_path, settings=settings)
    rows = log(tmp_path)
    assert float(rows[-1]["train_loss"]) < 0.8 * float(rows[0]["train_loss"])


@pytest.mark.parametrize("stop_after", [1, 4, 7])
def test_a_resumed_training_ends_with_the_bits_of_an_undisturbed_one(
    train, held, tmp_path, stop_after
):
    undisturbed = fresh()
    train_it(undisturbed, train, tmp_path / "a", held=held)
    steps = iter(range(1, 100))
    stopped = fresh()
    first = train_it(
        stopped, train, tmp_path / "b", held=held, should_stop=lambda: next(steps) >= stop_after
    )
    assert (first.finished, first.steps) == (False, stop_after)
    resumed = fresh()
    second = train_it(resumed, train, tmp_path / "b", held=held, resume=True)
    assert (second.finished, second.steps) == (True, SETTINGS.steps)
    for name, value in weights(undisturbed).items():
        assert torch.equal(value, weights(resumed)[name]), name
    columns = ("step", "train_loss", "validation_loss", "pcc a")
    logs = [[[row[c] for c in columns] for row in log(tmp_path / x)] for x in "ab"]
    assert logs[0] == logs[1]


def test_the_weights_kept_are_those_that_did_best(train, held, tmp_path):
    generator = fresh()
    result = train_it(generator, train, tmp_path, held=held)
    rows = log(tmp_path)
    assert result.best is not None
    assert result.best.loss == min(float(row["validation_loss"]) for row in rows)
    assert examine(generator, held, loss="l1").loss == result.best.loss


def test_another_seed_gives_other_weights(train, tmp_path):
    a, b = fresh(), fresh()
    train_it(a, train, tmp_path / "a")
    train_it(b, train, tmp_path / "b", settings=SETTINGS.model_copy(update={"seed": 6}))
    assert not torch.equal(weights(a)["last.weight"], weights(b)["last.weight"])


def test_a_stain_that_is_missing_everywhere_teaches_nothing_and_breaks_nothing(tmp_path):
    some = pairs(field(0), field(1, missing=True))
    only_missing = pairs(field(1, missing=True), outputs=some.outputs)
    result = train_it(fresh(), some, tmp_path, held=only_missing)
    assert result.best is not None
    assert np.isfinite(result.best.loss)
    assert np.isnan(result.best.scores[1])
    assert np.isfinite(result.best.scores[0])


def test_bf16_trains_float32_weights(train, tmp_path):
    generator = fresh()
    train_it(generator, train, tmp_path, settings=SETTINGS.model_copy(update={"precision": "bf16"}))
    assert weights(generator)["last.weight"].dtype == torch.float32


def test_a_loss_that_is_not_a_number_stops_the_training(train, tmp_path):
    generator = fresh()
    torch.nn.init.constant_(generator.module().last.bias, float("nan"))
    with pytest.raises(PixelDataError, match="The loss became nan at step 0. Use a lower"):
        train_it(generator, train, tmp_path)


def test_resuming_with_other_settings_is_refused(train, tmp_path):
    train_it(fresh(), train, tmp_path)
    with pytest.raises(SettingsError, match="made with batch = 2, this training has 3"):
        train_it(
            fresh(), train, tmp_path, settings=SETTINGS.model_copy(update={"batch": 3}), resume=True
        )


def test_resuming_from_nothing_is_refused(train, tmp_path):
    with pytest.raises(SettingsError, match="no checkpoint.*Train without --resume"):
        train_it(fresh(), train, tmp_path, resume=True)


def test_a_damaged_checkpoint_is_refused(train, tmp_path):
    train_it(fresh(), train, tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"no")
    with pytest.raises(ModelPackageError, match="cannot be read.*Delete it"):
        train_it(fresh(), train, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [(15, "multiple of 2 px; got 15. Use --patch 16"), (64, "smaller than a patch of 64 x 64 px")],
)
def test_patches_that_do_not_fit_are_refused(train, tmp_path, patch, sentence):
    with pytest.raises(SettingsError, match=sentence):
        train_it(fresh(), train, tmp_path, settings=SETTINGS.model_copy(update={"patch": patch}))


@pytest.mark.parametrize("name", ["pix2pix", "wgan_gp", "vae_gan"])
def test_patches_that_a_critic_sees_nothing_of_are_refused_before_the_training(
    train, tmp_path, name
):
    made = build_generator(name, in_channels=2, out_channels=2, preset="tiny")
    with pytest.raises(SettingsError, match="patches of 24 px, got 16. Use --patch 24 or more"):
        train_it(made, train, tmp_path)
    told = SETTINGS.model_copy(update={"method": ("critic_layers=2",), "steps": 1})
    assert train_it(made, train, tmp_path, settings=told).finished


def test_the_rate_rises_and_falls():
    rates = [rate_factor(step, 100) for step in range(100)]
    assert rates[4] == max(rates) == 1.0
    assert rates[0] == pytest.approx(0.2)
    assert rates[-1] == pytest.approx(0.01, abs=2e-3)


def test_a_step_sees_the_same_patches_whenever_it_is_asked(train):
    batches = [
        draw_batch(train, step=7, batch=3, patch=(16, 16), augment=True, seed=2)[0]
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*batches)


def test_planes_and_stains_are_turned_together():
    same = field(3)
    twin = pairs(PairedField("x", same.planes, same.planes.astype(np.float32)))
    planes, stains, _ = draw_batch(twin, step=0, batch=16, patch=(8, 8), augment=True, seed=0)
    np.testing.assert_allclose(planes, stains, atol=1e-4)


def test_there_are_eight_turns():
    image = np.arange(6.0, dtype=np.float32).reshape(1, 2, 3)
    assert len({turn(image, k).tobytes() + bytes(turn(image, k).shape) for k in range(8)}) == 8
    np.testing.assert_array_equal(turn(image, 0), image)


@pytest.mark.parametrize("missing", ["one field", "every field"])
def test_a_field_without_any_truth_is_not_judged(train, missing):
    generator = fresh()
    blind = PairedField("blind", field(7).planes, np.full_like(field(7).stains, np.nan))
    seen = [] if missing == "every field" else [field(2)]
    found = examine(generator, pairs(*seen, blind, outputs=train.outputs), loss="l1")
    if seen:
        assert found == examine(generator, pairs(*seen, outputs=train.outputs), loss="l1")
    else:
        assert np.isnan(found.loss)
        assert np.isnan(found.scores).all()


def test_of_a_large_field_the_middle_is_examined(train, monkeypatch):
    from napari_virtualstain.training import painting

    monkeypatch.setattr(painting, "_EXAMINED", {2: 16})
    generator, large = fresh(), field(8, shape=(41, 53))
    shapes = []
    predict = generator.predict
    monkeypatch.setattr(
        generator, "predict", lambda planes: shapes.append(planes.shape) or predict(planes)
    )
    examine(generator, pairs(large, outputs=train.outputs), loss="l1")
    assert shapes == [(1, 2, 16, 16)]


def test_a_validation_field_that_the_network_cannot_halve_is_refused(train, tmp_path):
    tiny = pairs(field(4, shape=(1, 30)), outputs=train.outputs)
    with pytest.raises(SettingsError, match="cannot examine. Leave the field out"):
        train_it(fresh(), train, tmp_path, held=tiny)


def test_resuming_with_another_network_or_other_stains_is_refused(train, tmp_path):
    train_it(fresh(), train, tmp_path)
    wider = build_generator(
        "unet",
        in_channels=2,
        out_channels=2,
        architecture={"depth": 2, "width": 6, "norm": "batch"},
    )
    with pytest.raises(SettingsError, match="is of another network.*train again without --resume"):
        train_it(wider, train, tmp_path, resume=True)
    with pytest.raises(SettingsError, match="made for a, b, this training is for b, a. Name the"):
        fit(
            fresh(), train, SETTINGS, folder=tmp_path, stain_names=("b", "a"), resume=True,
        )  # fmt: skip


def test_a_checkpoint_of_another_program_is_refused(train, tmp_path):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "checkpoint.pt")
    with pytest.raises(ModelPackageError, match="another program or version. Delete it"):
        train_it(fresh(), train, tmp_path, resume=True)


def test_a_full_disk_is_said_and_leaves_no_half_checkpoint(train, tmp_path, monkeypatch):
    def full(state, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DiskError, match="the disk is full.*Make room"):
        train_it(fresh(), train, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["log.csv"]


def test_patches_computed_a_few_at_a_time_teach_the_same(train, tmp_path):
    ended = []
    for at_once in (None, 1):
        generator = build_generator(
            "unet", in_channels=2, out_channels=2, seed=1,
            architecture={"depth": 2, "width": 4, "norm": "none"},
        )  # fmt: skip
        settings = SETTINGS.model_copy(update={"at_once": at_once, "batch": 3})
        train_it(generator, train, tmp_path / str(at_once), settings=settings)
        ended.append(weights(generator))
    for name, value in ended[0].items():
        torch.testing.assert_close(value, ended[1][name], atol=1e-4, rtol=1e-3)


def test_the_network_waits_for_no_patches_but_the_first(train):
    import threading

    from napari_virtualstain.training.prefetch import Prefetch

    drawn, gate = [], threading.Event()

    def draw(step):
        drawn.append(step)
        if step:
            gate.wait(5)
        return step

    with Prefetch(draw, 0) as patches:
        assert patches.take(0) == 0  # the next is being drawn by now, and is not waited for
        gate.set()
        assert [patches.take(1), patches.take(2), patches.take(7)] == [1, 2, 7]
    assert drawn[:3] == [0, 1, 2]


def test_a_budget_becomes_a_number_of_steps_that_a_resumed_training_keeps(train, tmp_path):
    settings = SETTINGS.model_copy(update={"budget": 3.0, "validate_every": 1000})
    stopped = train_it(fresh(), train, tmp_path, settings=settings, should_stop=_after(16))
    assert not stopped.finished
    path = tmp_path / "checkpoint.pt"
    stored = torch.load(path, weights_only=True)
    assert stored["total"] > 16
    torch.save({**stored, "total": 25}, path)  # not what this machine would come to now
    resumed = train_it(fresh(), train, tmp_path, settings=settings, resume=True)
    assert (resumed.steps, resumed.finished) == (25, True)


def _after(n):
    steps = iter(range(1, 10_000))
    return lambda: next(steps) >= n


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("2min", 120), ("1.5h", 5400), ("7", 7), (3, 3)]
)
def test_a_budget_is_read_as_people_write_it(text, seconds):
    assert LoopSettings(budget=text).budget == seconds


def test_a_training_that_no_longer_improves_ends_when_patience_does(train, held, tmp_path):
    settings = SETTINGS.model_copy(
        update={"learning_rate": 1e-12, "patience": 2, "steps": 100, "ema": 0.0}
    )
    plain = build_generator(  # without BatchNorm, whose running means go on whatever the rate
        "unet", in_channels=2, out_channels=2, architecture={"depth": 2, "width": 4}
    )
    result = train_it(plain, train, tmp_path, held=held, settings=settings)
    assert result.finished
    # The first examination is the best of equals, the next two are not better.
    assert result.steps == 3 * settings.validate_every


def test_stains_that_few_fields_have_are_drawn_as_often_as_others():
    rare = [PairedField(f"{n}", field(n).planes, field(n, missing=n > 0).stains) for n in range(8)]
    some = pairs(*rare)
    assert some.present == ((True, True), *[(True, False)] * 7)

    def share(alike):
        _, stains, _ = draw_batch(
            some, step=0, batch=200, patch=(8, 8), augment=False, seed=0, alike=alike
        )
        return np.isfinite(stains[:, 1]).all(axis=(1, 2)).mean()

    assert share("pixels") < 0.25
    assert share("stains") > 0.45


def test_gradients_are_cut_to_a_norm(train, tmp_path):
    cut, free = fresh(), fresh()
    train_it(free, train, tmp_path / "a", settings=SETTINGS.model_copy(update={"steps": 1}))
    settings = SETTINGS.model_copy(update={"steps": 1, "clip": 1e-9, "weight_decay": 0.0})
    before = weights(cut)
    train_it(cut, train, tmp_path / "b", settings=settings)
    moved = [(weights(g)["last.weight"] - before["last.weight"]).abs().max() for g in (cut, free)]
    assert moved[0] < moved[1]


METHOD = {
    "not a pair": (("critic",), SettingsError, "takes NAME=VALUE, not 'critic'. Write for example"),
    "unknown": (("critic_stepz=2",), UnknownNameError, "Did you mean 'critic_steps'"),
    "no number": (
        ("critic_steps=many",),
        SettingsError,
        "Correct it in --method critic_steps=VALUE",
    ),
}


@pytest.mark.parametrize(("words", "kind", "sentence"), METHOD.values(), ids=METHOD)
def test_settings_that_the_method_cannot_take_are_refused(words, kind, sentence):
    wgan = build_generator("wgan_gp", in_channels=1, out_channels=1, preset="tiny")
    with pytest.raises(kind, match=sentence):
        learning_settings(wgan.learning, LoopSettings(method=words))


def test_what_is_stated_takes_the_place_of_what_the_method_has():
    wgan = build_generator("wgan_gp", in_channels=1, out_channels=1, preset="tiny")
    own = learning_settings(wgan.learning, LoopSettings())
    assert (own.learning_rate, own.critic_steps, own.beta2) == (2e-4, 5, 0.9)
    stated = LoopSettings(learning_rate=0.5, method=("critic_steps=2", "stain_weights=1/2.5"))
    told = learning_settings(wgan.learning, stated)
    assert (told.learning_rate, told.critic_steps, told.stain_weights) == (0.5, 2, (1.0, 2.5))


def test_a_gan_that_was_stopped_ends_with_the_bits_of_an_undisturbed_one(train, tmp_path):
    """Its critic, both optimisers and what it draws go on as well."""
    settings = SETTINGS.model_copy(
        update={"patch": 24, "method": ("critic_width=4", "critic_steps=2")}
    )

    def gan():
        return build_generator("wgan_gp", in_channels=2, out_channels=2, preset="tiny", seed=1)

    undisturbed, resumed = gan(), gan()
    train_it(undisturbed, train, tmp_path / "a", settings=settings)
    train_it(gan(), train, tmp_path / "b", settings=settings, should_stop=_after(5))
    train_it(resumed, train, tmp_path / "b", settings=settings, resume=True)
    for name, value in weights(undisturbed).items():
        assert torch.equal(value, weights(resumed)[name]), name


def test_a_loss_that_explodes_leaves_the_last_good_weights(train, held, tmp_path):
    generator = fresh()
    settings = SETTINGS.model_copy(update={"learning_rate": 1e30, "steps": 400, "loss": "l2"})
    with pytest.raises(PixelDataError, match="became .* at step"):
        train_it(generator, train, tmp_path, held=held, settings=settings)
    assert all(torch.isfinite(v).all() for v in weights(generator).values())


def drawn():
    return build_generator("palette", in_channels=2, out_channels=2, preset="tiny", seed=1)


def test_what_draws_is_examined_by_its_samples(train, held, tmp_path):
    found = examine(drawn(), held, loss="l1")
    again = examine(drawn(), held, loss="l2")
    assert found == again  # the same noise, and no pixel loss
    assert found.loss >= 1 - np.mean(found.scores)
    result = train_it(drawn(), train, tmp_path, held=held)
    assert result.finished
    assert result.best is not None


def test_a_resumed_training_of_what_draws_ends_with_the_same_bits(train, held, tmp_path):
    undisturbed, stopped = drawn(), drawn()
    train_it(undisturbed, train, tmp_path / "a", held=held)
    steps = iter(range(1, 100))
    train_it(stopped, train, tmp_path / "b", held=held, should_stop=lambda: next(steps) >= 5)
    train_it(stopped, train, tmp_path / "b", held=held, resume=True)
    for name, value in weights(undisturbed).items():
        assert torch.equal(value, weights(stopped)[name]), name


@pytest.mark.parametrize(("painted", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_what_is_painted_on_a_field_without_cells_is_counted(held, painted, share, monkeypatch):
    generator = drawn()
    edge = held.fields[0].shape

    def predict(planes, *, seed=0):
        assert np.abs(planes).max() < 0.5  # nothing to be seen
        return painted * held.read(0, tuple(slice(0, n) for n in edge))[1][None]

    monkeypatch.setattr(generator, "predict", predict)
    found = painted_on_nothing(generator, held)
    assert found == pytest.approx(share, abs=0.05)
