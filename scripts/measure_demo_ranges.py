"""Measure what the training fields of the bundled demo model were like, and note it on its card.

    python scripts/measure_demo_ranges.py

Does what `virtualstain train --recipe demo` does after its last step, for a model that was
trained before cards had ranges. Weights, test pair and everything else on the card stay.
"""

from __future__ import annotations

import json
import sys

from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.datasets.split import split_by_group
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.jobs.recipes import get_recipe
from napari_virtualstain.simulate import fingerprint, simulate_field, training_settings
from napari_virtualstain.training.describe import measure_ranges, spread_over
from napari_virtualstain.zoo import find_model


def training_fields() -> list[PairedField]:
    """Return those training fields of the recipe that are measured."""
    recipe = get_recipe("demo").settings
    names = [f"simulated {training_settings(i)[1]}" for i in range(recipe["fields"])]
    teach, _ = split_by_group(names, validation=recipe["validation"], seed=0)
    fields = []
    for i in spread_over(len(teach)):
        settings, seed = training_settings(teach[i])
        made = simulate_field(settings, seed=seed)
        fields.append(PairedField(f"simulated {seed}", made.brightfield[0], made.stains[0]))
    return fields


def main() -> None:
    path = find_model("demo") / "card.json"
    card = read_card(path.parent)
    if fingerprint()[:16] not in card.training.data:
        sys.exit("The demo model was trained with another simulator. Train it again instead.")
    ranges = measure_ranges(training_fields())
    inputs = tuple(
        plane.model_copy(update={"ranges": found})
        for plane, found in zip(card.inputs, ranges, strict=True)
    )
    card = card.model_copy(update={"inputs": inputs})
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
    print(f"{path}: ranges of {len(ranges)} planes")


if __name__ == "__main__":
    main()
