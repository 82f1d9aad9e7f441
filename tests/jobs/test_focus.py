"""Which planes of a stack are in focus, and that a stain may ask for them."""

import json
import re

import dask.array as da
import numpy as np
import pytest

import napari_virtualstain
from napari_virtualstain.axes import PixelSize
from napari_virtualstain.cli import main
from napari_virtualstain.datasets import focused
from napari_virtualstain.datasets.focused import stack_profile
from napari_virtualstain.errors import ChannelError, PixelDataError, SettingsError
from napari_virtualstain.io.image import Channel, LazyImage, Source
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import focus as job
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.focus import FocusSettings
from napari_virtualstain.jobs.prepare import InputSettings, prepare
from napari_virtualstain.preprocessing.focus import focus_profile
from napari_virtualstain.simulate import FieldSettings, simulate_field

STEP_UM, DEPTH, FOCUS = 2.0, 11, 6


@pytest.fixture(scope="module")
def stack():
    """A simulated field in planes of 2 µm whose focus is plane 6."""
    offsets = tuple(STEP_UM * (z - FOCUS) for z in range(DEPTH))
    settings = FieldSettings(shape_px=(128, 128), focus_offsets_um=offsets, density_per_mm2=900)
    return np.squeeze(simulate_field(settings, seed=4).brightfield)[None, None]


def image(stack, **changes):
    described = {"pixel_size_um": PixelSize(STEP_UM, 0.6, 0.6), **changes}
    lit = (Channel("Brightfield", "transmitted"),)
    return LazyImage(data=da.from_array(stack, chunks=(1, 1, 1, 64, 64)), channels=lit, **described)


def asked(model, **changes):
    return InputSettings(**{"input": "stack", "model": str(model), "z": "focus", **changes})


def test_the_lazy_profile_is_that_of_the_array(stack):
    assert stack_profile(image(stack)) == focus_profile(np.squeeze(stack))


def test_of_a_large_plane_the_middle_is_measured(stack, monkeypatch):
    monkeypatch.setattr(focused, "LARGEST", 64)
    assert stack_profile(image(stack)) == focus_profile(np.squeeze(stack)[:, 32:96, 32:96])


def test_a_profile_is_remembered_until_the_file_changes(stack, monkeypatch):
    version = ["1"]
    given = image(stack, source=Source(path="x", identify=lambda: f"profile {version[0]}"))
    first = stack_profile(given)
    monkeypatch.setattr(LazyImage, "read", lambda self, region: pytest.fail("it was read again"))
    assert stack_profile(given) == first
    version[0] = "2"
    with pytest.raises(pytest.fail.Exception):
        stack_profile(given)


def test_a_stack_with_a_gap_has_no_focus(stack):
    with pytest.raises(PixelDataError, match=r"z plane 3 of channel 'Brightfield' is missing\."):
        stack_profile(image(stack, missing=((0, 0, 3),)))


def test_the_verb_finds_the_focus_and_says_how(stack):
    found = napari_virtualstain.focus(image(stack))
    assert (found.range.best.index, found.range.best.direction) == (FOCUS, -1)
    assert found.range.start <= FOCUS < found.range.stop
    told = json.loads(json.dumps(found.to_json()))
    assert told["best"]["direction_from"] == "this stack"
    assert told["in_focus"]["z"] == list(range(found.range.start, found.range.stop))
    assert len(told["planes"]) == DEPTH
    assert "power_log_log_slope, which is smallest there (as this stack tells)" in found.text()


def test_the_direction_is_learnt_from_a_plane_that_somebody_saw(stack):
    found = job.run(FocusSettings(input="x", known=FOCUS), image=image(stack))
    assert found.learnt["power_log_log_slope"] == -1
    assert found.range.best.direction_from == f"plane {FOCUS}"
    wrong = job.run(FocusSettings(input="x", direction="largest"), image=image(stack))
    assert wrong.range.best.index != FOCUS


def test_a_model_teaches_the_direction(stack):
    found = job.run(FocusSettings(input="x", model="demo"), image=image(stack))
    assert found.range.best.direction_from == "the model's training planes"
    assert found.range.best.index == FOCUS


REFUSED = {
    "one plane": ({}, (slice(None), slice(None), slice(0, 1)), ChannelError, "has one z plane"),
    "no such time": ({"t": 1}, (), SettingsError, "Time point 1 was asked for, but the image has 1"),
    "no such plane": ({"known": 11}, (), SettingsError, "Plane 11 is not in a stack of 11."),
}  # fmt: skip


