"""A program is trusted by its hash, by this user, and not by what travels with it."""

from __future__ import annotations

from napari_virtualstain.zoo import list_models
from napari_virtualstain.zoo.trust import is_trusted, trust


def test_only_what_was_noted_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("NVS_MODELS", str(tmp_path / "models"))
    before = list_models()
    assert not is_trusted("a" * 64)
    trust("a" * 64)
    trust("a" * 64)
    trust("b" * 64)
    assert is_trusted("a" * 64)
    assert is_trusted("b" * 64)
    assert not is_trusted("c" * 64)
    assert not is_trusted("a" * 63)
    assert (tmp_path / "models" / "trusted.txt").read_text().split() == ["a" * 64, "b" * 64]
    assert list_models() == before
