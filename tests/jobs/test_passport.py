"""The passport says of each defect what it is, and of a field like the training ones that it fits."""

from __future__ import annotations

import json
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage

from napari_virtualstain import passport
from napari_virtualstain.axes import PixelSize
from napari_virtualstain.cli import main
from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.errors import (
    ChannelError,
    MissingInputError,
    PixelDataError,
    RunCancelled,
    SettingsError,
)
from napari_virtualstain.generators.card import PlaneRanges
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.jobs import passport as job
from napari_virtualstain.jobs import passport_measure
from napari_virtualstain.jobs.focus_direction import focus_direction
from napari_virtualstain.jobs.passport import Passport, PassportSettings
from napari_virtualstain.jobs.passport_checks import objective
from napari_virtualstain.jobs.passport_measure import Situation
from napari_virtualstain.jobs.passport_ranges import FAR, FARTHEST, distance
from napari_virtualstain.jobs.train import TrainSettings, train_on_fields
from napari_virtualstain.jobs.training_fields import FieldData
from napari_virtualstain.preprocessing.focus import MEASURES
from napari_virtualstain.preprocessing.likeness import focus_in_windows
from napari_virtualstain.preprocessing.quality import plane_quality
from napari_virtualstain.simulate import held_out_settings, simulate_field, training_settings
from napari_virtualstain.training.describe import measure_ranges, spread_over
from napari_virtualstain.zoo import find_model

BRIGHTFIELD = Channel("Brightfield", "transmitted")
ORDER = [
    "Pixel size", "Objective", "Channel", "Z planes", "Field size", "Missing pixels", "Saturation", "Bits used",
    "Uneven light", "Noise", "Empty part", "Focus",
]  # fmt: skip


def planes_of(recipe, **changed):
    settings, seed = recipe
    return simulate_field(replace(settings, **changed), seed=seed).brightfield[0]


def opened(planes, *, channel=BRIGHTFIELD, size=0.6, z=4.0, positions=(-4.0, 0.0, 4.0), guesses=()):
    return LazyImage(
        data=da.from_array(planes[None, None]), channels=(channel,), guesses=guesses,
        pixel_size_um=PixelSize(z, size, size), z_positions_um=positions,
    )  # fmt: skip


def status_of(found):
    return {check.name: check.status for check in found.checks}


def unlike_green(found):
    return {name: status for name, status in status_of(found).items() if status != "green"}


@pytest.fixture(scope="module", autouse=True)
def _measured_once():
    """Measure equal planes once: most cases differ in what is said of the same pixels."""
    known, original = {}, passport_measure.plane_quality

    def remembered(plane):
        key = (plane.shape, plane.dtype, plane.tobytes())
        return known[key] if key in known else known.setdefault(key, original(plane))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passport_measure, "plane_quality", remembered)
        yield


@pytest.fixture(scope="module")
def field():
    """Bright field (3, 512, 512); the model was trained on fields 0 to 239."""
    planes = planes_of(training_settings(300))
    planes.setflags(write=False)
    return planes


def test_a_field_like_the_training_fields_is_green(field):
    found = passport(opened(field))
    assert unlike_green(found) == {}
    assert [check.name for check in found.checks] == ORDER
    assert (found.status, found.verdict[:4]) == ("green", "Yes,")
    assert any("simulated cells only" in note for note in found.notes)


def test_a_field_of_another_density_and_phenotype_is_green_too():
    assert unlike_green(passport(opened(planes_of(held_out_settings(102))))) == {}


def blurred(planes):
    return np.rint([ndimage.gaussian_filter(p.astype(float), 2) for p in planes]).astype(np.uint16)


def dark_corner(planes):
    y, x = np.indices(planes.shape[1:]) / planes.shape[1]
    return (planes * (1 - 0.5 * np.exp(-(y**2 + x**2) / 0.3))).astype(np.uint16)


def saturated(planes):
    return np.minimum(planes, int(np.quantile(planes, 0.93)))


