"""A model over stacks is trained, stains a stack plane for plane, and says what it takes."""

from __future__ import annotations

import numpy as np
import pytest
from stacks import DEPTH, EDGE, stack, train_on_stacks, write

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import ChannelError, SettingsError
from napari_virtualstain.generators.package import load_package, read_card
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import evaluate, passport, plan, stain, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("volume")


@pytest.fixture(scope="module")
def model(folder):
    """A model folder that was trained on two stacks for a moment."""
    return train_on_stacks(folder)


@pytest.fixture(scope="module")
def bright(folder, model):
    return str(folder / "light1.ome.zarr")


def test_its_card_says_that_it_takes_a_stack(model):
    card = read_card(model)
    assert card.volume is not None
    assert (card.volume.window, card.volume.z_step_um) == (None, 1.5)
    assert card.takes_words == "a stack of Brightfield, 1.5 µm apart, of any depth"


@pytest.mark.parametrize("mode", ["whole", "halo", "stream"])
def test_a_stack_is_stained_plane_for_plane(model, bright, folder, mode):
    out = folder / f"{mode}.ome.zarr"
    tile = 32 if mode == "halo" else None
    result = stain.run(
        stain.StainSettings(input=bright, model=model, out=str(out), mode=mode, tile=tile)
    )
    assert result.shape == (1, 2, DEPTH, EDGE, EDGE)
    found = open_image(out)
    assert found.pixel_size_um == PixelSize(1.5, 0.5, 0.5)
    loaded = load_package(model)
    light, _ = stack(1)
    given = (light - light.mean()) / light.std()
    padded = np.pad(given, [(0, 0), (0, 1), (0, 0), (0, 0)]).astype(np.float32)
    whole = loaded.generator.predict(padded[None])[0, :, :DEPTH]
    for c, norm in enumerate(s.normalisation for s in loaded.card.stains):
        expected = norm.invert(whole[c])
        difference = np.abs(found.data[0, c].compute() - expected).max()
        assert difference < 1e-4 * np.ptp(expected)


def test_a_part_of_a_stack_can_be_named(model, bright, folder):
    out = folder / "part.ome.zarr"
    result = stain.run(stain.StainSettings(input=bright, model=model, out=str(out), z=(1, 2, 3)))
    assert result.shape == (1, 2, 3, EDGE, EDGE)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"z": "focus"}, "takes a whole stack and gives one.*Leave out --z focus"),
        ({"z": (0, 2)}, "takes neighbouring z planes.*for example --z 0,1,2,3"),
    ],
    ids=["focus", "gaps"],
)
def test_planes_that_are_no_stack_are_refused(model, bright, changed, sentence):
    with pytest.raises(ChannelError, match=sentence):
        plan.run(plan.PlanSettings(input=bright, model=model, **changed))


def test_planes_further_apart_than_in_training_are_said(model, folder):
    light, _ = stack(1)
    other = write(folder / "coarse.ome.zarr", light, ["Brightfield"], z_um=4.0)
    notes = plan.run(plan.PlanSettings(input=other, model=model)).notes
    assert any("4 µm apart, the model was trained at 1.5 µm" in note for note in notes)
    found = passport.run(passport.PassportSettings(input=other, model=model))
    (check,) = [check for check in found.checks if check.name == "Z planes"]
    assert check.status == "red"


def test_a_stained_stack_is_judged_against_its_truth(model, bright, folder):
    out = folder / "judged.ome.zarr"
    stain.run(stain.StainSettings(input=bright, model=model, out=str(out)))
    found = evaluate.run(
        evaluate.EvaluateSettings(prediction=str(out), target=str(folder / "stains1.ome.zarr"))
    )
    assert [score.stain for score in found.scores] == ["DNA", "ER"]
    predicted, (_, stains) = open_image(out), stack(1)
    by_plane = [
        np.abs(predicted.data[0, 0, z].compute() - stains[0, z]).mean() for z in range(DEPTH)
    ]
    assert found.scores[0].mae == pytest.approx(np.mean(by_plane), rel=1e-5)


def test_targets_of_one_plane_are_refused(bright, folder):
    _, stains = stack(1)
    flat = write(folder / "flat.ome.zarr", stains[:, :1], ["DNA", "ER"])
    with pytest.raises(SettingsError, match="needs targets of the same 5 z planes.*over planes"):
        train.run(
            train.TrainSettings(
                input=(bright,), target=(flat,), stains=("DNA",), out=str(folder / "no"),
                generator="fnet", preset="tiny", patch=16, patch_z=4, validation=0,
            )
        )  # fmt: skip
