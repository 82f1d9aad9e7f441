"""A model that draws: what the run is asked for, writes down, repeats, and refuses."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import tifffile
from drawn_models import package

from napari_virtualstain.errors import RunCancelled, SettingsError
from napari_virtualstain.generators.card import LabelKind
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.plan import PlanSettings, to_text
from napari_virtualstain.jobs.plan import run as plan
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.napari_io.layers import image_layers


@pytest.fixture(scope="module")
def palette(tiny_model, tmp_path_factory):
    return package("palette", tiny_model, tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def lbbdm(tiny_model, tmp_path_factory):
    return package("lbbdm", tiny_model, tmp_path_factory.mktemp("codes"))


@pytest.fixture(scope="module")
def told(tiny_model, tmp_path_factory):
    kinds = (LabelKind(name="treatment", classes=("dmso", "taxol")),)
    return package(
        "guided_i2i", tiny_model, tmp_path_factory.mktemp("told"), labels=kinds,
        architecture={"classes": [2]},
    )  # fmt: skip


@pytest.fixture(scope="module")
def given():
    pixels = np.random.default_rng(1).normal(1000, 100, (2, 1, 3, 40, 48)).astype(np.float32)
    return LazyImage(data=da.from_array(pixels), channels=(Channel("Brightfield", "transmitted"),))


def chosen(model, out="", **settings):
    return StainSettings(
        input="array", model=str(model), out=str(out), pixel_size=0.6,
        **{"sampling_steps": 2, **settings},
    )  # fmt: skip


def stained(model, given, out, **settings):
    notes = []
    stain.run(chosen(model, out, **settings), image=given, on_note=notes.append)
    return open_image(out), read_record(out)["record"], notes


def test_the_seed_decides_what_is_drawn_and_stands_in_the_record(palette, given, tmp_path):
    first, record, _ = stained(palette, given, tmp_path / "a.ome.zarr", seed=3)
    again, _, _ = stained(palette, given, tmp_path / "b.ome.zarr", seed=3)
    other, _, _ = stained(palette, given, tmp_path / "c.ome.zarr", seed=4)
    np.testing.assert_array_equal(first.data.compute(), again.data.compute())
    assert not np.array_equal(first.data.compute(), other.data.compute())
    assert record["seed"] == 3
    assert record["sampling"] == {
        "sampler": "auto", "steps": 2, "draws": 1, "told": [], "guidance": 0.0
    }  # fmt: skip
    assert record["plan"]["passes"] == 2


def test_several_draws_give_their_mean_and_their_spread(palette, given, tmp_path):
    image, _, _ = stained(palette, given, tmp_path / "a.ome.zarr", draws=3)
    names = ("DNA", "ER", "RNA", "AGP", "Mito")
    assert image.channel_names == (*names, *(f"{name} spread" for name in names))
    assert (image.data[:, 5:].compute() > 0).all()
    for _, keywords, _ in image_layers(image):
        assert keywords["visible"] is not keywords["name"].endswith("spread")


@pytest.mark.parametrize("name", ["palette", "lbbdm"])
def test_a_region_holds_the_pixels_of_the_whole_run(name, request, given, tmp_path):
    model = request.getfixturevalue(name)
    whole, _, _ = stained(model, given, tmp_path / "a.ome.zarr", mode="halo", tile=16)
    part, _, _ = stained(
        model, given, tmp_path / "b.ome.zarr", mode="halo", tile=16, region=(0, 0, 5, 5),
        times=(1,),
    )  # fmt: skip
    found, expected = part.data.compute(), whole.data.compute()
    assert np.isfinite(found).sum() == 5 * 16 * 16
    np.testing.assert_array_equal(found[np.isfinite(found)], expected[np.isfinite(found)])


@pytest.fixture(scope="module")
def stack(given, tmp_path_factory):
    path = tmp_path_factory.mktemp("stack") / "field.ome.tif"
    tifffile.imwrite(path, given.data.compute()[:, 0], metadata={"axes": "TZYX"})
    return path


@pytest.mark.parametrize("begun", ["cancelled", "a region"])
def test_a_run_that_goes_on_is_the_undisturbed_one(begun, palette, stack, tmp_path):
    whole, out = tmp_path / "a.ome.zarr", tmp_path / "b.ome.zarr"
    plain = chosen(palette, whole, mode="halo", tile=16, z=(0, 1, 2))
    plain = plain.model_copy(update={"input": str(stack)})
    stain.run(plain)
    again = plain.model_copy(update={"out": str(out)})

    def stop(done, total, what):
        if what.startswith("steps") and done > total // 2:
            raise RunCancelled("enough")

    if begun == "cancelled":
        with pytest.raises(RunCancelled):
            stain.run(again, on_progress=stop)
    else:
        stain.run(again.model_copy(update={"region": (0, 0, 5, 5)}))
    assert not np.isfinite(open_image(out).data.compute()).all()
    stain.run(again.model_copy(update={"resume": True}))
    np.testing.assert_array_equal(open_image(out).data.compute(), open_image(whole).data.compute())
    other = again.model_copy(update={"resume": True, "draws": 2})
    with pytest.raises(SettingsError, match="another normalisation|drawn otherwise"):
        stain.run(other)


def test_the_plan_says_how_it_is_drawn(palette, given):
    settings = PlanSettings(
        input="array", model=str(palette), pixel_size=0.6, draws=4, sampling_steps=7
    )
    words = plan(settings, image=given).prepared.describe()
    assert "drawn in 7 steps, the mean of 4 draws" in words


def test_the_time_that_drawing_takes_grows_with_what_is_drawn(palette, given, monkeypatch):
    """On a clock that ticks once a pass of a part: both time points, their steps and draws."""
    ticks = iter(range(1000))
    monkeypatch.setattr("napari_virtualstain.inference.sampled.perf_counter", lambda: next(ticks))
    once = {
        "input": "array",
        "model": str(palette),
        "pixel_size": 0.6,
        "measure": True,
        "z": (0, 1, 2),
    }
    few = plan(PlanSettings(**once, sampling_steps=2), image=given)
    many = plan(PlanSettings(**once, sampling_steps=4, draws=5), image=given)
    assert few.seconds == pytest.approx(2 * 2)  # 2 time points, 2 steps, all of 40 x 48 px at once
    assert many.seconds == pytest.approx(10 * few.seconds)
    assert to_text(few).endswith("Drawing takes about 4 s.")


def test_nothing_is_timed_unasked_or_where_nothing_is_drawn(palette, tiny_model, given):
    once = {"input": "array", "pixel_size": 0.6, "z": (0, 1, 2)}
    assert plan(PlanSettings(**once, model=str(palette)), image=given).seconds is None
    measured = PlanSettings(**once, model=str(tiny_model), measure=True)
    assert plan(measured, image=given).seconds is None


def test_what_a_model_is_told_is_said_with_what_it_means(told, given, tmp_path):
    told_image, record, notes = stained(
        told, given, tmp_path / "a.ome.zarr", told=("treatment=taxol",), guidance=2.0
    )
    assert any("Do not use these stains to show an effect" in note for note in notes)
    assert record["sampling"]["told"] == ["treatment=taxol"]
    unknown, _, notes = stained(told, given, tmp_path / "b.ome.zarr")
    assert any("drawn without knowing treatment" in note for note in notes)
    assert not np.array_equal(told_image.data.compute(), unknown.data.compute())


REFUSED = {
    "draws of a model that does not draw": ("tiny", {"draws": 2}, "--draws.*palette"),
    "more steps than the schedule has": ("palette", {"sampling_steps": 2001}, "1 to 2000"),
    "stitching": ("palette", {"stitch": "median"}, "Leave out --stitch"),
    "a stream": ("palette", {"mode": "stream"}, "needs tiles"),
    "guidance without a classifier": ("palette", {"guidance": 1.0}, "cannot be led"),
    "guidance towards nothing": ("told", {"guidance": 1.0}, "Name it with --told"),
    "a label of a model that is told none": ("palette", {"told": ("a=b",)}, "told nothing"),
    "guidance in tiles": (
        "told",
        {"guidance": 1.0, "told": ("treatment=dmso",), "mode": "halo", "tile": 16,
         "statistics": "frozen"},
        "whole image at once",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drawn_is_refused(case, palette, told, tiny_model, given, tmp_path):
    which, settings, words = REFUSED[case]
    model = {"palette": palette, "told": told, "tiny": tiny_model}[which]
    if which == "tiny":
        settings = {**settings, "sampling_steps": None}
    with pytest.raises(SettingsError, match=words):
        stained(model, given, tmp_path / "a.ome.zarr", **settings)
    assert not (tmp_path / "a.ome.zarr").exists()
