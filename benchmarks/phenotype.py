"""Does `phenotype` find what is planted in tables of features, and how long does it take?

    python benchmarks/phenotype.py [--plates 2] [--features 600] [--seed 0]

Tables drawn at random: wells share a biology, ten mechanisms of four compounds each move twelve features, half of the compounds
weakly, and each table has measurement noise of its own. Six predictions: a second measurement; one whose noise is three times as large;
one that swaps two compounds; one that swaps two mechanisms; one that has none of the effects; and the truth's features
in wells drawn at random. Writes ``docs/benchmarks/phenotype.md``.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _report import machine, peak_memory_mb, table, write

from napari_virtualstain.jobs import phenotype
from napari_virtualstain.jobs.phenotype import PhenotypeSettings

MECHANISMS, COMPOUNDS, MOVED, CONTROLS = 10, 4, 12, 32
See = Callable[[str], str]


def layout(plates: int) -> list[tuple[str, str, str, str]]:
    """Plate, well, compound and mechanism of every well: two wells of each compound on each plate."""
    rows = []
    for plate in range(plates):
        here = [("DMSO", "")] * CONTROLS + 2 * [
            (f"m{m}-{c}", f"m{m}") for m in range(MECHANISMS) for c in range(COMPOUNDS)
        ]
        rows += [
            (f"p{plate}", f"{'ABCDEFGHIJKLMNOP'[n // 24]}{n % 24 + 1:02d}", *one)
            for n, one in enumerate(here)
        ]
    return rows


def drawn(
    rows: list[tuple[str, str, str, str]], features: int, *, seed: int, noise: float, see: See
) -> np.ndarray:
    """(wells, features): biology and effects of all tables, noise of this one."""
    shared = np.random.default_rng(1)
    biology = shared.normal(size=(len(rows), features))
    effects = {
        f"m{m}": (shared.choice(features, MOVED, replace=False), shared.normal(size=MOVED))
        for m in range(MECHANISMS)
    }
    values = biology + noise * np.random.default_rng([seed, 7]).normal(size=biology.shape)
    for n, (_, _, compound, _) in enumerate(rows):
        mechanism, _, number = see(compound).partition("-")
        if mechanism in effects:
            columns, sizes = effects[mechanism]
            own = np.random.default_rng([int(mechanism[1:]), int(number)]).normal(size=MOVED)
            values[n, columns] += (5.0 if int(number) % 2 else 2.5) * (sizes + 0.3 * own)
    return values


def predictions(
    rows: list[tuple[str, str, str, str]], features: int, seed: int
) -> dict[str, np.ndarray]:
    def compounds(name: str) -> str:
        return {"m0-1": "m1-1", "m1-1": "m0-1"}.get(name, name)

    def mechanisms(name: str) -> str:
        mechanism, dash, number = name.partition("-")
        return {"m0": "m1", "m1": "m0"}.get(mechanism, mechanism) + dash + number

    how = {
        "a second measurement": (0.5, lambda name: name), "three times the noise": (1.5, lambda name: name),
        "two compounds swapped": (0.5, compounds), "two mechanisms swapped": (0.5, mechanisms),
        "no effect": (0.5, lambda _: "DMSO"),
    }  # fmt: skip
    found = {
        name: drawn(rows, features, seed=seed + 1, noise=noise, see=see)
        for name, (noise, see) in how.items()
    }
    truth = drawn(rows, features, seed=seed, noise=0.5, see=lambda name: name)
    found["wells in random order"] = truth[np.random.default_rng(seed).permutation(len(rows))]
    return found


def write_table(path: Path, rows: list[tuple[str, str, str, str]], values: np.ndarray) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                *(f"Metadata_{name}" for name in ("Plate", "Well", "treatment", "moa")),
                *(f"Cells_F_{n}" for n in range(values.shape[1])),
            ]
        )
        writer.writerows(
            [*row, *(f"{v:.5g}" for v in own)] for row, own in zip(rows, values, strict=True)
        )
    return str(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plates", type=int, default=2)
    parser.add_argument("--features", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows = layout(args.plates)
    answers, scores, seconds = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        truth = write_table(
            root / "truth.csv",
            rows,
            drawn(rows, args.features, seed=args.seed, noise=0.5, see=lambda name: name),
        )
        for name, values in predictions(rows, args.features, args.seed).items():
            began = time.perf_counter()
            result = phenotype.run(
                PhenotypeSettings(
                    prediction=write_table(root / "p.csv", rows, values), target=truth, out=str(root / "out"),
                    controls=("DMSO",), moa="moa", overwrite=True,
                )
            )  # fmt: skip
            seconds.append(time.perf_counter() - began)
            states = {one.question: one.state for one in result.found.findings}
            answers.append(
                [
                    name,
                    *(
                        states.get(q, "-")
                        for q in (
                            "hits",
                            "ranking",
                            "treatments",
                            "targets",
                            "replicates",
                            "mechanisms",
                        )
                    ),
                ]
            )
            f1 = result.found.classifiers["mechanisms"]
            four = [
                f1.score(*pair).f1.value
                for pair in (
                    ("truth", "truth"),
                    ("prediction", "prediction"),
                    ("truth", "prediction"),
                    ("prediction", "truth"),
                )
            ]
            most = next(
                r
                for r in result.found.scores
                if r["question"] == "replicates (mAP)" and r["source"] == "prediction"
            )
            scores.append(
                [
                    name,
                    *(f"{v:.2f}" for v in four),
                    f"{f1.scores[0].chance:.2f}",
                    f"{most['value']:.2f} ({most['chance']:.2f})",
                ]
            )
            print(name, result.sentence, f"{seconds[-1]:.1f} s", flush=True)
    parts = [
        "# Phenotypes in planted tables",
        (f"{len(rows)} wells on {args.plates} plates, {MECHANISMS} mechanisms of {COMPOUNDS} compounds, {CONTROLS} controls a plate, {args.features} features, and six predictions of which is known what is "
        "wrong with them. What is asked stands on the page of [phenotype](../phenotype.md)."),
        "## Answers",
        table(["prediction", "hits", "ranking", "treatments", "targets", "replicates", "mechanisms"], answers),
        "Without any effect treatments are still recognised: both sides see the same wells, and what is particular to each of them.",
        "## Mechanisms, taught by and asked of",
        "Macro F1. A swap of mechanisms shows where one side teaches and the other is asked: each by itself tells them apart as well as before.",
        table(["prediction", "truth, truth", "prediction, prediction", "truth, prediction", "prediction, truth", "by chance", "mAP of replicates (by chance)"], scores),
        "## Cost",
        f"{np.median(seconds):.0f} s each, peak memory {peak_memory_mb():.0f} MB. On {machine()}.",
    ]  # fmt: skip
    write("phenotype.md", "\n\n".join(parts))


if __name__ == "__main__":
    main()
