"""A model that others publish has a name here after one command, and is the one that it was before."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from file_server import serving

from napari_virtualstain.cli.main import main
from napari_virtualstain.encoders.package import read_encoder_card
from napari_virtualstain.errors import (
    DownloadError,
    ImageFileError,
    ModelPackageError,
    OutputExistsError,
    RunCancelled,
    SettingsError,
    UnknownNameError,
)
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.jobs.model_download import HASHES
from napari_virtualstain.jobs.models import ModelsSettings, describe, listing, run
from napari_virtualstain.nets.vit import VisionTransformer
from napari_virtualstain.zoo import list_models
from napari_virtualstain.zoo.index import Download, list_downloads

SIZES = {
    "depth": 4, "stem_depth": 2, "stem": 2, "dims": [8, 12], "blocks": [1, 1], "decoder_blocks": 1
}  # fmt: skip


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("NVS_MODELS", str(folder))
    monkeypatch.setattr("napari_virtualstain.io.fetch._PAUSE_S", 0.0)
    return folder


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A small checkpoint of VisCy: two stains of four planes."""
    made = build_generator("fcmae", in_channels=1, out_channels=2, architecture=SIZES, seed=3)
    path = tmp_path_factory.mktemp("checkpoint") / "a.ckpt"
    torch.save(
        {"state_dict": {f"model.{k}": v for k, v in made.module().state_dict().items()}}, path
    )
    return path.read_bytes()


@pytest.fixture
def server(content, models):
    with serving(content) as found:
        listed(models, found)
        yield found


def listed(models, server, **changes):
    """List a model at a server in the user's own index."""
    entry = {
        "name": "Cyto", "title": "A small one", "url": f"{server.url}/epoch%3D1.ckpt", "format": "viscy",
        "stains": ["Nucleus", "Membrane"], "channel": "Phase3D", "over": "stacks", "takes": "a stack",
        "pixel_size_um": 0.1, "z_step_um": 0.2, "licence": "BSD-3-Clause", "citation": "Somebody",
    }  # fmt: skip
    (models / "index.json").write_text(json.dumps([{**entry, **changes}]))


def download(name="cyto", **settings):
    return run(ModelsSettings(action="download", file=name, **settings))


def left(models):
    """Return what is in the models folder but models and the two lists."""
    return [
        p.name for p in models.iterdir() if p.name not in ("index.json", HASHES, *list_models())
    ]


def test_one_command_downloads_and_imports(server, models, content, capsys):
    assert main(["models", "download", "cyto", "--json"]) == 0
    shown = capsys.readouterr()
    assert "1 of 1 MB downloaded" in shown.err
    assert json.loads(shown.out)["out"] == str(models / "Cyto")
    card = read_card(models / "Cyto")
    assert card.stain_names == ("Nucleus", "Membrane")
    assert card.inputs[0].channel == "Phase3D"
    assert (card.pixel_size_um, card.volume.z_step_um) == (0.1, 0.2)
    assert (card.licence, card.citation) == ("BSD-3-Clause", "Somebody")
    assert card.imported.sha256 == hashlib.sha256(content).hexdigest()
    assert card.imported.file == "epoch=1.ckpt"
    assert left(models) == [], "the checkpoint is not kept twice"


def test_what_is_stated_wins_over_the_index(server, models):
    made = download(out="mine", stains=("a", "b"), pixel_size=0.3, licence="mine alone", z_step=1.0)
    card = read_card(models / "mine")
    assert card.stain_names == ("a", "b")
    assert (card.pixel_size_um, card.volume.z_step_um, card.licence) == (0.3, 1.0, "mine alone")
    assert describe(made)["name"] == "mine"


def test_the_sha256_is_kept_at_first_use_and_compared_ever_after(server, models, content):
    download()
    (known,) = json.loads((models / HASHES).read_text()).values()
    assert known == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    download(overwrite=True)
    server.content = bytes([content[0], content[1] ^ 1]) + content[2:]
    with pytest.raises(
        DownloadError, match=r"its sha256 is .* should be .*hashes.json' and download again\."
    ):
        download(overwrite=True)
    assert left(models) == [".downloads"]
    assert read_card(models / "Cyto").stain_names == ("Nucleus", "Membrane"), "the old one stays"
    (models / HASHES).unlink()
    server.content = content
    download(overwrite=True)


def test_a_sha256_that_the_index_states_is_compared_the_first_time(server, models):
    listed(models, server, sha256="1" * 64)
    with pytest.raises(
        DownloadError, match="its sha256 is .* Ask its authors whether they changed it.$"
    ):
        download()
    assert "Cyto" not in list_models()
    assert not (models / HASHES).exists()


def test_cancelled_it_is_gone_on_with(server, models):
    server.slow = 0.01

    def stop(done, total, what):
        if (
            list(models.glob(".downloads/*/*.part"))
            and next(models.glob(".downloads/*/*.part")).stat().st_size
        ):
            raise RunCancelled("enough")

    with pytest.raises(RunCancelled):
        run(ModelsSettings(action="download", file="Cyto"), on_progress=stop)
    assert "Cyto" not in list_models()
    download()
    assert server.asked[-1][1].startswith("bytes=")
    assert left(models) == []


