"""Targets may teach without their noise; what examines keeps it, and the scores say which is which."""

from __future__ import annotations

import csv

import dask.array as da
import numpy as np
import pytest

from napari_virtualstain.cli import main
from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.denoising.denoiser import PRESETS, build_denoiser
from napari_virtualstain.denoising.package import DenoiserCard, load_denoiser, save_denoiser
from napari_virtualstain.errors import MissingInputError, ModelPackageError, SettingsError
from napari_virtualstain.generators.package import load_package, read_card
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.origin import TrainingReport
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import denoise_write, train
from napari_virtualstain.jobs.train import TrainSettings, train_on_fields
from napari_virtualstain.jobs.training_denoised import open_denoisers
from napari_virtualstain.jobs.training_fields import FieldData
from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.training import painting

QUICK = {
    "preset": "tiny", "steps": 4, "patch": 16, "batch": 2, "validate_every": 2, "device": "cpu",
}  # fmt: skip
CARD = {
    "name": "m", "pixel_size_um": 0.6, "input_channel": "Brightfield", "z_offsets_um": (0.0,),
    "data": "noise",
}  # fmt: skip


def denoiser(path, channel="DNA", seed=0, pixel=0.6):
    """A denoiser that has learnt nothing, and blurs as it happens to."""
    made = build_denoiser("tiny", seed=seed)
    card = DenoiserCard(
        name=path.name, architecture=PRESETS["tiny"], channel=channel, pixel_size_um=pixel,
        normalisation=Normalisation(offset=1000.0, scale=100.0),
        training=TrainingReport(
            recipe="own images", data="noise", n_fields=1, n_validation_fields=0, steps=1, seed=0,
            loss="l2",
        ),
    )  # fmt: skip
    save_denoiser(path, card, made, np.zeros((1, 1, 16, 16), np.float32))
    return str(path)


def field(seed, *, shape=(40, 36), lazy=False):
    rng = np.random.default_rng(seed)
    below = rng.normal(500, 50, (1, *shape)).astype(np.float32)
    above = np.concatenate([below * 2, below - 7])
    above[0, ..., :3, :4] = np.nan
    return PairedField(f"field {seed}", below, da.from_array(above, chunks=20) if lazy else above)


def data(n=3, **more):
    fields = [field(seed, **more) for seed in range(n)]
    return FieldData(fields=fields, stains=("DNA", "ER"), card=dict(CARD))


def seen(monkeypatch):
    """What the training was given: fields that teach, that examine, and what is beside these."""
    found = {}

    def fit(generator, taught, settings, *, validation, beside, **more):
        found.update(taught=taught, held=validation, beside=beside)
        return real(generator, taught, settings, validation=validation, beside=beside, **more)

    real = painting.fit
    monkeypatch.setattr(train, "fit", fit)
    return found


