"""What counts as a licence that we may depend on."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "check_licences.py"
if not SCRIPT.exists():
    pytest.skip("the scripts are not part of an installed package", allow_module_level=True)
pytest.importorskip("packaging")


@pytest.fixture(scope="module")
def check() -> Iterator[ModuleType]:
    """The script as a module, though it lies outside the package."""
    spec = importlib.util.spec_from_file_location("check_licences", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("MIT", True),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib", True),
        ("Apache-2.0 AND Apache-2.0 WITH LLVM-exception", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND (GPL-3.0-only OR Apache-2.0)", True),
        ("MIT AND (GPL-3.0-only OR AGPL-3.0-only)", False),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only", False),
        ("nothing said", False),
    ],
)
def test_an_expression_is_decided_by_its_parts(check, expression, verdict):
    assert check.allowed(expression) is verdict


@pytest.mark.parametrize(
    ("facts", "licence"),
    [
        ({"expression": "MIT", "text": "GPL"}, "MIT"),
        ({"classifiers": ("BSD License",), "text": "Copyright (c) ..."}, "BSD-3-Clause"),
        ({"text": "ISC license"}, "ISC"),
        ({"text": "My own terms\nline two"}, "My own terms"),
        ({}, "nothing said"),
    ],
    ids=["expression first", "then classifier", "then words", "unknown words", "silence"],
)
def test_the_best_statement_of_a_licence_wins(check, facts, licence):
    assert check.licences(check.Facts(name="x", **facts)) == licence


def test_the_walk_follows_extras_and_markers_and_ends_in_circles(check):
    facts = check.Facts
    world = {
        "a": facts("a", requires=("b[gui]", 'd; python_version < "3"')),
        "b": facts("b", requires=("a", 'c; extra == "gui"', 'e; extra == "docs"')),
        "c": facts("c"),
        "d": facts("d"),
        "e": facts("e"),
    }
    assert sorted(check.reach(["a"], world.get)) == ["a", "b", "c"]


def test_a_copyleft_package_is_refused_with_the_next_action(check):
    [sentence] = check.complaints({"x": check.Facts("x", expression="AGPL-3.0-only")}, {})
    assert sentence == (
        "x says of its licence: 'AGPL-3.0-only', which is not on the list. Read it: if it is "
        "permissive, add its name to ALLOWED or SPOKEN in scripts/check_licences.py; if not, do "
        "without the package."
    )


def test_pyqt_is_the_users_choice_and_never_ours(check):
    pyqt = {"pyqt6": check.Facts("pyqt6", expression="GPL-3.0-only")}
    assert check.complaints({}, pyqt) == []
    [sentence] = check.complaints(pyqt, pyqt)
    assert sentence.endswith(
        "Move what needs it into the extra, or depend on something permissive."
    )


def test_the_packages_installed_here_pass(check, capsys):
    assert check.main() == 0
    assert "distributions have licences that fit" in capsys.readouterr().out