def test_a_file_of_which_no_model_can_be_made_is_not_kept(server, models):
    server.content = b"nothing of use"
    with pytest.raises(ModelPackageError, match="holds more than weights, or is none"):
        download()
    assert not (models / HASHES).exists(), "it was of no use yet"
    assert not list(models.glob(".downloads/*"))


REFUSED = {
    "a name that is not listed": ({"name": "Cytoo"}, UnknownNameError, "Did you mean 'Cyto'"),
    "no name": ({"name": None}, SettingsError, "Name the model to download"),
    "what nobody knows": ({}, SettingsError, "State --pixel-size, as its training images had it."),
}  # fmt: skip


@pytest.mark.parametrize(("given", "kind", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_made_is_said_before_anything_is_fetched(
    given, kind, sentence, server, models
):
    listed(models, server, pixel_size_um=None, ask=["pixel_size"])
    with pytest.raises(kind, match=sentence):
        download(**given)
    assert server.asked == []


def test_a_format_that_is_not_imported_yet_is_said_before_anything_is_fetched():
    with pytest.raises(
        SettingsError, match="is not downloaded: it .*Nothing was downloaded; it lies at https"
    ):
        download("noisy-hedgehog")


def test_a_model_that_is_there_is_said_before_anything_is_fetched(server, models, tiny_model):
    shutil.copytree(tiny_model, models / "Cyto")
    with pytest.raises(OutputExistsError, match="add --overwrite"):
        download()
    assert server.asked == []


def test_a_zip_of_a_model_folder_is_taken_over(models, tiny_model, tmp_path):
    archive = Path(
        shutil.make_archive(str(tmp_path / "zipped"), "zip", tiny_model.parent, tiny_model.name)
    )
    with serving(archive.read_bytes()) as server:
        listed(models, server, format="package", url=f"{server.url}/tiny.zip", licence="", citation="",
               pixel_size_um=None, z_step_um=None)  # fmt: skip
        download()
    assert read_card(models / "Cyto").stain_names == read_card(tiny_model).stain_names


def test_an_encoder_is_downloaded_as_one(models, tmp_path, capsys):
    net = VisionTransformer(3, patch=8, dim=64, depth=1, heads=1, image=32)
    torch.save(net.state_dict(), tmp_path / "dino.pth")
    with serving((tmp_path / "dino.pth").read_bytes()) as server:
        listed(models, server, format="vit", url=f"{server.url}/dino.pth", stains=[], channel="RGB",
               over="planes", pixel_size_um=None, z_step_um=None, licence="Apache-2.0")  # fmt: skip
        assert main(["models", "--all"]) == 0
        assert "takes a stack, an encoder" in capsys.readouterr().out
        download()
        card = read_encoder_card(models / "Cyto")
        assert (card.encoder, card.licence, card.citation) == ("dino", "Apache-2.0", "Somebody")
        assert next(e for e in listing()["downloads"] if e["name"] == "Cyto")["is_here"]
        with pytest.raises(OutputExistsError, match="The encoder folder"):
            download()


def test_the_list_names_what_can_be_downloaded(server, capsys):
    entries = {entry["name"]: entry for entry in listing()["downloads"]}
    assert not entries["Cyto"]["is_here"]
    assert entries["VSCyto3D"]["importable"]
    assert entries["DINO-ViT-S8"]["importable"]
    assert not entries["noisy-hedgehog"]["importable"]
    download()
    assert next(e for e in listing()["downloads"] if e["name"] == "Cyto")["is_here"]
    assert main(["models", "--all"]) == 0
    text = capsys.readouterr().out
    assert (
        "  VSCyto2D: VSCyto2D: nuclei and membranes of cultured cells (374 MB, BSD-3-Clause)\n"
        in text
    )
    assert "needs --pixel-size" in text
    assert "not downloaded: it is fetched by hand" in text


def test_an_index_that_is_damaged_is_one_sentence(models):
    (models / "index.json").write_text('[{"name": "x"}]')
    with pytest.raises(ImageFileError, match="is not understood: title: .* Correct or delete it."):
        list_downloads()


def test_hashes_that_are_damaged_are_one_sentence(server, models):
    (models / HASHES).write_text("[1]")
    with pytest.raises(DownloadError, match="Put a copy of it back"):
        download()
    assert server.asked == []


def test_every_entry_that_is_shipped_is_safe_and_complete():
    from napari_virtualstain.io.fetch import check_address

    for entry in list_downloads().values():
        check_address(entry.url)
        assert entry.citation
        assert entry.sha256 or entry.unverified, "what nobody has checked is said"
        sees = entry.format == "vit"
        assert entry.later or sees or entry.stains
        assert entry.later or sees or entry.pixel_size_um or "pixel_size" in entry.ask
    assert {"VSCyto2D", "VSCyto3D", "VSCyto3D-2024", "VSNeuromast", "noisy-hedgehog"} <= set(
        list_downloads()
    )


def test_an_entry_has_no_name_that_leaves_its_folder():
    with pytest.raises(ValueError, match="name"):
        Download(
            name="../x",
            title="",
            url="https://e.org",
            format="viscy",
            stains=(),
            channel="",
            over="planes",
            takes="",
        )