def five_bits(planes):
    return (planes // 256).clip(16, 47) * 256


def noisy(planes):
    rng = np.random.default_rng(0)  # with that of the field, four times the noise of its camera
    return np.rint(planes + rng.normal(0, 15**0.5 * 170, planes.shape)).astype(np.uint16)


def with_nan(planes):
    planes = planes.astype(np.float32)
    planes[1, 3:5, 4] = np.nan
    return planes


def without_a_plane(planes):
    planes = planes.astype(np.float32)
    planes[2] = np.nan
    return planes


def constant(planes):
    return np.full_like(planes, 8000)


PIXELS = {
    "blurred": (blurred, {"Focus": "red", "Noise": "amber"}),
    "noise x 4": (noisy, {"Noise": "red"}),
    "half the light in a corner": (dark_corner, {"Uneven light": "amber"}),
    "saturated": (saturated, {"Saturation": "red"}),
    "five bits": (five_bits, {"Bits used": "amber"}),
    "NaN": (with_nan, {"Missing pixels": "red"}),
    "a plane without pixels": (without_a_plane, {"Missing pixels": "red"}),
    "too small for the network": (lambda p: p[:, :20, :], {"Field size": "red"}),
    "mostly border": (lambda p: p[:, :100, :100], {"Field size": "amber"}),
}


@pytest.mark.parametrize(("change", "expected"), PIXELS.values(), ids=PIXELS)
def test_a_defect_of_the_pixels_turns_its_check(field, change, expected):
    found = passport(opened(change(field)))
    turned = unlike_green(found)
    # Fewer grains or cells are seen in noise, and a crop is another field: both are said.
    beside = {"Empty part", "Focus"} if expected.keys() <= {"Noise", "Field size"} else set()
    assert expected.items() <= turned.items(), found.text()
    assert turned.keys() <= expected.keys() | beside, found.text()
    for check in found.checks:
        assert bool(check.reason) == bool(check.advice) == (check.status != "green"), check


def test_an_empty_field_is_red_and_nobody_speaks_of_its_focus():
    found = passport(opened(planes_of(training_settings(300), n_cells=0, debris=0)))
    assert unlike_green(found) == {"Empty part": "red", "Focus": "amber"}
    assert "cannot be judged" in found.text()


def test_a_plane_of_one_value_is_empty(field):
    found = passport(opened(constant(field[:, :256, :256])))
    assert status_of(found)["Empty part"] == "red"
    assert status_of(found)["Bits used"] == "red"


def test_a_field_far_out_of_focus_is_amber():
    found = passport(opened(planes_of(training_settings(300), focus_error_um=3.0)))
    assert status_of(found)["Focus"] == "amber"


METADATA = {
    "pixels of another size": (
        {"size": 0.3}, {"Pixel size": "amber"}, {"Focus", "Empty part", "Noise", "Field size"}, "--resample",
    ),
    "pixels far too coarse": (
        {"size": 1.3}, {"Pixel size": "red"}, {"Focus", "Empty part", "Noise", "Field size"}, "coarse",
    ),
    "pixels of another unit": ({"size": 600.0}, {"Pixel size": "red"}, set(), "one of the two"),
    "no pixel size": ({"size": None}, {"Pixel size": "amber"}, set(), "State it with --pixel-size"),
    "a guessed pixel size": (
        {"guesses": ("The pixel size was guessed.",)}, {"Pixel size": "amber"}, set(), "Confirm it",
    ),
    "fluorescence": (
        {"channel": Channel("DAPI", "fluorescence")}, {"Channel": "red"}, set(),
        "transmitted light only",
    ),
    "phase contrast": (
        {"channel": Channel("Phase contrast", "transmitted")}, {"Channel": "red"}, set(),
        "Cells look different in phase contrast and in bright field",
    ),
    "a channel without a word": (
        {"channel": Channel("channel 0")}, {"Channel": "amber"}, set(), "--channel 'channel 0'",
    ),
    "a guessed channel": (
        {"guesses": ("The channel was taken for transmitted light.",)}, {"Channel": "amber"}, set(),
        "say so with --channel Brightfield",
    ),
    "planes 2 um off": ({"positions": (-2.0, 2.0, 6.0)}, {"Z planes": "amber"}, set(), "2 µm from"),
    "positions not stated": (
        {"positions": None}, {"Z planes": "amber"}, set(), "The distances fit",
    ),
    "planes too near": ({"positions": None, "z": 1.0}, {"Z planes": "red"}, set(), "75% off"),
    "no z step": ({"positions": None, "z": None}, {"Z planes": "amber"}, set(), "position not"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "expected", "beside", "words"), METADATA.values(), ids=METADATA)
def test_what_the_file_says_turns_its_check(field, said, expected, beside, words):
    found = passport(opened(field[:, 100:260, 100:260], **said))
    turned = unlike_green(found)
    assert expected.items() <= turned.items(), found.text()
    assert turned.keys() <= expected.keys() | beside, found.text()
    assert words.lower() in " ".join(found.text().lower().split())


STATED = {
    "pixel size": ({"size": None}, {"pixel_size": 0.6}),
    "channel": ({"channel": Channel("channel 0")}, {"channel": "channel 0"}),
}


@pytest.mark.parametrize(("said", "stated"), STATED.values(), ids=STATED)
def test_what_is_stated_is_no_longer_amber(field, said, stated):
    assert passport(opened(field[:, :256, :256], **said), **stated).status == "green"


def test_detail_is_measured_at_the_pixel_size_of_the_model(field):
    part = field[:, :256, :256]
    fine = part.repeat(2, axis=1).repeat(2, axis=2)
    plain, found = (passport(opened(p, size=s)) for p, s in ((part, 0.6), (fine, 0.3)))
    for one, other in zip(plain.measured, found.measured, strict=True):
        for name in ("laplacian_energy", "normalised_variance"):
            assert other[name] == pytest.approx(one[name], rel=0.25)
    assert unlike_green(found) == {"Pixel size": "amber"}
    assert found.checks[4].found == "512 x 512 px, 256 x 256 of the model"


def test_a_missing_plane_is_one_red_sentence(field):
    found = passport(opened(field[:2], positions=None))
    assert unlike_green(found) == {"Z planes": "red"}
    assert found.checks[-1].reason.startswith("The model takes 3 z planes")
    again = passport(opened(field[:2, :256, :256], positions=None), z=(0, 0, 1))
    assert status_of(again)["Z planes"] == "red"
    assert "more than once" in again.text()


def test_planes_are_taken_by_their_positions_and_red_in_another_order(field):
    part = field[:, :256, :256]
    turned = opened(part[::-1], positions=(4.0, 0.0, -4.0))
    assert passport(turned).status == "green"
    found = passport(opened(part), z=(2, 1, 0))
    assert status_of(found)["Z planes"] == "red"
    assert "another order" in found.text()


def test_planes_and_time_points_are_chosen(field):
    stack = np.stack([field[0], *field])[None].repeat(2, axis=0)[:, None]
    stack[1] = 8000
    image = replace(opened(field), data=da.from_array(stack), z_positions_um=(-8.0, -4.0, 0.0, 4.0))
    found = passport(image)
    assert found.status == "green"
    assert found.checks[3].found == "planes 1, 2, 3 of 4 at -4, 0, +4 µm"
    assert passport(image, t=1).status == "red"
    with pytest.raises(SettingsError, match="Time point 2 .* the image has 2 .* --t"):
        passport(image, t=2)


def test_one_plane_at_a_time_is_read_and_of_large_ones_the_middle(field, monkeypatch):
    monkeypatch.setattr(passport_measure, "LARGEST", 256)
    read, original = [], LazyImage.read
    monkeypatch.setattr(
        LazyImage, "read", lambda self, region: read.append(region) or original(self, region)
    )
    told = []
    settings = PassportSettings(input="array")
    found = job.run(settings, image=opened(field), on_progress=lambda *a: told.append(a))
    assert [[part.stop - part.start for part in region[2:] if part.stop] for region in read] == [
        [1, 256, 256]
    ] * 3
    assert read[0][3:] == (slice(128, 384), slice(128, 384))
    assert "only the middle of the planes was measured, 256 x 256 px" in found.notes
    assert (told[0], told[-1]) == ((0, 3, "planes measured"), (3, 3, "planes measured"))

    def stop(*_):
        raise RunCancelled("enough")

    with pytest.raises(RunCancelled):
        job.run(settings, image=opened(field), on_progress=stop)


@pytest.fixture
def silent_model(tmp_path):
    """The demo model with a card of before there were ranges."""
    folder = tmp_path / "silent"
    folder.mkdir()
    for path in find_model("demo").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    for plane in card["inputs"]:
        del plane["ranges"]
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


ABSOLUTE = {
    "nothing": (lambda p: p, {}),
    "saturated": (saturated, {"Saturation": "red"}),
    "five bits": (five_bits, {"Bits used": "amber"}),
}


@pytest.mark.parametrize(("change", "expected"), ABSOLUTE.values(), ids=ABSOLUTE)
def test_a_model_without_ranges_says_so_and_only_limits_for_any_model_stand(
    field, silent_model, change, expected
):
    found = passport(opened(change(field[:, :256, :256])), model=silent_model)
    assert unlike_green(found) == {**expected, "Focus": "amber"}
    assert {c.trained for c in found.checks[6:]} == {"not stated"}


def test_the_card_of_the_demo_model_has_ranges_and_the_weights_it_had():
    card = read_card(find_model("demo"))
    for plane in card.inputs:
        assert plane.ranges.n_fields == 24
        assert plane.ranges.window_px == (512, 512)
        assert set(MEASURES) < set(plane.ranges.numbers)
        assert all(low <= high for low, high in plane.ranges.numbers.values())
    assert card.files["weights.safetensors"].startswith("6d67c4a53d80")
    assert card.files["test_pair.npz"].startswith("ec5f4e1137fc")


def test_sharper_or_blurrier_is_said_only_where_the_training_planes_tell():
    card = read_card(find_model("demo"))

    def with_detail(*ranges, offsets=(-4.0, 0.0, 4.0)):
        inputs = [
            plane.model_copy(update={"z_offset_um": z, "ranges": PlaneRanges(
                n_fields=9, window_px=(64, 64), numbers={"laplacian_energy": found})})
            for plane, z, found in zip(card.inputs, offsets, ranges, strict=True)
        ]  # fmt: skip
        return card.model_copy(update={"inputs": tuple(inputs)})

    def direction(card, p):
        return focus_direction(card, p, "laplacian_energy")

    assert direction(with_detail((1, 2), (5, 9), (1, 3)), 1) == 1
    assert direction(with_detail((5, 9), (1, 2), (5, 8)), 1) == -1
    assert direction(with_detail((1, 2), (5, 9), (6, 9)), 1) == 0
    assert direction(with_detail((1, 2), (5, 9), (20, 30)), 1) == 0
    assert direction(with_detail((1, 2), (5, 9), (1, 3)), 0) == 0
    assert direction(with_detail((1, 2), (5, 9), (1, 3), offsets=(None,) * 3), 1) == 0
    assert direction(with_detail((5, 9), (1, 2), (5, 8), offsets=(0.0, 4.0, 8.0)), 0) == 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3.0, 0), (2.0, 0), (4.0, 0), (8.0, 1), (16.0, 2), (1.0, -1), (0.5, -2)],
)
def test_distances_are_counted_in_widths_of_the_range(value, expected):
    assert distance(value, (2.0, 4.0), factors=True, smallest=0.1) == pytest.approx(expected)
    linear = distance(2 + 2 * expected if expected < 0 else 4 + 2 * expected, (2.0, 4.0),
                      factors=False, smallest=0.1)  # fmt: skip
    assert linear == pytest.approx(expected)
    assert 0 < FAR < FARTHEST


