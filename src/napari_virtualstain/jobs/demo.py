"""From nothing to a virtual stain: simulate sample fields, stain them, compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_virtualstain.io.sink import check_output
from napari_virtualstain.jobs import evaluate, stain
from napari_virtualstain.jobs.base import JobSettings, ModelText, PathText, Progress
from napari_virtualstain.jobs.evaluation import Evaluation
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.simulate import demo_settings, held_out_settings, simulate_field

__all__ = ["DemoField", "DemoSettings", "run"]


class DemoSettings(JobSettings):
    """Settings of `virtualstain demo`."""

    out: PathText = Field(default="demo-output", description="folder to write into")
    model: ModelText = Field(
        default="demo", description="name of a model, or a model folder or zip"
    )
    window: bool = Field(default=True, description="open napari on the result")
    screenshot: PathText | None = Field(
        default=None, description="write a picture of the window there and close it"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoField:
    """One sample field, stained.

    Parameters
    ----------
    name
        What it shows.
    brightfield, truth, prediction
        OME-Zarr stores.
    evaluation
        Of the prediction against the truth.
    """

    name: str
    brightfield: Path
    truth: Path
    prediction: Path
    evaluation: Evaluation

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "name": self.name,
            "brightfield": str(self.brightfield),
            "truth": str(self.truth),
            "prediction": str(self.prediction),
            **self.evaluation.to_json(),
        }


def run(
    settings: DemoSettings,
    *,
    on_progress: Progress | None = None,
    on_field: Callable[[DemoField], None] | None = None,
) -> list[DemoField]:
    """Simulate, stain and compare two sample fields, neither seen in training.

    Parameters
    ----------
    settings
        ``window`` and ``screenshot`` are for the caller.
    on_progress
        Told of tiles done.
    on_field
        Told of each field as soon as it is compared.

    Raises
    ------
    OutputExistsError
        If something that is not a demo's output is in the way.
    """
    folder = Path(settings.out)
    samples = {
        "control": demo_settings(),
        "treated": held_out_settings(1),
    }
    done = []
    for name, (field_settings, seed) in samples.items():
        place = folder / name
        prediction = place / "stain.ome.zarr"
        for store in ("brightfield", "stains", "labels", "stain"):
            check_output(place / f"{store}.ome.zarr", inputs=[], overwrite=True)
        write_field(simulate_field(field_settings, seed=seed), place, overwrite=True)
        stain.run(
            stain.StainSettings(
                input=str(place / "brightfield.ome.zarr"),
                model=settings.model,
                out=str(prediction),
                tile=256,
                overwrite=True,
            ),
            on_progress=on_progress,
        )
        compared = evaluate.run(
            evaluate.EvaluateSettings(
                prediction=str(prediction), target=str(place / "stains.ome.zarr")
            )
        )
        field = DemoField(
            name=f"{name} ({field_settings.phenotype})",
            brightfield=place / "brightfield.ome.zarr",
            truth=place / "stains.ome.zarr",
            prediction=prediction,
            evaluation=compared,
        )
        (place / "metrics.json").write_text(
            json.dumps(field.to_json(), indent=2) + "\n", encoding="utf-8"
        )
        done.append(field)
        if on_field is not None:
            on_field(field)
    return done
