"""How many fields does a model need to learn another microscope? And what does that take?

    python benchmarks/finetuning.py                                  everything on simulated fields (hours)
    python benchmarks/finetuning.py --fields 1,5 --presets quick --many 0 --seeds 1 --test 4 --size 256   a look
    python benchmarks/finetuning.py --parts isl --data FOLDER        quadrants of one real field

Three parts (``--parts shift,isl,time``). *shift*: the demo model on a simulated microscope of other focus, pixels, light, noise
and gain, tuned on the first N of its fields; judged on fields that no tuning sees, by a bootstrap over blocks of 128 px that draws
both predictions of a block together. *isl*: a model of one quadrant, tuned on a second, judged on the two others, all rotations, 64 px apart.
*time*: the same through the compute process, as the viewer does it.

What was found is kept beside the report (``finetuning.json``) after every run, so that a part can be made again alone.
Writes ``docs/benchmarks/finetuning.md``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _report import REPORTS, data_root, machine, table, write

from napari_virtualstain import open_image, simulate
from napari_virtualstain.axes import PixelSize
from napari_virtualstain.compute.session import Session
from napari_virtualstain.datasets.pairs import PairedField, pair_up
from napari_virtualstain.embedding.intervals import Interval, of_difference
from napari_virtualstain.intensity import Rule
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import finetune
from napari_virtualstain.jobs.finetune import FinetuneSettings
from napari_virtualstain.jobs.known_sets import open_known
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.jobs.train import TrainSettings, train_on_fields
from napari_virtualstain.jobs.training_fields import FieldData
from napari_virtualstain.jobs.training_run import training_folder
from napari_virtualstain.jobs.tuning_run import looks_in
from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.words import duration, plural
from napari_virtualstain.zoo import load_generator

KEPT = REPORTS / "finetuning.json"
BLOCK = 128
SHIFT = {
    "focus_error_um": 2.0, "pixel_size_um": 0.75, "illumination": 0.35, "condenser_na": 0.15, "noise": 2.5,
}  # fmt: skip
GAIN, OFFSET = 2.5, 300.0
"""Of the other camera that takes the stains."""


# --- fields and scores ----------------------------------------------------------------------------


def shifted(place: Path, first: int, count: int, size: int) -> list[Path]:
    """Write fields of the other microscope; those that are there stay."""
    found = []
    for n in range(first, first + count):
        folder = place / f"{n:04d}-{size}"
        if not (folder / "labels.ome.zarr").exists():
            settings, seed = simulate.held_out_settings(n)
            # The phenotypes of training, so that it is the microscope alone that differs.
            phenotype = simulate.training_settings(n)[0].phenotype
            made = simulate.simulate_field(
                replace(settings, shape_px=(size, size), phenotype=phenotype, **SHIFT), seed=seed
            )
            write_field(replace(made, stains=GAIN * made.stains + OFFSET), folder, overwrite=True)
        found.append(folder)
    return found


def in_memory(folders: Sequence[Path]) -> list[PairedField]:
    return [
        PairedField(
            folder.name,
            open_image(folder / "brightfield.ome.zarr").data[0, 0].compute(),
            open_image(folder / "stains.ome.zarr").data[0, :, 0].compute(),
        )
        for folder in folders
    ]


@dataclass(frozen=True)
class Scores:
    """By block, then stain."""

    pcc: np.ndarray
    mae: np.ndarray
    groups: list[str]


def scores(model: str | Path, fields: Sequence[PairedField], line: Any = None) -> Scores:
    """Return how a model stains fields, block by block; `line` recalibrates its grey values."""
    loaded = load_generator(model)
    card, generator = loaded.card, loaded.generator
    outputs = [stain.normalisation for stain in card.stains]
    pairs = pair_up(
        fields, input_rule=card.input_rule, output_rule=Rule(kind="zscore", clip_sd=None),
        stain_names=card.stain_names, outputs=outputs,
        typical_contrast=[plane.typical_contrast for plane in card.inputs],
    )  # fmt: skip
    pcc, mae, groups = [], [], []
    for n, field in enumerate(fields):
        stride = generator.multiple_of
        part = tuple(slice(0, size // stride * stride) for size in field.shape)
        planes, _ = pairs.read(n, part)
        grey = [
            o.invert(s) for o, s in zip(outputs, generator.predict(planes[None])[0], strict=True)
        ]
        truth = np.asarray(field.stains[(slice(None), *part)], np.float32)
        if line is not None:
            grey = [gain * g + offset for g, (gain, offset) in zip(grey, line, strict=True)]
        edge = min(BLOCK, *(p.stop for p in part))
        for y in range(0, part[0].stop - edge + 1, edge):
            for x in range(0, part[1].stop - edge + 1, edge):
                box = (slice(y, y + edge), slice(x, x + edge))
                pcc.append([pearson(g[box], t[box]) for g, t in zip(grey, truth, strict=True)])
                mae.append(
                    [
                        float(np.abs(g[box] - t[box]).mean())
                        for g, t in zip(grey, truth, strict=True)
                    ]
                )
                groups.append(f"{field.name} {y} {x}")
    return Scores(np.array(pcc), np.array(mae), groups)


def gain_and_offset(model: str | Path, fields: Sequence[PairedField]) -> list[tuple[float, float]]:
    """Return the line that brings each stain of a model nearest to the truth of some fields."""
    loaded = load_generator(model)
    outputs = [stain.normalisation for stain in loaded.card.stains]
    pairs = pair_up(
        fields, input_rule=loaded.card.input_rule, output_rule=Rule(kind="zscore", clip_sd=None),
        stain_names=loaded.card.stain_names, outputs=outputs,
        typical_contrast=[plane.typical_contrast for plane in loaded.card.inputs],
    )  # fmt: skip
    seen: list[list[np.ndarray]] = [[] for _ in outputs]
    true: list[list[np.ndarray]] = [[] for _ in outputs]
    for n, field in enumerate(fields):
        stride = loaded.generator.multiple_of
        part = tuple(slice(0, size // stride * stride) for size in field.shape)
        planes, _ = pairs.read(n, part)
        for c, one in enumerate(loaded.generator.predict(planes[None])[0]):
            seen[c].append(outputs[c].invert(one).ravel())
            true[c].append(np.asarray(field.stains[c][part], np.float64).ravel())
    found = []
    for one, other in zip(seen, true, strict=True):
        gain, offset = np.polyfit(np.concatenate(one), np.concatenate(other), 1)
        found.append((float(gain), float(offset)))
    return found


def difference(one: Scores, other: Scores) -> Interval:
    """Return by how much the mean correlation over stains differs, blocks drawn together."""
    return of_difference(one.pcc.mean(axis=1), other.pcc.mean(axis=1), one.groups)


# --- what is kept ---------------------------------------------------------------------------------


def kept() -> dict[str, Any]:
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def keep(part: str, values: Any) -> None:
    found = kept()
    found[part] = values
    KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


# --- another microscope ---------------------------------------------------------------------------


def tuned_on(
    folders: Sequence[Path], out: Path, preset: str, seed: int, options: Any
) -> tuple[str, float]:
    steps = {"steps": options.steps} if options.steps else {}
    began = time.monotonic()
    finetune.run(
        FinetuneSettings(
            model=options.model, out=str(out), preset=preset, seed=seed, overwrite=True,
            input=tuple(str(f / "brightfield.ome.zarr") for f in folders),
            target=tuple(str(f / "stains.ome.zarr") for f in folders), **steps,
        )
    )  # fmt: skip
    return str(out), time.monotonic() - began


def part_shift(options: Any, scratch: Path) -> None:
    counts = [int(n) for n in options.fields.split(",")]
    presets = options.presets.split(",")
    teach = shifted(scratch / "fields", 0, max(*counts, options.many), options.size)
    test = in_memory(shifted(scratch / "fields", 5000, options.test, options.size))
    base = scores(options.model, test)
    many = None
    if options.many:
        out = scratch / "many"
        fields = in_memory(teach[: options.many])
        card = load_generator(options.model).card
        train_on_fields(
            FieldData(
                fields=fields, stains=card.stain_names,
                card={
                    "name": "many", "pixel_size_um": SHIFT["pixel_size_um"], "input_channel": "Brightfield",
                    "z_offsets_um": (-4.0, 0.0, 4.0), "data": "simulated",
                },
            ),
            TrainSettings(
                out=str(out), generator=card.generator, steps=options.many_steps, validation=0.05, loss="l2",
                learning_rate=2e-3, validate_every=500, overwrite=True,
            ),
        )  # fmt: skip
        many = scores(out, test)
    rows = []
    for count in counts:
        line = gain_and_offset(options.model, in_memory(teach[:count]))
        recalibrated = scores(options.model, test, line)
        rows.append(row(count, "gain and offset alone", [recalibrated], base, many, 0.0))
        for preset in presets:
            made, seconds = [], []
            for seed in range(options.seeds):
                # Other fields for each seed, where there are enough of them.
                first = seed * count if (seed + 1) * count <= len(teach) else 0
                out, took = tuned_on(
                    teach[first : first + count],
                    scratch / f"{preset}-{count}-{seed}",
                    preset,
                    seed,
                    options,
                )
                made.append(scores(out, test))
                seconds.append(took)
            rows.append(row(count, preset, made, base, many, float(np.mean(seconds))))
            keep("shift", {"rows": rows, **about(options), "base": mean(base), "aim": mean(many)})
            print(rows[-1])
    keep("shift", {"rows": rows, **about(options), "base": mean(base), "aim": mean(many)})


def mean(found: Scores | None) -> list[float] | None:
    return None if found is None else [float(found.pcc.mean()), float(found.mae.mean())]


def about(options: Any) -> dict[str, Any]:
    names = ("many", "many_steps", "seeds", "test", "size", "model", "steps")
    share = FinetuneSettings.model_fields["foreground"].default
    return {
        "machine": machine(),
        "foreground": share,
        **{name: getattr(options, name) for name in names},
    }


def row(
    count: int, how: str, made: Sequence[Scores], base: Scores, many: Scores | None, seconds: float
) -> dict[str, Any]:
    """Return the means over seeds, and intervals of their differences block by block."""
    together = Scores(
        np.mean([one.pcc for one in made], axis=0),
        np.mean([one.mae for one in made], axis=0),
        base.groups,
    )
    gain = difference(together, base)
    short = None if many is None else difference(many, together)
    return {
        "fields": count, "how": how, "pcc": float(together.pcc.mean()), "mae": float(together.mae.mean()),
        "seeds": [float(one.pcc.mean()) for one in made], "gain": [gain.value, gain.low, gain.high],
        "short": None if short is None else [short.value, short.low, short.high], "seconds": seconds,
    }  # fmt: skip


# --- quadrants of one real field ------------------------------------------------------------------


def written(field: PairedField, folder: Path, stains: Sequence[str], pixel_um: float) -> Path:
    for name, pixels, channels in (
        ("brightfield", np.asarray(field.planes)[None], [Channel("Phase contrast", "transmitted")]),
        ("stains", np.asarray(field.stains)[:, None], [Channel(s, "fluorescence") for s in stains]),
    ):
        with OmeZarrSink.create(
            folder / f"{name}.ome.zarr", shape=(1, *pixels.shape), channels=channels, n_tiles=1,
            dtype=str(pixels.dtype), pixel_size_um=PixelSize(y=pixel_um, x=pixel_um), overwrite=True,
        ) as sink:  # fmt: skip
            sink.write(tuple(slice(0, n) for n in (1, *pixels.shape)), pixels[None])
            sink.commit(0)
            sink.finish({})
    return folder


def part_isl(options: Any, scratch: Path) -> None:
    data = open_known(str(data_root(options.data) / "isl_neurons"))
    quadrants = list(data.fields)
    rows = []
    for first in range(min(options.rotations, len(quadrants))):
        second = (first + 1) % len(quadrants)
        test = [quadrants[n] for n in range(len(quadrants)) if n not in (first, second)]
        model = scratch / f"isl-{first}"
        train_on_fields(
            replace(data, fields=[quadrants[first]]),
            TrainSettings(
                out=str(model), steps=options.isl_steps, validation=0, learning_rate=2e-3,
                validate_every=options.isl_steps, overwrite=True,
            ),
        )  # fmt: skip
        base = scores(model, test)
        place = written(
            quadrants[second],
            scratch / f"quadrant-{second}",
            data.stains,
            float(data.card["pixel_size_um"]),
        )
        for preset in options.presets.split(","):
            made = []
            for seed in range(options.seeds):
                out = scratch / f"isl-{first}-{preset}-{seed}"
                steps = {"steps": options.steps} if options.steps else {}
                finetune.run(
                    FinetuneSettings(
                        model=str(model), out=str(out), preset=preset, seed=seed, overwrite=True,
                        input=(str(place / "brightfield.ome.zarr"),),
                        target=(str(place / "stains.ome.zarr"),), pixel_size=1.0, **steps,
                    )
                )  # fmt: skip
                made.append(scores(out, test))
            rows.append({"base": first, "tuned": second, **row(1, preset, made, base, None, 0.0),
                         "before": float(base.pcc.mean())})  # fmt: skip
            print(rows[-1])
            keep("isl", {"rows": rows, **about(options), "isl_steps": options.isl_steps})


# --- as the viewer does it ------------------------------------------------------------------------


def part_time(options: Any, scratch: Path) -> None:
    folders = shifted(scratch / "fields", 0, 5, options.size)
    session = Session()
    session.open()
    while session.state.name != "ready":
        time.sleep(0.05)
    (server,) = psutil.Process().children()
    settings = FinetuneSettings(
        model=options.model, out=str(scratch / "timed"), preset="quick", watch=True,
        input=tuple(str(f / "brightfield.ome.zarr") for f in folders),
        target=tuple(str(f / "stains.ome.zarr") for f in folders),
        **({"steps": options.steps} if options.steps else {}),
    )  # fmt: skip
    before = resident(server)
    began = time.monotonic()
    run = session.submit("finetune", settings)
    folder = training_folder(settings.out)
    first = learnt = None
    largest = before
    while not run.ended:
        time.sleep(0.05)
        largest = max(largest, resident(server))
        steps = looks_in(folder) if (folder / "watch").exists() else ()
        if steps and first is None:
            first = time.monotonic() - began
        if steps and steps[-1] > 0 and learnt is None:
            learnt = time.monotonic() - began
    took = time.monotonic() - began
    outcome = run.wait(1)
    if outcome.result is None:
        raise SystemExit(f"error: {outcome.sentence}")
    time.sleep(2)
    values = {
        "first": first, "learnt": learnt, "took": took, "steps": outcome.result["steps"],
        "before": before, "largest": largest, "after": resident(server), **about(options),
    }  # fmt: skip
    session.close()
    keep("time", values)
    print(values)


def resident(process: psutil.Process) -> float:
    """Return the memory of a process and those that it started, in MB."""
    found = 0
    for one in (process, *process.children(recursive=True)):
        try:
            found += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return found / 1e6


# --- the report -----------------------------------------------------------------------------------


def interval(values: Sequence[float] | None) -> str:
    return "-" if values is None else f"{values[0]:+.3f} ({values[1]:+.3f} to {values[2]:+.3f})"


def tuned_for(one: dict[str, Any]) -> str:
    """Say how long a tuning was, and how much of what the script can do has been done."""
    steps = f"Each tuning took {one['steps']} steps, fewer than a preset does by itself" if one["steps"] else (
        "Each tuning took the steps of its preset"
    )  # fmt: skip
    return (
        f"{steps}; half of its patches lay where stains are bright."
        if one.get("foreground")
        else f"{steps}."
    )


def report() -> str:
    found = kept()
    text = [
        "# How many fields does a model need?",
        "",
        "Written by `python benchmarks/finetuning.py`. [What tuning is](../fine-tuning.md).",
    ]
    if "shift" in found:
        one = found["shift"]
        rows = [
            (r["fields"], r["how"], f"{r['pcc']:.3f}", interval(r["gain"]), *([interval(r["short"])] if one["aim"] else []),
             f"{r['mae']:.0f}")
            for r in one["rows"]
        ]  # fmt: skip
        aim = "" if not one["aim"] else (
            f" One that was trained for {one['many_steps']} steps on {one['many']} fields of the other microscope "
            f"reaches {one['aim'][0]:.3f}."
        )  # fmt: skip
        many = ", *short of many*: what the model of many fields has more" if one["aim"] else ""
        said = (
            f"`{one['model']}` on simulated fields of {one['size']} px whose focus, pixel size, light, condenser, noise and camera differ "
            f"({', '.join(f'{k} {v}' for k, v in SHIFT.items())}; stains times {GAIN:g} plus {OFFSET:g}). As it is, its mean PCC over stains is "
            f"{one['base'][0]:.3f} on {one['test']} fields that nothing was tuned on (MAE {one['base'][1]:.0f}).{aim} "
            f"{tuned_for(one)} *Fields*: that were given, of which the tuning holds some back itself. *Gain* over the model as it was{many}; 95 % intervals over blocks of {BLOCK} px, both predictions of a block drawn together, means of {plural(one['seeds'], 'seed')}. "
            "A gain and an offset change no PCC; their MAE is to be compared."
        )
        head = (
            "fields",
            "what moves",
            "PCC",
            "gain",
            *(["short of many"] if one["aim"] else []),
            "MAE",
        )
        text += [
            "",
            "## Another microscope",
            "",
            said,
            "",
            table(head, rows),
            "",
            f"{one['machine']}.",
        ]
    if "isl" in found:
        one = found["isl"]
        rows = [
            (
                r["base"],
                r["tuned"],
                r["how"],
                f"{r['before']:.3f}",
                f"{r['pcc']:.3f}",
                interval(r["gain"]),
            )
            for r in one["rows"]
        ]
        said = (
            f"A model of one quadrant of a real field (`isl_neurons`, {one['isl_steps']} steps), tuned on a second, judged on the two others, "
            f"64 px apart; {plural(len({r['base'] for r in one['rows']}), 'rotation')} of four. {tuned_for(one)} Means of DAPI and MAP2 and of {plural(one['seeds'], 'seed')}."
        )
        head = ("trained on", "tuned on", "what moves", "PCC before", "after", "gain")
        text += [
            "",
            "## Neurons, quadrant by quadrant",
            "",
            said,
            "",
            table(head, rows),
            "",
            f"{one['machine']}.",
        ]
    if "time" in found:
        one = found["time"]
        rows = [
            (
                "first picture of the held-back crop, as the old model stains it",
                duration(one["first"]),
            ),
            ("first one with what was learnt", duration(one["learnt"])),
            (
                f"*quick* on 5 fields of {one['size']} px, {one['steps']} steps, judged and written",
                duration(one["took"]),
            ),
            ("memory of the compute process before", f"{one['before']:.0f} MB"),
            ("at most", f"{one['largest']:.0f} MB"),
            ("after", f"{one['after']:.0f} MB"),
        ]
        text += [
            "",
            "## From Start, in the compute process",
            "",
            table(("what", ""), rows),
            "",
            f"{one['machine']}.",
        ]
    left = [*missing(found)]
    if left:
        text += ["", "## What is not reached, or not measured", "", *(f"- {one}" for one in left)]
    return "\n".join(text)


def missing(found: dict[str, Any]) -> list[str]:
    """Say which of the questions of this script have no answer yet."""
    left = []
    shift, isl = found.get("shift"), found.get("isl")
    if shift is None:
        left.append("Another microscope: nothing.")
    else:
        if not shift["aim"]:
            left.append("How far a tuning is from a model of many fields of the other microscope.")
        if len(
            worse := [
                r["fields"]
                for r in shift["rows"]
                if r["how"] != "gain and offset alone" and r["gain"][1] <= 0
            ]
        ):
            said = ", ".join(plural(n, "field") for n in worse)
            left.append(f"A gain from {said}: it is inside the noise, or none.")
        if shift["seeds"] < 3 or shift["steps"]:
            left.append(
                f"Three seeds and the steps of the presets: {plural(shift['seeds'], 'seed')} here."
            )
    if isl is None:
        left.append("Real quadrants: nothing.")
    if isl is not None and any(r["gain"][1] <= 0 for r in isl["rows"]):
        left.append(
            "A gain on real quadrants: it is inside the noise, or none, in some of the rows above."
        )
    if isl is not None and len({r["base"] for r in isl["rows"]}) < 4:
        left.append("The other rotations of the quadrants, of which one may not be like another.")
    if "time" not in found:
        left.append("Times and memory: `--parts time` on a machine without other work.")
    return left


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--parts", default="shift,time", help="of shift, isl, time; none only writes the page"
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--fields", default="1,3,5,10", help="numbers of fields that tune")
    parser.add_argument("--presets", default="quick,adapter,full,scratch")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of a tuning; those of the preset if not given")
    parser.add_argument(
        "--many", type=int, default=200, help="fields of the model that is the aim; 0 for none"
    )
    parser.add_argument("--many-steps", type=int, default=6000)
    parser.add_argument("--isl-steps", type=int, default=1500)
    parser.add_argument("--rotations", type=int, default=4, help="of isl: quadrants that begin")
    parser.add_argument("--test", type=int, default=12, help="fields that judge")
    parser.add_argument("--size", type=int, default=512, help="edge of a simulated field in pixels")
    parser.add_argument("--data", help="folder of real images, for isl")
    parser.add_argument("--scratch", help="folder for fields and models, which then stay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(options.scratch or temporary)
        for part in filter(None, options.parts.split(",")):
            {"shift": part_shift, "isl": part_isl, "time": part_time}[part](options, scratch)
    write("finetuning.md", report())


if __name__ == "__main__":
    main()