def test_focus_is_measured_in_windows_of_one_size():
    plane = np.random.default_rng(0).normal(100, 5, (200, 300))
    whole = focus_in_windows(plane, (200, 300))
    assert whole == {name: pytest.approx(measure(plane)) for name, measure in MEASURES.items()}
    assert set(focus_in_windows(plane, (256, 256))) == set(MEASURES) - {"power_log_log_slope"}
    parts = [plane[y : y + 64, x : x + 64] for y in (0, 68, 136) for x in (0, 118, 236)]
    expected = np.median([MEASURES["brenner"](part) for part in parts])
    assert focus_in_windows(plane, (64, 64))["brenner"] == pytest.approx(expected)


def test_a_passport_comes_back_from_another_process_and_is_the_same_twice(field):
    field = field[:, :256, :256]
    found = passport(opened(field))
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert Passport.from_json(values) == found == passport(opened(field))
    assert values["measured"][1]["noise_percent"] == pytest.approx(2.1, abs=0.2)


APERTURES = {
    "equal": (0.75, 0.75, "green"),
    "near": (0.8, 0.75, "green"),
    "wider": (1.15, 0.75, "amber"),
    "narrower": (0.45, 0.75, "amber"),
    "image silent": (None, 0.75, "green"),
    "model silent": (0.75, None, "green"),
}


