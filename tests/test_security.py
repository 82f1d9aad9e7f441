"""What docs/security.md promises, held against the code."""

from __future__ import annotations

import ast
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from foreign import safetensors

from napari_virtualstain import api
from napari_virtualstain.errors import ImageFileError, ModelPackageError, SettingsError
from napari_virtualstain.io import model_files
from napari_virtualstain.io.fetch import check_address
from napari_virtualstain.io.model_files import member_of_zip
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import KEY
from napari_virtualstain.io.safe_xml import XmlError, parse_xml

SOURCE = Path(__file__).parents[1] / "src" / "napari_virtualstain"
MODULES = sorted(SOURCE.rglob("*.py"))


def called(tree: ast.AST):
    """Yield each call with its name in full, as far as it is written out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def stated(node: ast.Call, name: str):
    return next((ast.unparse(k.value) for k in node.keywords if k.arg == name), None)


FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads",
    "pickle.Unpickler", "marshal.loads", "shelve.open", "yaml.load", "joblib.load", "dill.loads",
    "cloudpickle.loads", "ssl._create_unverified_context",
}  # fmt: skip
UNPACKS = {"extract", "extractall", "unpack_archive"}


def faults(tree: ast.AST) -> list[str]:
    found = []
    for name, node in called(tree):
        last = name.rpartition(".")[2]
        if name in FORBIDDEN or last in UNPACKS:
            found.append(f"{node.lineno}: {name}")
        if name.endswith("torch.load") and stated(node, "weights_only") != "True":
            found.append(f"{node.lineno}: torch.load without weights_only=True")
        if name == "np.load" and stated(node, "allow_pickle") != "False":
            found.append(f"{node.lineno}: np.load without allow_pickle=False")
        if stated(node, "shell") == "True":
            found.append(f"{node.lineno}: a shell")
        if stated(node, "verify") == "False" or stated(node, "check_hostname") == "False":
            found.append(f"{node.lineno}: certificates are not checked")
        if last in {"urlopen", "Request"} and "allow_redirects" in ast.unparse(node):
            found.append(f"{node.lineno}: redirects of its own")
    return found


def test_no_module_runs_what_it_reads():
    found = {
        path.relative_to(SOURCE).as_posix(): faults(ast.parse(path.read_text(encoding="utf-8")))
        for path in MODULES
    }
    assert {name: said for name, said in found.items() if said} == {}
    assert len(found) > 500


@pytest.mark.parametrize(
    "line",
    ["eval(x)", "torch.load(p)", "np.load(p)", "subprocess.run(x, shell=True)", "get(u, verify=False)",
     "archive.extractall(p)", "pickle.load(f)", "torch.load(p, weights_only=False)"],
)  # fmt: skip
def test_what_the_search_is_for_is_found(line):
    assert len(faults(ast.parse(line))) == 1


# --- archives -------------------------------------------------------------------------------------


def test_a_zip_writes_nothing_wherever_its_members_want_to_lie(tmp_path):
    path = tmp_path / "in" / "m.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../card.json", b"{}")
        archive.writestr("/etc/weights.safetensors", safetensors())
    assert member_of_zip(path, "card.json") == b"{}"
    assert member_of_zip(path, "weights.safetensors") == safetensors()
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["in", "in/m.zip"]


def test_a_test_pair_that_unfolds_to_far_more_is_refused_before_it_does(monkeypatch):
    content = model_files.pack_pair(np.zeros((1, 3, 64, 64)), np.zeros((1, 2, 64, 64)))
    assert model_files._arrays_of(content, Path("m"))[0].shape == (1, 3, 64, 64)
    monkeypatch.setitem(model_files._LARGEST, ".npz", 10 * len(content))
    monkeypatch.setattr(np, "load", None)  # it does not come so far
    with pytest.raises(
        ModelPackageError, match=r"unfolds to 0.0 GB, which no test pair has.*model\.$"
    ):
        model_files._arrays_of(content, Path("m"))


def test_arrays_of_objects_are_no_test_pair():
    buffer = io.BytesIO()
    np.savez(buffer, planes=np.array([{}], dtype=object), expected=np.zeros(1))
    with pytest.raises(ModelPackageError, match="is damaged .*Object arrays cannot be loaded"):
        model_files._arrays_of(buffer.getvalue(), Path("m"))


def test_a_package_may_not_name_a_file_elsewhere(tmp_path):
    bioimageio = pytest.importorskip("napari_virtualstain.generators.importers.bioimageio")
    (tmp_path / "secret.onnx").write_bytes(b"secret")
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "w.onnx").write_bytes(b"w")
    read = bioimageio._reader(folder)
    assert read("w.onnx") == b"w"
    with pytest.raises(
        ModelPackageError, match="names the file ../secret.onnx, which lies outside"
    ):
        read("../secret.onnx")


# --- XML, addresses --------------------------------------------------------------------------------

BILLION_LAUGHS = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>
<OME>&b;</OME>"""
ELSEWHERE = (
    """<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><OME>&x;</OME>"""
)


@pytest.mark.parametrize("text", [BILLION_LAUGHS, ELSEWHERE], ids=["grows", "another file"])
def test_xml_with_entities_is_refused(text, tmp_path):
    with pytest.raises(XmlError, match="declares a document type or entities"):
        parse_xml(text)
    path = tmp_path / "a.companion.ome"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ImageFileError):
        open_image(path)


SECRETS = [
    "https://me:hunter2@example.org/plate.ome.zarr",
    "s3://key:hunter2@bucket/plate.ome.zarr",
    "https://example.org/plate.ome.zarr?token=hunter2",
    "https://example.org/plate.ome.zarr?X-Amz-Signature=hunter2",
    "https://example.org/plate.ome.zarr?sv=1&sig=hunter2",
]


@pytest.mark.parametrize("url", SECRETS)
def test_an_address_with_a_secret_is_refused_and_not_repeated(url):
    with pytest.raises(
        SettingsError, match=r"holds a password or key.*configuration\.$"
    ) as refused:
        open_image(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "ftp://example.org/a", "file:///etc/passwd"]
)
def test_downloads_come_by_https_alone(url):
    with pytest.raises(Exception, match="only https:// addresses are"):
        check_address(url)


# --- records ---------------------------------------------------------------------------------------


def test_no_record_holds_what_stands_in_the_environment(
    tmp_path, field_folder, tiny_model, monkeypatch
):
    names = (
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "HF_TOKEN",
        "DASK_DISTRIBUTED__PASSWORD",
        "PASSWORD",
    )
    for name in names:
        monkeypatch.setenv(name, f"hunter2-{name}")
    out = tmp_path / "o.ome.zarr"
    api.stain(field_folder / "brightfield.ome.zarr", out=out, model=tiny_model)
    report = api.measure(field_folder / "stains.ome.zarr", out=tmp_path / "measured").out
    record = json.loads((out / "zarr.json").read_text(encoding="utf-8"))
    assert record["attributes"][KEY]["record"]["versions"]
    for file in [*out.rglob("*.json"), *report.iterdir()]:
        assert b"hunter2" not in file.read_bytes()
