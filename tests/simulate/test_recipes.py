"""Are training and held-out fields fixed and apart, and is the simulator the measured one?"""

import json
from pathlib import Path

import numpy as np
import pytest

from napari_virtualstain import simulate
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.simulate import (
    HELD_OUT,
    PHENOTYPES,
    STAINS,
    TRAINING_RANGES,
    demo_settings,
    fingerprint,
    held_out_settings,
    training_settings,
)

REPORT = Path(__file__).parents[2] / "docs" / "benchmarks" / "simulator.json"


@pytest.fixture(scope="module")
def report():
    if not REPORT.exists():
        pytest.skip("docs/benchmarks/simulator.json is not there: run benchmarks/simulator.py")
    return json.loads(REPORT.read_text(encoding="utf-8"))


def test_the_simulator_is_the_one_whose_difficulty_was_measured(report):
    assert report["fingerprint"] == fingerprint(), (
        "The simulator changed: run benchmarks/simulator.py again, and retrain the demo model."
    )


@pytest.mark.parametrize("region", ["whole", "foreground"])
def test_the_measured_task_is_neither_trivial_nor_hopeless(report, region):
    rows = report["held_out"][region]
    assert np.mean([rows["floor"][name] for name in STAINS]) < 0.6
    assert min(rows["ceiling"].values()) > 0.95
    assert all(rows["floor"][name] >= rows["wide linear"][name] for name in STAINS)


def test_the_fingerprint_ignores_line_endings_and_nothing_else(tmp_path, monkeypatch):
    source = Path(simulate.__file__).parent
    for path in source.glob("*.py"):
        text = path.read_text(encoding="utf-8").replace("\n", "\r\n")
        (tmp_path / path.name).write_text(text, encoding="utf-8", newline="")
    before = fingerprint()
    monkeypatch.setattr("napari_virtualstain.simulate.freeze.__file__", str(tmp_path / "x.py"))
    assert fingerprint() == before
    with (tmp_path / "optics.py").open("a", encoding="utf-8") as file:
        file.write("# a word more\n")
    assert fingerprint() != before


def test_a_field_of_the_list_is_always_the_same():
    assert training_settings(17) == training_settings(17)
    assert training_settings(17) != training_settings(18)
    assert held_out_settings(3)[1] == 100_003


@pytest.mark.parametrize(
    ("draw", "conditions"), [(training_settings, TRAINING_RANGES), (held_out_settings, HELD_OUT)]
)
def test_fields_are_drawn_from_the_documented_ranges(draw, conditions):
    seen = set()
    for index in range(60):
        settings, seed = draw(index)
        assert conditions.seeds[0] <= seed <= conditions.seeds[1]
        density = settings.density_per_mm2
        assert any(low <= density <= high for low, high in conditions.densities_per_mm2)
        for name in ("illumination", "focus_error_um", "condenser_na", "debris", "noise"):
            low, high = getattr(conditions, name)
            assert low <= getattr(settings, name) <= high, name
        assert np.hypot(*settings.tilt_na) <= conditions.tilt_na[1]
        seen.add(settings.phenotype)
    assert seen == set(conditions.phenotypes)


def test_held_out_fields_share_no_seed_density_or_phenotype_with_training():
    assert HELD_OUT.seeds[0] > TRAINING_RANGES.seeds[1]
    assert not set(HELD_OUT.phenotypes) & set(TRAINING_RANGES.phenotypes)
    whole = {name for name in PHENOTYPES if "@" not in name}  # others are of simulated plates
    assert set(HELD_OUT.phenotypes) | set(TRAINING_RANGES.phenotypes) == whole
    ((low, high),) = TRAINING_RANGES.densities_per_mm2
    below, above = HELD_OUT.densities_per_mm2
    assert below[1] < low < high < above[0]


def test_the_demo_field_is_not_a_training_field():
    settings, seed = demo_settings()
    assert settings.shape_px == (512, 512)
    assert seed > HELD_OUT.seeds[1] > TRAINING_RANGES.seeds[1]


@pytest.mark.parametrize("index", [-1, 10_000])
def test_a_field_beyond_the_list_is_refused(index):
    message = rf"^There is no field {index} in this list; it holds fields 0 to 9999\. Use an index"
    with pytest.raises(SettingsError, match=message):
        training_settings(index)