@pytest.mark.parametrize("lazy", [False, True], ids=["in memory", "in files"])
def test_what_teaches_is_denoised_and_what_examines_is_not(lazy, tmp_path, monkeypatch):
    given = seen(monkeypatch)
    fields = data(lazy=lazy)
    path, out = denoiser(tmp_path / "d"), tmp_path / "m"
    settings = TrainSettings(out=str(out), denoised_targets=(path,), validation=0.4, **QUICK)
    result = train_on_fields(fields, settings)
    raw = {f.name: np.asarray(f.stains) for f in fields.fields}
    model = load_denoiser(path)

    def clean(stains):
        """Denoised whole, without tiles."""
        normal = np.nan_to_num((stains[0] - 1000) / 100).astype(np.float32)
        grey = model.denoiser.predict(normal[None, None])[0, 0] * 100 + 1000
        return np.where(np.isnan(stains[0]), np.nan, grey)

    for taught in given["taught"].fields:
        dna, er = np.asarray(taught.stains)
        np.testing.assert_allclose(dna, clean(raw[taught.name]), rtol=1e-5)
        np.testing.assert_array_equal(er, raw[taught.name][1])
    (held,), (twin,) = given["held"].fields, given["beside"].pairs.fields
    np.testing.assert_array_equal(np.asarray(held.stains), raw[held.name])
    np.testing.assert_allclose(np.asarray(twin.stains[0]), clean(raw[twin.name]), rtol=1e-5)
    # Scores: against the raw truth, and beside them those of the denoised stain alone.
    generator = load_package(out).generator
    planes, truth = given["held"].read(0, (slice(0, 40), slice(0, 36)))
    predicted = generator.predict(planes[None])[0]
    assert result.validation_pcc["DNA"] == pytest.approx(pearson(predicted[0], truth[0]), abs=1e-4)
    _, other = given["beside"].pairs.read(0, (slice(0, 40), slice(0, 36)))
    beside = pearson(predicted[0], other[0])
    assert result.validation_pcc_denoised == {"DNA": pytest.approx(beside, abs=1e-4)}
    assert beside != pytest.approx(result.validation_pcc["DNA"], abs=1e-3)
    card = read_card(out)
    assert card.stains[0].expected_pcc == pytest.approx(result.validation_pcc["DNA"], abs=1e-4)
    (of_dna,) = card.training.denoised.values()
    assert of_dna.denoiser == model.fingerprint
    assert of_dna.validation_pcc == pytest.approx(beside, abs=1e-4)
    rows = list(csv.DictReader((out / "training.csv").read_text().splitlines()))
    assert float(rows[-1]["pcc DNA"]) != float(rows[-1]["pcc DNA (denoised)"])
    assert "pcc ER (denoised)" not in rows[-1]
    assert any("Scores are against the truth with its noise" in note for note in result.notes)
    assert not [p for p in (tmp_path / "m.training").iterdir() if p.is_dir()]


def test_what_decides_is_the_raw_truth(tmp_path, monkeypatch):
    losses = []

    def examine(*given, beside=None, **more):
        found = real(*given, beside=beside, **more)
        losses.append((found.loss, real(*given, **more).loss))
        return found

    real = painting.examine
    monkeypatch.setattr(painting, "examine", examine)
    path = denoiser(tmp_path / "d")
    settings = TrainSettings(out=str(tmp_path / "m"), denoised_targets=(path,), **QUICK)
    train_on_fields(data(), settings)
    assert losses
    assert all(with_twin == without for with_twin, without in losses)


def test_a_stack_is_denoised_plane_by_plane(tmp_path):
    path = denoiser(tmp_path / "d")
    found = open_denoisers([path], ("DNA", "ER"))
    volume = field(0, shape=(3, 24, 20))
    (clean,) = found.applied([volume], device="cpu", folder=tmp_path)
    for z in range(3):
        flat = PairedField("f", volume.planes[:, z], volume.stains[:, z])
        (one,) = found.applied([flat], device="cpu", folder=tmp_path)
        np.testing.assert_array_equal(clean.stains[:, z], one.stains)


def test_a_large_field_is_denoised_in_tiles_without_a_trace(tmp_path, monkeypatch):
    found = open_denoisers([denoiser(tmp_path / "d")], ("DNA", "ER"))
    (whole,) = found.applied([field(0, shape=(150, 130))], device="cpu", folder=tmp_path)
    real, plans = denoise_write.plan_of, []

    def plan_of(*given, **more):
        plans.append(real(*given, **{**more, "tile": 32}))
        return plans[-1]

    monkeypatch.setattr(denoise_write, "plan_of", plan_of)
    (tiled,) = found.applied([field(0, shape=(150, 130))], device="cpu", folder=tmp_path)
    assert len(plans[0][1].tiles) > 4
    np.testing.assert_allclose(tiled.stains, whole.stains, rtol=1e-5)


