"""What a correlation is worth is said beside it: how far it goes from the floor to the best."""

from __future__ import annotations

import pytest

from napari_virtualstain.jobs.evaluation import meaning_of, way_gone

NAN = float("nan")
WAYS = {
    "halfway to a perfect stain": ((0.6, 0.2, None), 0.5, "0.200) to a perfect stain (1), the prediction goes 50% of the way"),
    "all the way to a replicate": ((0.9, 0.2, 0.9), 1.0, "a second measurement (0.900), the prediction goes 100%"),
    "at the floor": ((0.2, 0.2, None), 0.0, "no better than a filter of the bright field (0.200)"),
    "below the floor": ((0.1, 0.2, None), -0.125, "no better than a filter"),
    "no floor": ((0.6, None, None), None, ""),
    "a floor that is not known": ((0.6, NAN, None), None, ""),
    "nothing to compare": ((None, 0.2, None), None, ""),
    "a replicate below the floor": ((0.6, 0.5, 0.4), None, ""),
}  # fmt: skip


@pytest.mark.parametrize(("numbers", "way", "said"), WAYS.values(), ids=WAYS)
def test_the_way_from_the_floor_is_told(numbers, way, said):
    row = dict(zip(("pcc", "floor_pcc", "ceiling_pcc"), numbers, strict=True), stain="DNA")
    assert way_gone(row) == (None if way is None else pytest.approx(way))
    meaning = meaning_of(row)
    assert said in meaning
    assert bool(said) == meaning.startswith("DNA: ")
