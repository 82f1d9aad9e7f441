"""What is seen of a plate is what its encoder sees of central crops, row by row and gone on with."""

from __future__ import annotations

import csv
import gc
import json
import weakref

import numpy as np
import pytest
from labelled_plates import SITES, WELLS, pixels_of, write_image, write_plates
from little_encoders import write_encoder

from napari_virtualstain import api
from napari_virtualstain.cli import main
from napari_virtualstain.embedding.sphering import fit_sphering
from napari_virtualstain.errors import (
    AxesError,
    ChannelError,
    OutputExistsError,
    PixelDataError,
    PixelSizeError,
    RunCancelled,
    SettingsError,
    UnknownNameError,
)
from napari_virtualstain.jobs.embed_field import FieldEncoder
from napari_virtualstain.jobs.embed_table import read_features
from napari_virtualstain.zoo import load_encoder


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """Two plates of four wells with two fields, and their labels."""
    return write_plates(tmp_path_factory.mktemp("embed"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoders") / "little")


def embed(plates, out, model, **settings):
    if "labels" in settings:
        settings["labels"] = str(plates / "labels.csv")
    return api.embed(plates / "in", out=out, model=model, **settings)


def twin(folder, pixels, starts=(4, 20)):
    """Features of one field (C, Y, X) by loops: z-score, crops, true median, channel by channel."""
    model = load_encoder(folder)
    edge = model.card.crop_px[0]
    found = []
    for channel in pixels.astype(float):
        normal = ((channel - channel.mean()) / channel.std()).astype(np.float32)
        seen = [
            model.encoder.features(
                np.repeat(normal[None, None, y : y + edge, x : x + edge], model.card.in_channels, 1)
            )[0]
            for y in starts
            for x in starts
        ]
        found.append(np.median(seen, axis=0))
    return np.concatenate(found)


def test_a_row_is_what_the_encoder_sees_of_four_crops(plates, encoder, tmp_path):
    notes = []
    result = embed(plates, tmp_path, encoder, on_note=notes.append)
    assert (result.fields, result.of, result.features) == (16, 16, 48)
    assert notes == ["the channel 'DAPI' is taken as 'DNA'"]
    table = read_features(tmp_path / "fields.csv")
    assert table.names[0] == "DNA_000"
    assert table.names[-1] == "ER_023"
    assert table.metadata["Plate"] == ("p1",) * 8 + ("p2",) * 8
    assert table.metadata["Well"][:3] == ("A01", "A01", "A02")
    assert table.metadata["Site"][:3] == ("1", "2", "1")
    for row, (plate, well, site) in enumerate(np.ndindex(2, WELLS, SITES)):
        expected = twin(encoder, pixels_of(plate + 1, well, site)[0, :, 0])
        np.testing.assert_allclose(table.values[row], expected, atol=2e-5)


def test_an_encoder_of_three_channels_is_given_one_three_times(plates, tmp_path):
    folder = write_encoder(tmp_path / "rgb", in_channels=3)
    embed(plates, tmp_path / "out", folder, scene="A/1/*")
    table = read_features(tmp_path / "out" / "fields.csv")
    np.testing.assert_allclose(
        table.values[0], twin(folder, pixels_of(1, 0, 0)[0, :, 0]), atol=2e-5
    )


def test_channels_that_go_in_together_have_one_set_of_features(plates, tmp_path):
    folder = write_encoder(tmp_path / "both", in_channels=2, per_channel=False)
    embed(plates, tmp_path / "out", folder, scene="A/1/1")
    table = read_features(tmp_path / "out" / "fields.csv")
    assert (table.names[0], len(table.names)) == ("Embedding_000", 24)
    pixels = pixels_of(1, 0, 0)[0, :, 0].astype(float)
    normal = np.stack([(p - p.mean()) / p.std() for p in pixels]).astype(np.float32)
    crops = [normal[:, y : y + 16, x : x + 16] for y in (4, 20) for x in (4, 20)]
    seen = load_encoder(folder).encoder.features(np.stack(crops))
    np.testing.assert_allclose(table.values[0], np.median(seen, axis=0), atol=2e-5)


def test_more_crops_see_more_of_a_field(plates, encoder, tmp_path):
    embed(plates, tmp_path, encoder, scene="A/1/1", crops=3)  # 40 px have room for 2.5 crops
    seen = read_features(tmp_path / "fields.csv").values[0]
    expected = twin(encoder, pixels_of(1, 0, 0)[0, :, 0], starts=(0, 12, 24))
    np.testing.assert_allclose(seen, expected, atol=2e-5)


def test_wells_and_treatments_follow_from_the_fields(plates, encoder, tmp_path):
    embed(plates, tmp_path, encoder, labels=True)
    fields, wells, treatments = (
        read_features(tmp_path / f"{name}.csv") for name in ("fields", "wells", "treatments")
    )
    assert fields.metadata["treatment"][:4] == ("DMSO", "DMSO", "taxol", "taxol")
    assert len(wells) == 8
    assert wells.metadata["Fields"] == ("2",) * 8
    np.testing.assert_allclose(wells.values[1], fields.values[2:4].mean(axis=0), rtol=1e-6)
    assert treatments.metadata["treatment"] == ("DMSO", "taxol", "colchicine")
    assert treatments.metadata["moa"] == ("", "tubulin", "tubulin")
    of = np.array(fields.metadata["treatment"]) == "taxol"
    plate = np.array(fields.metadata["Plate"])
    means = [fields.values[of & (plate == p)].mean(axis=0) for p in ("p1", "p2")]
    profile = np.median(means, axis=0)
    np.testing.assert_allclose(treatments.values[1], profile / np.linalg.norm(profile), rtol=1e-6)


def test_controls_are_sphered_channel_by_channel(plates, encoder, tmp_path):
    embed(plates, tmp_path, encoder, labels=True, controls=("DMSO",))
    before, after = (read_features(tmp_path / f"fields{e}.csv") for e in ("", "_sphered"))
    controls = np.array(before.metadata["treatment"]) == "DMSO"
    for block in (slice(0, 24), slice(24, 48)):
        fitted = fit_sphering(before.values[controls, block])
        np.testing.assert_allclose(
            after.values[:, block], fitted.apply(before.values[:, block]), rtol=1e-4, atol=1e-5
        )
    assert (tmp_path / "wells_sphered.csv").exists()
    assert (tmp_path / "treatments_sphered.csv").exists()


def test_mechanisms_are_scored_where_labels_allow(plates, encoder, tmp_path):
    result = embed(plates, tmp_path, encoder, labels=True, controls=("DMSO",))
    assert [(m.name, m.sphered, m.asked) for m in result.matches] == [
        ("NSC", False, 2), ("NSCB", False, 4), ("NSC", True, 2), ("NSCB", True, 4)
    ]  # fmt: skip
    assert {m.accuracy for m in result.matches} == {1.0}  # there is one mechanism
    assert {m.chance for m in result.matches} == {1.0}
    assert "NSCB, sphered: 1.000 (1.000 to 1.000) of 4 profiles, by chance 1.000" in result.text()


def test_a_run_that_was_ended_goes_on_to_the_same_bytes(plates, encoder, tmp_path):
    how = {"labels": True}
    embed(plates, tmp_path / "whole", encoder, **how)

    def end(done, total, what):
        if done == 7:
            raise RunCancelled("ended")

    with pytest.raises(RunCancelled):
        embed(plates, tmp_path / "parts", encoder, on_progress=end, **how)
    file = tmp_path / "parts" / "fields.csv"
    content = file.read_bytes()
    assert content.count(b"\n") == 8
    assert json.loads((tmp_path / "parts" / "record.json").read_text())["status"] == "partial"
    file.write_bytes(content[:-40])  # a kill in the middle of a line
    result = embed(plates, tmp_path / "parts", encoder, resume=True, **how)
    assert result.fields == 16
    for name in ("fields.csv", "wells.csv", "treatments.csv"):
        there = (tmp_path / "parts" / name).read_bytes()
        assert there == (tmp_path / "whole" / name).read_bytes()
    assert json.loads((tmp_path / "parts" / "record.json").read_text())["status"] == "complete"


def test_a_finished_run_is_gone_on_with_without_looking(plates, encoder, tmp_path, monkeypatch):
    embed(plates, tmp_path, encoder, scene="A/1/*")
    before = (tmp_path / "fields.csv").read_bytes()
    monkeypatch.setattr(
        "napari_virtualstain.jobs.embed_field.FieldEncoder.look",
        lambda *_: pytest.fail("looked again"),
    )
    assert embed(plates, tmp_path, encoder, scene="A/1/*", resume=True).fields == 4
    assert (tmp_path / "fields.csv").read_bytes() == before


def test_images_are_let_go_once_they_were_looked_at(plates, encoder, tmp_path, monkeypatch):
    seen, alive = [], []
    look = FieldEncoder.look

    def looked(self, image):
        seen.append(weakref.ref(image.data))
        return look(self, image)

    def count(done, total, what):
        gc.collect()
        alive.append(sum(one() is not None for one in seen))

    monkeypatch.setattr(FieldEncoder, "look", looked)
    embed(plates, tmp_path, encoder, on_progress=count, scene="A/*")
    assert len(seen) == 8
    assert max(alive) == 1


def test_a_channel_that_cannot_be_read_is_empty_and_the_other_is_not(encoder, tmp_path):
    good, bad, flat = (pixels_of(1, 0, n).astype(np.float32) for n in range(3))
    bad[0, 0, 0, 20, 20] = np.nan
    flat[0, 1] = 7
    for name, pixels in (("good", good), ("nan", bad), ("flat", flat)):
        write_image(tmp_path / "in" / f"{name}.ome.zarr", pixels)
    result = embed(tmp_path, tmp_path / "out", encoder)
    table = read_features(tmp_path / "out" / "fields.csv")
    order = [name.removesuffix(".ome.zarr") for name in table.metadata["Path"]]
    missing = {n: np.isnan(row) for n, row in zip(order, table.values, strict=True)}
    assert not missing["good"].any()
    assert (missing["nan"][:24].all(), missing["nan"][24:].any()) == (True, False)
    assert (missing["flat"][:24].any(), missing["flat"][24:].all()) == (False, True)
    assert any(note.startswith("2 fields lack a channel") for note in result.notes)
    assert ",,," in (tmp_path / "out" / "fields.csv").read_text(encoding="utf-8")


def test_small_and_other_images_are_left_out_and_counted(encoder, tmp_path):
    write_image(tmp_path / "in" / "a.ome.zarr", pixels_of(1, 0, 0))
    write_image(tmp_path / "in" / "small.ome.zarr", pixels_of(1, 0, 1)[..., :9, :9])
    write_image(tmp_path / "in" / "other.ome.zarr", pixels_of(1, 0, 1), names=("GFP", "RFP"))
    result = embed(tmp_path, tmp_path / "out", encoder)
    assert (result.fields, result.of) == (1, 3)
    (note,) = (note for note in result.notes if "left out" in note)
    assert note.startswith(
        "2 images are left out; the first, other.ome.zarr: It has none of the channels DNA, ER, but GFP"
    )


def test_images_are_looked_at_with_the_pixels_of_the_encoder(tmp_path):
    folder = write_encoder(tmp_path / "e", channels=("DNA",), pixel_size_um=1.2)
    smooth = np.add.outer(np.arange(80.0), np.arange(80.0))[None, None, None].astype(np.float32)
    write_image(tmp_path / "in" / "fine.ome.zarr", smooth, names=("DNA",))
    with pytest.raises(PixelSizeError, match="0.6 x 0.6 µm pixels, .* at 1.2 µm .*--resample"):
        embed(tmp_path, tmp_path / "out", folder)
    embed(tmp_path, tmp_path / "out", folder, resample=True)
    seen = read_features(tmp_path / "out" / "fields.csv").values[0]
    normal = (smooth[0, 0, 0] - smooth.mean()) / smooth.std()
    coarse = normal.reshape(40, 2, 40, 2).mean(axis=(1, 3))  # of a plane: exact
    model = load_encoder(folder)
    crops = [coarse[None, y : y + 16, x : x + 16] for y in (4, 20) for x in (4, 20)]
    expected = np.median(model.encoder.features(np.stack(crops).astype(np.float32)), axis=0)
    np.testing.assert_allclose(seen, expected, atol=1e-3)


def test_volumes_are_looked_at_in_three_dimensions(tmp_path):
    folder = write_encoder(
        tmp_path / "e", encoder="resnet3d", channels=("DNA",), classes=("a", "b"), label="treatment"
    )
    pixels = pixels_of(1, 0, 0, channels=1, planes=33)
    write_image(tmp_path / "in" / "v.ome.zarr", pixels, names=("DNA",))
    embed(tmp_path, tmp_path / "out", folder)
    normal = (pixels[0, 0] - pixels.mean()) / pixels.std()
    starts = [[z, y, x] for z in (0, 16) for y in (4, 20) for x in (4, 20)]
    crops = [normal[None, z : z + 16, y : y + 16, x : x + 16] for z, y, x in starts]
    expected = load_encoder(folder).encoder.features(np.stack(crops).astype(np.float32))
    seen = read_features(tmp_path / "out" / "fields.csv").values[0]
    np.testing.assert_allclose(seen, np.median(expected, axis=0), atol=2e-5)


def test_of_a_stack_one_plane_is_looked_at(encoder, tmp_path):
    pixels = pixels_of(1, 0, 0, planes=3)
    write_image(tmp_path / "in" / "stack.ome.zarr", pixels)
    result = embed(tmp_path, tmp_path / "middle", encoder)
    assert "of 3 z planes, the middle one (1) is looked at; choose with --z" in result.notes
    embed(tmp_path, tmp_path / "last", encoder, z=2)
    for name, z in (("middle", 1), ("last", 2)):
        seen = read_features(tmp_path / name / "fields.csv").values[0]
        np.testing.assert_allclose(seen, twin(encoder, pixels[0, :, z]), atol=2e-5)


def test_a_classifier_says_classes_and_is_judged(plates, tmp_path):
    classes = ("DMSO", "colchicine", "taxol")
    folder = write_encoder(
        tmp_path / "e", encoder="resnet", channels=("DNA", "ER"), in_channels=2,
        per_channel=False, classes=classes, label="treatment",
    )  # fmt: skip
    result = embed(plates, tmp_path / "out", folder, labels=True)
    table = read_features(tmp_path / "out" / "fields.csv")
    chances = np.array(
        [[float(v) for v in table.metadata[f"Probability_{name}"]] for name in classes]
    )
    np.testing.assert_allclose(chances.sum(axis=0), 1, atol=1e-4)
    predicted = [classes[n] for n in chances.argmax(axis=0)]
    assert list(table.metadata["Predicted"]) == predicted
    truth = table.metadata["treatment"]
    assert result.verdict.table.accuracy == np.mean(np.array(predicted) == np.array(truth))
    assert result.verdict.table.counts.sum(axis=1).tolist() == [8, 4, 4]
    assert "macro F1" in result.text()


def test_a_classifier_of_channels_knows_the_truth_itself(plates, tmp_path):
    folder = write_encoder(tmp_path / "e", encoder="resnet", classes=("DNA", "ER"), label="channel")
    result = embed(plates, tmp_path / "out", folder, scene="A/1/*")
    assert result.verdict.table.counts.sum(axis=1).tolist() == [4, 4]
    table = read_features(tmp_path / "out" / "fields.csv")
    assert {"Predicted_DNA", "Predicted_ER", "Probability_ER_DNA"} <= set(table.metadata)


def test_the_command_says_the_same(plates, encoder, tmp_path, capsys):
    line = ["embed", str(plates / "in"), "--model", str(encoder), "--out", str(tmp_path / "o")]
    labels = ["--labels", str(plates / "labels.csv"), "--controls", "DMSO"]
    assert main([*line, *labels, "--json", "--quiet"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["fields"], said["features"]) == (16, 48)
    assert said["matches"][0]["name"] == "NSC"
    with (tmp_path / "o" / "fields.csv").open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    assert header[:7] == [
        "Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_Path", "Metadata_Scene",
        "Metadata_treatment", "Metadata_moa",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("how", "kind", "sentence"),
    [
        pytest.param({"scene": "Z*"}, SettingsError, "is named like 'Z\\*'. .* --scene", id="no image"),
        pytest.param({"crop": 20}, SettingsError, "crops of 20 px: .* divisible by 8, from 8 px", id="crop"),
        pytest.param({"crop": 48}, PixelDataError, "40 x 40 px, smaller than the crops of 48 x 48 px", id="small"),
        pytest.param({"channels": ("DAPI",)}, ChannelError, "takes DNA, ER, each by itself, and no 'DAPI'. Choose", id="channels"),
        pytest.param({"match": ("DNA=X",)}, ChannelError, "no channel 'X' among DAPI, ER. .* --match 'DNA=DAPI'", id="no such channel"),
        pytest.param({"match": ("DNA",)}, ChannelError, "--match", id="match"),
        pytest.param({"controls": ("DMSO",)}, SettingsError, "Give a table with --labels", id="no labels"),
        pytest.param({"labels": "l", "controls": ("DMS",)}, SettingsError, "treatment 'DMS'. Did you mean 'DMSO'", id="no controls"),
        pytest.param({"labels": "l", "label": "drugs"}, UnknownNameError, "No label named 'drugs'.*--label", id="label"),
        pytest.param({"labels": "l", "controls": ("colchicine",)}, PixelDataError, "4 controls .* 5 are needed", id="few"),
        pytest.param({"t": 3}, AxesError, "Time point 3 .* has 1", id="time"),
        pytest.param({"z": 3}, ChannelError, "z plane 3 asked for", id="plane"),
        pytest.param({"resume": True, "overwrite": True}, SettingsError, "Leave one of them out", id="both"),
        pytest.param({"model": "nothing"}, UnknownNameError, "No encoder named", id="model"),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_at_is_said(plates, encoder, tmp_path, how, kind, sentence):
    settings = {"model": encoder, **how}
    with pytest.raises(kind, match=sentence):
        embed(plates, tmp_path / "out", **settings)


def test_an_encoder_of_other_channels_names_them(plates, tmp_path):
    folder = write_encoder(tmp_path / "e", channels=("DNA", "Mito"))
    with pytest.raises(
        ChannelError, match="takes DNA, Mito, each by itself, .* no channel 'Mito' among"
    ):
        embed(plates, tmp_path / "out", folder)


def test_some_channels_of_an_encoder_are_looked_at_under_other_names(plates, encoder, tmp_path):
    how = {"channels": ("dna",), "match": ("DNA=ER",), "scene": "A/1/1"}
    embed(plates, tmp_path, encoder, **how)
    table = read_features(tmp_path / "fields.csv")
    assert {name[:3] for name in table.names} == {"DNA"}
    seen = twin(encoder, pixels_of(1, 0, 0)[0, 1:, 0])
    np.testing.assert_allclose(table.values[0], seen, atol=2e-5)


def test_an_encoder_that_takes_all_together_is_given_all(plates, tmp_path):
    folder = write_encoder(tmp_path / "e", in_channels=2, per_channel=False)
    with pytest.raises(ChannelError, match="takes DNA, ER together, and not 1"):
        embed(plates, tmp_path / "out", folder, channels=("DNA",))


def test_an_encoder_of_any_channel_looks_at_all_of_the_image(plates, tmp_path):
    folder = write_encoder(tmp_path / "e", channels=())
    embed(plates, tmp_path / "all", folder, scene="A/1/1")
    assert {n[:4] for n in read_features(tmp_path / "all" / "fields.csv").names} == {"DAPI", "ER_0"}
    embed(plates, tmp_path / "one", folder, scene="A/1/1", channels=("er",))
    assert {n[:3] for n in read_features(tmp_path / "one" / "fields.csv").names} == {"ER_"}


def test_what_is_there_stays_or_is_replaced(plates, encoder, tmp_path):
    embed(plates, tmp_path, encoder, scene="A/1/1")
    before = (tmp_path / "fields.csv").read_bytes()
    with pytest.raises(OutputExistsError, match="add --resume, to replace it --overwrite"):
        embed(plates, tmp_path, encoder)
    assert (tmp_path / "fields.csv").read_bytes() == before
    assert embed(plates, tmp_path, encoder, scene="A/1/2", overwrite=True).fields == 2
    assert (tmp_path / "fields.csv").read_bytes() != before


@pytest.mark.parametrize(
    ("how", "kind", "sentence"),
    [
        pytest.param({"crop": 8}, SettingsError, "made with another crop", id="crop"),
        pytest.param({"labels": "l"}, OutputExistsError, "other columns", id="labels"),
    ],
)
def test_rows_that_were_made_otherwise_are_not_gone_on_with(
    plates, encoder, tmp_path, how, kind, sentence
):
    embed(plates, tmp_path, encoder, scene="A/1/1")
    with pytest.raises(kind, match=sentence):
        embed(plates, tmp_path, encoder, scene="A/1/*", resume=True, **how)


def test_rows_of_another_encoder_are_not_gone_on_with(plates, encoder, tmp_path):
    embed(plates, tmp_path / "out", encoder, scene="A/1/1")
    other = write_encoder(tmp_path / "little", seed=2)
    with pytest.raises(SettingsError, match="made with another encoder"):
        embed(plates, tmp_path / "out", other, resume=True)
