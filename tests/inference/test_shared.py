"""A model is loaded once a process, and again when its files change."""

import os
import shutil
import threading

import pytest

from napari_virtualstain.errors import ModelPackageError
from napari_virtualstain.inference import shared
from napari_virtualstain.inference.shared import MOST, forget_models, shared_model


@pytest.fixture(autouse=True)
def _empty():
    forget_models()
    yield
    forget_models()


@pytest.fixture
def loads(monkeypatch):
    calls = []
    original = shared.load_generator

    def load(path):
        calls.append(path)
        return original(path)

    monkeypatch.setattr(shared, "load_generator", load)
    return calls


def test_a_model_is_loaded_once(tiny_model, loads):
    first = shared_model(tiny_model)
    assert shared_model(str(tiny_model)) is first
    assert len(loads) == 1
    assert first.network().reach.halo[0] > 0


def test_many_threads_load_it_once(tiny_model, loads):
    gate, got = threading.Barrier(6), []

    def want():
        gate.wait()
        got.append(shared_model(tiny_model))

    threads = [threading.Thread(target=want) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in got}) == len(loads) == 1


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors", "test_pair.npz"])
def test_a_changed_file_is_another_model(name, tiny_model, loads, tmp_path):
    mine = shutil.copytree(tiny_model, tmp_path / "mine")
    before = shared_model(mine)
    stat = (mine / name).stat()
    os.utime(mine / name, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))
    assert shared_model(mine) is not before
    (mine / name).write_bytes(b"damaged")
    with pytest.raises(ModelPackageError):
        shared_model(mine)


def test_the_model_that_was_not_used_for_longest_goes(tiny_model, loads, tmp_path):
    copies = [shutil.copytree(tiny_model, tmp_path / str(i)) for i in range(MOST + 1)]
    for copy in (copies[0], copies[1], copies[0], copies[2]):
        shared_model(copy)
    assert len(loads) == 3
    shared_model(copies[0])
    assert len(loads) == 3
    shared_model(copies[1])
    assert len(loads) == 4
