"""What comes from outside is read or refused in one sentence; nothing else ever happens."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from foreign import PARSERS, Parser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_virtualstain.errors import VirtualStainError

SECONDS = 5.0
"""How long one file may take, of the processor; what hangs is ended by the limit of every test."""
EXAMPLES = 12
"""Damaged files of each parser; `scripts/fuzz.py` tries for as long as it may."""


@pytest.mark.parametrize("kind", PARSERS)
def test_a_sound_file_is_read(kind, tmp_path):
    parser = PARSERS[kind]
    if not parser.refused:
        parser.read_one(tmp_path, parser.sound())
        return
    with pytest.raises(VirtualStainError, match=parser.refused):
        parser.read_one(tmp_path, parser.sound())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", PARSERS)
def test_a_damaged_file_is_read_or_refused_in_one_sentence(kind):
    parser = PARSERS[kind]

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.integers(0, 2**32))
    def try_one(seed):
        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            said = "."
            try:
                parser.try_one(Path(folder), seed)
            except VirtualStainError as error:
                said = str(error)
        assert said.endswith((".", "?"))
        assert "\n" not in said
        assert time.process_time() - began < SECONDS

    try_one()


@pytest.fixture
def fuzz(monkeypatch):
    import importlib.util

    file = Path(__file__).parents[1] / "scripts" / "fuzz.py"
    if not file.exists():
        pytest.skip("the scripts are not part of an installed package")
    spec = importlib.util.spec_from_file_location("fuzz", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Told(list):
    put = list.append


def test_the_long_run_notes_what_is_no_sentence_and_what_is_another_error(fuzz, monkeypatch):
    def wrong(path):
        kind = path.read_bytes()[:1]
        if kind < b"\x80":
            raise VirtualStainError("two\nlines")
        raise KeyError("lost")

    broken = Parser("x.bin", lambda: bytes(range(256)), wrong)
    monkeypatch.setitem(PARSERS, "broken", broken)
    found = Told()
    fuzz.try_batch("broken", 0, 60, found)
    kinds = {what for what, _, _ in found}
    assert kinds >= {"begun", "no sentence", "done"}
    assert found[-1] == ("done", 60, "")
    monkeypatch.setitem(
        PARSERS, "broken", Parser("x.bin", lambda: b"\xff" * 64, lambda path: 1 / 0)
    )
    found = Told()
    fuzz.try_batch("broken", 0, 2, found)
    assert [what for what, _, _ in found] == ["begun", "another error"] * 2 + ["done"]


def test_the_long_run_ends_with_its_time_and_says_what_it_did(fuzz):
    words = ["--minutes", "0", "--only", "labels", "--seed", "3"]
    done = subprocess.run(
        [sys.executable, fuzz.__file__, *words], capture_output=True, text=True, timeout=200
    )
    assert (done.returncode, done.stdout) == (0, "50 damaged files of 1 kinds, 0 findings\n")


MENDED = {"versions that are no table": ("record of a report", 20_000_030)}
"""What a long search has found, by what was wrong."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "seed"), MENDED.values(), ids=MENDED)
def test_what_was_found_once_is_one_sentence_now(kind, seed, tmp_path):
    with pytest.raises(VirtualStainError) as refused:
        PARSERS[kind].try_one(tmp_path, seed)
    assert str(refused.value).endswith(".")
