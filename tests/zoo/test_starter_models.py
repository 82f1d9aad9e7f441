"""The models of real cells that come with the program are whole, small, and say what they are not for."""

from __future__ import annotations

import pytest

from napari_virtualstain.zoo import _BUNDLED, load_generator

STARTERS = {
    "ecoli-membrane": ("MIT", ("Membrane",), 1),
    "isl-neurons": ("CC-BY-4.0", ("DAPI", "MAP2"), 13),
    "jurkat-dna": ("BSD-3-Clause", ("DNA",), 1),
}


@pytest.mark.parametrize("name", STARTERS)
def test_a_starter_model_repeats_its_test_pair_and_names_its_source(name):
    licence, stains, planes = STARTERS[name]
    card = load_generator(name).card  # hashes and test pair are checked
    assert (card.name, card.stain_names, len(card.inputs)) == (name, stains, planes)
    assert card.licence.startswith(licence)
    assert "doi:10." in card.citation
    assert card.limits
    assert all(stain.expected_pcc > 0.7 for stain in card.stains)


def test_starter_models_are_small():
    sizes = {
        path.name: sum(file.stat().st_size for file in path.iterdir())
        for path in _BUNDLED.iterdir()
        if path.name in STARTERS
    }
    assert set(sizes) == set(STARTERS)
    assert max(sizes.values()) <= 4e6
    assert sum(sizes.values()) <= 15e6
