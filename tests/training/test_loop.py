"""Training learns, stops, and goes on with the same bits."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from napari_virtualstain.datasets.pairs import PairedField, pair_up
from napari_virtualstain.errors import (
    DiskError,
    ModelPackageError,
    PixelDataError,
    SettingsError,
)
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.intensity import Rule
from napari_virtualstain.training.loop import examine, fit, learning_rate
from napari_virtualstain.training.patches import draw_batch, turn
from napari_virtualstain.training.settings import LoopSettings

SETTINGS = LoopSettings(
    steps=12, batch=2, patch=16, validate_every=4, learning_rate=1e-2, seed=5
)  # fmt: skip


def field(seed, shape=(40, 48), missing=False):
    rng = np.random.default_rng(seed)
    planes = rng.integers(0, 1000, (2, *shape)).astype(np.uint16)
    stains = np.stack([planes[0] * 2.0 + 5, planes.mean(0)]).astype(np.float32)
    if missing:
        stains[1] = np.nan
    return PairedField(f"field {seed}", planes, stains)


def pairs(*fields, outputs=None):
    return pair_up(
        fields, input_rule=Rule(), output_rule=Rule(clip_sd=None), stain_names=("a", "b"),
        outputs=outputs,
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
    assert np.isnan(result.best.pcc[1])
    assert np.isfinite(result.best.pcc[0])


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
    [(15, "multiple of 2 px; got 15. Use --patch 16"), (64, "smaller than a patch of 64 px")],
)
def test_patches_that_do_not_fit_are_refused(train, tmp_path, patch, sentence):
    with pytest.raises(SettingsError, match=sentence):
        train_it(fresh(), train, tmp_path, settings=SETTINGS.model_copy(update={"patch": patch}))


def test_the_rate_rises_and_falls():
    settings = LoopSettings(steps=100, learning_rate=1.0)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[4] == max(rates) == 1.0
    assert rates[0] == pytest.approx(0.2)
    assert rates[-1] == pytest.approx(0.01, abs=2e-3)


def test_a_step_sees_the_same_patches_whenever_it_is_asked(train):
    batches = [
        draw_batch(train, step=7, batch=3, patch=16, augment=True, seed=2)[0] for _ in range(2)
    ]
    np.testing.assert_array_equal(*batches)


def test_planes_and_stains_are_turned_together():
    same = field(3)
    twin = pairs(PairedField("x", same.planes, same.planes.astype(np.float32)))
    planes, stains = draw_batch(twin, step=0, batch=16, patch=8, augment=True, seed=0)
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
        assert np.isnan(found.pcc).all()


def test_of_a_large_field_the_middle_is_examined(train, monkeypatch):
    from napari_virtualstain.training import loop

    monkeypatch.setattr(loop, "_EXAMINED", 16)
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
