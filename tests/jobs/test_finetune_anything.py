"""Whatever is asked of a tuning, it gives a model or one sentence; killed, it ends all the same."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from judged_stores import write_image

from napari_virtualstain import simulate
from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.errors import DiskError, PixelDataError, SettingsError, VirtualStainError
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import finetune
from napari_virtualstain.jobs.finetune import FinetuneSettings
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.training import state
from napari_virtualstain.zoo import load_generator

EDGES = (48, 64, 80, 64, 96, 56)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Six fields of several sizes; read-only."""
    root = tmp_path_factory.mktemp("sizes")
    for n, edge in enumerate(EDGES):
        chosen = simulate.FieldSettings(shape_px=(edge, edge + 8), n_cells=1 + n % 3)
        write_field(simulate.simulate_field(chosen, seed=n), root / str(n))
    return [root / str(n) for n in range(len(EDGES))]


def asked(model, places, out, **more):
    return FinetuneSettings(
        model=str(model), out=str(out),
        input=tuple(str(p / "brightfield.ome.zarr") for p in places),
        target=tuple(str(p / "stains.ome.zarr") for p in places),
        **{"steps": 6, "batch": 2, "validate_every": 2, "patch": 32, **more},
    )  # fmt: skip


@examples(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 6), steps=st.integers(1, 3), batch=st.integers(1, 3),
    patch=st.one_of(st.none(), st.integers(8, 100)), every=st.integers(1, 4),
    preset=st.sampled_from(["recalibrate", "quick", "adapter", "full", "scratch"]),
    hold_back=st.floats(0.05, 0.95), share=st.sampled_from([0.0, 0.5, 1.0]), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_number_of_fields_steps_and_pixels_gives_a_model_or_a_sentence(
    tiny_model, places, tmp_path, count, steps, batch, patch, every, preset, hold_back, share, seed
):
    chosen = asked(
        tiny_model, places[:count], tmp_path / "m", steps=steps, batch=batch, patch=patch,
        validate_every=every, preset=preset, hold_back=hold_back, foreground=share, seed=seed,
        overwrite=True,
    )  # fmt: skip
    found = outcome(chosen)
    if isinstance(found, str):
        assert found.endswith((".", ")"))
        assert "\n" not in found
        # Patches that fit neither fields nor network, and shares that leave nothing to teach.
        assert patch is not None or count < 3 or count * (1 - hold_back) < 1
        return
    assert found.finished
    assert found.steps == (0 if preset == "recalibrate" else steps)
    assert len(found.gains) == 5
    assert all(gain.verdict for gain in found.gains)
    load_generator(tmp_path / "m")


def outcome(chosen):
    """Return what a tuning came to, or the sentence that refuses it."""
    try:
        return finetune.run(chosen)
    except VirtualStainError as error:
        return str(error)


def constant(place, target):
    """Copy a field whose true stains have one value."""
    shutil.copytree(place, target)
    image = open_image(place / "stains.ome.zarr")
    shutil.rmtree(target / "stains.ome.zarr")
    write_image(target / "stains.ome.zarr", np.full(image.shape, 7.0), list(image.channels))
    return target


BAD = {
    "no pair": (lambda p, _: [], {}, SettingsError, "Nothing to tune on"),
    "a rate that explodes": (
        lambda p, _: p[1:4], {"learning_rate": 1e30, "preset": "full"}, PixelDataError,
        "Use a lower --learning-rate",
    ),
    "constant targets": (
        lambda p, t: [constant(p[n], t / str(n)) for n in (1, 3)], {}, PixelDataError, "constant",
    ),
    "one field that is too narrow": (
        lambda p, _: p[:1], {"hold_back": 0.9}, SettingsError, "Give two fields or more",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_tuned_is_one_sentence_and_leaves_no_model(
    tiny_model, places, tmp_path, case
):
    which, more, kind, sentence = BAD[case]
    chosen = asked(tiny_model, which(places, tmp_path), tmp_path / "m", **more)
    with pytest.raises(kind, match=sentence):
        finetune.run(chosen)
    assert not (tmp_path / "m").exists()


def test_a_pair_of_two_sizes_is_refused(tiny_model, places, tmp_path):
    chosen = asked(tiny_model, places[:2], tmp_path / "m")
    crossed = chosen.model_copy(update={"target": chosen.target[::-1]})
    with pytest.raises(VirtualStainError, match="px"):
        finetune.run(crossed)
    assert not (tmp_path / "m").exists()


def test_a_full_disk_is_one_sentence_and_the_checkpoint_before_is_gone_on_with(
    tiny_model, places, tmp_path, monkeypatch
):
    chosen = asked(tiny_model, places[1:4], tmp_path / "m")
    saved, calls = state.save_checkpoint, []

    def full(*args, **more):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        saved(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(state, "save_checkpoint", full)
        with pytest.raises(DiskError, match="(?i)space|full"):
            finetune.run(chosen)
    assert not (tmp_path / "m").exists()
    finetune.run(chosen.model_copy(update={"resume": True}))
    finetune.run(asked(tiny_model, places[1:4], tmp_path / "other"))
    assert same(tmp_path / "m", tmp_path / "other")


def same(one, other):
    first, second = (load_generator(path).generator.module().state_dict() for path in (one, other))
    return all((first[name] == second[name]).all() for name in first)


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_tuning_that_is_killed_anywhere_ends_as_the_undisturbed_one(tiny_model, places, tmp_path):
    chosen = asked(tiny_model, places[1:4], tmp_path / "m", steps=14, preset="adapter")
    line = to_command("finetune", chosen.absolute()).split()[1:]
    process = subprocess.Popen([sys.executable, "-m", "napari_virtualstain", *line, "--quiet"])
    checkpoint = tmp_path / "m.training" / "checkpoint.pt"
    until = time.monotonic() + 90
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(float(np.random.default_rng().uniform(0, 0.5)))
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    if not (tmp_path / "m").exists():  # else it was done before
        finetune.run(chosen.model_copy(update={"resume": True}))
    finetune.run(chosen.model_copy(update={"out": str(tmp_path / "other")}))
    assert same(tmp_path / "m", tmp_path / "other")