@pytest.mark.parametrize(("said", "part", "kind", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_focus_is_one_sentence(said, part, kind, sentence, stack):
    with pytest.raises(kind, match=sentence):
        job.run(FocusSettings(input="x", **said), image=image(stack[part] if part else stack))


# --z focus


def test_planes_are_taken_at_the_offsets_of_the_model_around_the_focus(stack, tiny_model):
    prepared = prepare(asked(tiny_model), image=image(stack))
    assert prepared.planes.z == (FOCUS - 2, FOCUS, FOCUS + 2)
    (note,) = (n for n in prepared.notes if n.startswith("z planes"))
    assert re.match(
        r"z planes 4, 6, 8 taken: plane 6 is in focus by power_log_log_slope, which is smallest",
        note,
    )


def test_a_stain_of_the_planes_in_focus_is_that_of_the_same_planes_by_number(
    stack, tiny_model, tmp_path
):
    outs = []
    for name, z in (("a", "focus"), ("b", (4, 6, 8))):
        settings = stain.StainSettings(
            input="x", model=str(tiny_model), z=z, out=str(tmp_path / f"{name}.ome.zarr")
        )
        outs.append(stain.run(settings, image=image(stack)).out)
    one, other = (open_image(out).data.compute() for out in outs)
    np.testing.assert_array_equal(one, other)
    record = read_record(outs[0])["record"]
    assert record["input"]["z"] == [4, 6, 8]
    assert record["input"]["focus"]["plane"] == FOCUS
    assert record["settings"]["z"] == "focus"
    assert read_record(outs[1])["record"]["input"]["focus"] is None


def test_positions_that_the_file_states_win(stack, tiny_model, monkeypatch):
    monkeypatch.setattr(
        "napari_virtualstain.jobs.ready.stack_profile", lambda *_a, **_k: pytest.fail("searched")
    )
    stated = tuple(STEP_UM * (z - 5) for z in range(DEPTH))
    prepared = prepare(asked(tiny_model), image=image(stack, z_positions_um=stated))
    assert prepared.planes.z == (3, 5, 7)
    assert any("so that focus was not searched" in note for note in prepared.notes)


def test_the_direction_comes_from_the_model_or_from_the_user(stack):
    known = prepare(asked("demo"), image=image(stack))
    assert any("(as in the model's training planes)" in note for note in known.notes)
    assert known.planes.z[1] == FOCUS
    with pytest.raises(ChannelError):  # sharpest the other way round: at the rim of the stack
        prepare(
            asked("demo", focus_direction="largest", focus_measure="laplacian_energy"),
            image=image(stack[:, :, 3:]),
        )


def test_the_z_step_may_be_stated(stack, tiny_model):
    unknown = image(stack, pixel_size_um=PixelSize(None, 0.6, 0.6))
    with pytest.raises(ChannelError, match=r"State it with --z-step, for example --z-step 2\.$"):
        prepare(asked(tiny_model), image=unknown)
    assert prepare(asked(tiny_model, z_step=2.0), image=unknown).planes.z == (4, 6, 8)
    assert prepare(asked(tiny_model, z_step=4.0), image=unknown).planes.z == (5, 6, 7)


def test_planes_that_cannot_be_told_point_to_the_search(stack, tiny_model):
    with pytest.raises(
        ChannelError, match=r"or have the plane in focus searched with --z focus\.$"
    ):
        prepare(asked(tiny_model, z=None), image=image(stack))


def test_planes_at_another_step_are_said(stack, tiny_model):
    close = image(stack[:, :, 5:8])
    prepared = prepare(asked(tiny_model, z=None), image=close)
    (note,) = (n for n in prepared.notes if n.startswith("the z planes lie"))
    assert note.startswith(
        "the z planes lie at +0, +2, +4 µm from the first, the model was trained at +0, +4, +8 µm"
    )


@pytest.mark.parametrize("text", ["focus", "4,6,8"])
def test_the_command_line_says_both(text, field_folder, tiny_model, capsys):
    line = [
        "plan",
        str(field_folder / "brightfield.ome.zarr"),
        "--model",
        str(tiny_model),
        "--json",
        "--quiet",
    ]
    assert main([*line, "--z", text]) == (0 if text == "focus" else 1)
    if text == "focus":
        notes = json.loads(capsys.readouterr().out)["notes"]
        assert any("focus was not searched" in note for note in notes)
    assert InputSettings.model_validate(asked("m").model_dump(mode="json")).z == "focus"


# Real stacks.


@pytest.mark.realdata
def test_real_phase_contrast_is_found_in_focus_once_a_plane_is_named(realdata):
    pytest.importorskip("imagecodecs")
    settings = FocusSettings(input=str(realdata / "isl_neurons"), channel="PHASE_CONTRAST")
    # The trap: the slope has a high peak four planes off, and a small dip in focus.
    assert job.run(settings).range.best.index == 5
    found = job.run(settings.model_copy(update={"known": 9}))
    assert abs(found.range.best.index - 9) <= 1
    assert found.range.start <= 9 < found.range.stop
