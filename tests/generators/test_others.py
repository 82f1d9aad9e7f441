"""Methods of other packages are taken in, and those that are broken take nothing with them."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from napari_virtualstain.errors import UnknownNameError
from napari_virtualstain.generators import registry
from napari_virtualstain.generators.base import GeneratorSpec
from napari_virtualstain.generators.others import GROUP, installed

MODULE = """
from napari_virtualstain.generators.base import GeneratorSpec

def spec(name):
    return GeneratorSpec(
        name=name, title=name, target="nowhere:Nothing", ndim=(2,), stochastic=False, source="doi:1"
    )

GOOD = spec("good")
UNET = spec("unet")
NO_SPEC = "good"
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a package whose entry points are named, as pip would."""

    def install(points: dict[str, str], name: str = "theirs") -> None:
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = "".join(f"{key} = {value}\n" for key, value in points.items())
        (about / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")
        (tmp_path / "their_generators.py").write_text(MODULE)
        (tmp_path / "their_broken_module.py").write_text("import a_module_that_is_not_there")
        monkeypatch.syspath_prepend(tmp_path)

    return install


def test_a_method_of_another_package_is_found(package):
    package({"good": "their_generators:GOOD"})
    found, broken = installed({"unet"})
    assert isinstance(found["good"], GeneratorSpec)
    assert broken == {}


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("unet", "their_generators:UNET", "there is a method of that name"),
        ("other", "their_generators:GOOD", "its GeneratorSpec is named 'good'"),
        ("good", "their_generators:NO_SPEC", "it is a str and no GeneratorSpec"),
        ("good", "their_generators:MISSING", "has no attribute 'MISSING'"),
        ("good", "their_broken_module:GOOD", "No module named 'a_module_that_is_not_there'"),
    ],
)
def test_a_method_that_cannot_be_used_is_left_out_and_the_reason_kept(package, name, value, why):
    package({name: value, "still": "their_generators:GOOD"})
    found, broken = installed({"unet"})
    assert found == {}
    assert why in broken[name]
    assert broken[name].startswith(f"The generator {name!r} of the package 'theirs' ({value})")
    assert broken[name].endswith("Correct or uninstall that package.")


def test_of_two_packages_with_one_name_the_first_is_taken(package):
    package({"good": "their_generators:GOOD"})
    package({"good": "their_generators:GOOD"}, name="theirs_too")
    assert len(entry_points(group=GROUP)) == 2
    found, broken = installed(())
    assert list(found) == ["good"]
    assert "there is a method of that name" in broken["good"]


def test_who_asks_for_a_broken_method_is_told_why(monkeypatch):
    monkeypatch.setitem(registry.BROKEN, "theirs", "It cannot be used. Uninstall that package.")
    with pytest.raises(UnknownNameError, match=r"^It cannot be used\. Uninstall that package\.$"):
        registry.get_spec("theirs")