def test_a_checkpoint_goes_on_with_the_denoiser_that_it_began_with(tmp_path):
    one, other = denoiser(tmp_path / "d"), denoiser(tmp_path / "e", seed=1)

    def settings(name, path, **more):
        return TrainSettings(out=str(tmp_path / name), denoised_targets=(path,), **QUICK, **more)

    wanted = train_on_fields(data(), settings("whole", one))
    asked = iter(range(99))
    found = train_on_fields(data(), settings("m", one), should_stop=lambda: next(asked) == 1)
    assert not found.finished
    with pytest.raises(SettingsError, match="made with denoised_targets"):
        train_on_fields(data(), settings("m", other, resume=True))
    found = train_on_fields(data(), settings("m", one, resume=True))
    assert found.validation_pcc == wanted.validation_pcc
    weights = [(tmp_path / n / "weights.safetensors").read_bytes() for n in ("whole", "m")]
    assert weights[0] == weights[1]


def test_a_denoiser_of_other_pixels_is_said(tmp_path):
    found = open_denoisers([denoiser(tmp_path / "d", pixel=1.2)], ("DNA",))
    assert any("pixels of 1.2 µm, and these have 0.6" in note for note in found.notes(0.6))
    assert len(found.notes(1.25)) == 1
    assert open_denoisers([], ("DNA",)).notes(0.6) == ()


def test_a_denoiser_is_found_by_the_name_of_the_dye(tmp_path):
    path = denoiser(tmp_path / "d", channel="Hoechst 33342")
    assert list(open_denoisers([path], ("ER", "DNA")).models) == [1]


REFUSED = {
    "of no stain": (["AGP"], SettingsError, "'AGP', which is none of the stains.*leave it out"),
    "of one stain twice": (["DNA", "DNA"], SettingsError, "Two denoisers are of DNA"),
}


@pytest.mark.parametrize(("channels", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_denoisers_that_do_not_fit_are_refused(channels, kind, words, tmp_path):
    paths = [denoiser(tmp_path / str(n), channel) for n, channel in enumerate(channels)]
    with pytest.raises(kind, match=words):
        open_denoisers(paths, ("DNA", "ER"))


def test_what_is_no_denoiser_is_refused_before_images_are_read(tmp_path, tiny_model):
    for path, kind in (
        (str(tmp_path / "none"), MissingInputError),
        (tiny_model, ModelPackageError),
    ):
        settings = TrainSettings(
            out=str(tmp_path / "m"), input=("nowhere.tif",), stains=("DNA",),
            denoised_targets=(str(path),), **QUICK,
        )  # fmt: skip
        with pytest.raises(kind, match="denoise"):
            train.run(settings)


def test_a_truth_that_is_denoised_itself_is_said_and_the_command_line_labels_scores(
    tmp_path, capsys
):
    rng = np.random.default_rng(0)

    def write(name, channel, **made):
        """Two images, since time points of one stay together."""
        for n in range(2):
            with OmeZarrSink.create(
                tmp_path / f"{name}{n}.ome.zarr", shape=(1, 1, 1, 32, 32), channels=[channel],
                n_tiles=1, **made,
            ) as sink:  # fmt: skip
                pixels = rng.normal(500, 50, (1, 1, 1, 32, 32)).astype(np.float32)
                sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
                sink.commit(0)
        return ",".join(str(tmp_path / f"{name}{n}.ome.zarr") for n in range(2))

    light = write("b", Channel("Brightfield", "transmitted"))
    truth = write("s", Channel("DNA"))
    options = [
        "train", "--input", light, "--stains", "DNA", "--pixel-size", "0.6", "--preset", "tiny",
        "--steps", "2", "--patch", "16", "--batch", "2", "--validation", "0.4", "--device", "cpu",
    ]  # fmt: skip
    path = denoiser(tmp_path / "d")
    told = ["--target", truth, "--out", str(tmp_path / "m"), "--denoised-targets", path]
    assert main([*options, *told]) == 0
    shown = capsys.readouterr()
    assert "against denoised truth: DNA" in shown.out
    assert "the truth itself is denoised" not in shown.err
    made = write("d", Channel("DNA"), record={"job": "denoise"})
    assert main([*options, "--target", made, "--out", str(tmp_path / "n")]) == 0
    shown = capsys.readouterr()
    assert "note: DNA: the truth itself is denoised, and every score is against it" in shown.err