@pytest.mark.parametrize(("na", "like", "status"), APERTURES.values(), ids=APERTURES)
def test_apertures_are_compared_where_both_are_stated(field, na, like, status):
    card = read_card(find_model("demo")).model_copy(update={"na": like})
    image = replace(opened(field), na=na)
    size, channel = image.pixel_size_um, image.channel_names[0]
    here = Situation(
        card=card, image=image, channel=channel, stated=False, size=size, named=False
    )  # fmt: skip
    check = objective(here)
    assert (check.status, bool(check.reason)) == (status, status == "amber")
    for value, told in ((na, check.found), (like, check.trained)):
        assert told == ("not stated" if value is None else f"NA {value:g}")
    if status == "amber":
        assert "depth of the field" in check.reason


def test_the_command_prints_columns_and_red_is_no_failure(field_folder, capsys):
    path = str(field_folder / "brightfield.ome.zarr")
    assert main(["passport", path, "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Will the model 'demo' work on {path}?"
    rows = [line for line in lines if line.startswith("[")]
    assert len({row.index("(trained") for row in rows if "(trained" in row}) == 1
    assert [row[8:22].strip() for row in rows] == ORDER
    assert max(map(len, lines[1:])) < 110  # the first names the file
    assert main(["passport", str(field_folder / "stains.ome.zarr"), "--channel", "DNA",
                 "--z", "0,0,0", "--quiet", "--json"]) == 0  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["checks"][2]["status"]) == ("red", "red")


def test_what_cannot_be_opened_is_red_and_what_is_not_there_is_an_error(tmp_path, field):
    (tmp_path / "b.tif").write_bytes(b"II*\0 and then nothing of use")
    found = passport(tmp_path / "b.tif")
    assert [(c.name, c.status) for c in found.checks] == [("Image", "red")]
    assert found.checks[0].reason.endswith(".")
    with pytest.raises(MissingInputError, match="does not exist"):
        passport(tmp_path / "c.tif")
    with pytest.raises(MissingInputError, match="no model at"):
        passport(opened(field), model=tmp_path / "m")
    with pytest.raises(ChannelError, match="No channel named 'BF'"):
        passport(opened(field), channel="BF")


def test_a_file_that_breaks_while_it_is_read_is_red(field, monkeypatch):
    def broken(self, region):
        raise PixelDataError("A chunk is damaged. Copy the file again.")

    monkeypatch.setattr(LazyImage, "read", broken)
    found = passport(opened(field))
    assert found.checks[-1].reason == "A chunk is damaged. Copy the file again."
    assert found.status == "red"


def test_several_channels_that_nobody_can_tell_apart_are_red(field):
    image = LazyImage(
        data=da.from_array(np.stack([field, field])[None]), channels=(Channel("a"), Channel("b"))
    )
    found = passport(image)
    assert [(c.name, c.status) for c in found.checks] == [("Channel", "red")]


def test_the_passport_can_be_asked_for_without_torch(subprocess_python):
    subprocess_python(
        "import sys, napari_virtualstain.jobs.passport, napari_virtualstain.jobs.passport_pixels;"
        "assert 'torch' not in sys.modules"
    )


@pytest.mark.realdata
def test_phase_contrast_of_neurons_is_not_for_a_model_of_bright_field(realdata):
    found = passport(realdata / "isl_neurons", z=(4, 6, 8))
    expected = {"Channel": "red", "Pixel size": "amber", "Z planes": "amber", "Saturation": "green"}
    assert expected.items() <= status_of(found).items()


def noise_field(seed, shape=(40, 36), sd=50):
    rng = np.random.default_rng(seed)
    below = rng.normal(500, sd, (2, *shape)).astype(np.float32)
    return PairedField(f"field {seed}", below, below[:1])


def test_a_training_notes_the_ranges_of_its_fields_on_the_card(tmp_path):
    told = []
    card = {
        "name": "m", "pixel_size_um": 0.6, "input_channel": "Brightfield",
        "z_offsets_um": (None, None), "data": "noise",
    }  # fmt: skip
    train_on_fields(
        FieldData(fields=[noise_field(i) for i in range(5)], stains=("DNA",), card=card),
        TrainSettings(
            out=str(tmp_path / "m"), preset="tiny", steps=2, patch=16, batch=2, validation=0.2,
            validate_every=2, device="cpu",
        ),
        on_progress=lambda *a: told.append(a),
    )  # fmt: skip
    found = [plane.ranges for plane in read_card(tmp_path / "m").inputs]
    assert [(r.n_fields, r.window_px) for r in found] == [(4, (40, 36))] * 2
    low, high = found[0].numbers["noise_percent"]
    assert 7 < low < high < 13
    assert [done for done, total, what in told if "for the card" in what] == [0, 1, 2, 3, 4]


def test_ranges_are_of_ninety_percent_of_a_spread_sample():
    fields = [noise_field(i, sd=10 + i) for i in range(100)]
    found = measure_ranges(fields)[0]
    sample = [fields[i].planes[0] for i in spread_over(100)]
    noise = [plane_quality(plane).noise_percent for plane in sample]
    assert found.n_fields == len(noise) == 24
    assert found.numbers["noise_percent"] == pytest.approx(
        tuple(np.quantile(noise, (0.05, 0.95))), rel=1e-4
    )


def test_fields_too_small_to_be_measured_have_no_ranges():
    assert measure_ranges([noise_field(0, shape=(30, 40))]) == (None, None)
    mixed = measure_ranges([noise_field(0, shape=(30, 40)), noise_field(1, shape=(64, 33))])
    assert (mixed[0].n_fields, mixed[0].window_px) == (1, (64, 33))
