"""Write a model so that other programs can run it: an ONNX graph, or a bioimage.io package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.errors import ModelPackageError, OutputExistsError, SettingsError
from napari_virtualstain.generators.package import read_card, read_test_pair
from napari_virtualstain.generators.registry import GENERATORS, get_spec
from napari_virtualstain.io.disk import check_output, disk_errors
from napari_virtualstain.zoo import find_model, load_generator

if TYPE_CHECKING:
    from napari_virtualstain.jobs.models import ModelsSettings

__all__ = ["ExportedModel", "export_model"]

KINDS = {".zip": "bioimage.io package", ".onnx": "ONNX graph"}
_TAKEN = {"action", "file", "out", "licence", "citation", "authors", "overwrite"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedModel:
    """What was written.

    Parameters
    ----------
    out
        The file.
    kind
        What it is.
    model
        Name of the model.
    difference
        Largest difference of the graph from the network, in standard deviations of its output.
    notes
        What another program has to know, one sentence each.
    """

    out: Path
    kind: str
    model: str
    difference: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "out": str(self.out),
            "kind": self.kind,
            "model": self.model,
            "difference": self.difference,
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """Return the same for people."""
        lines = [
            f"{self.model} as {self.kind}: {self.out}",
            f"  differs from the network by at most {self.difference:.1g} SD of its stains",
        ]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def export_model(settings: ModelsSettings) -> ExportedModel:
    """Write a model for other programs.

    The graph is compared with the network before anything is written: on the model's test pair,
    and on two pictures of another size.

    Raises
    ------
    VirtualStainError
        If it cannot be exported, or something has to be stated; the sentence says what.
    """
    if settings.file is None or settings.out is None:
        raise SettingsError(
            "To export, name the model and the file to write, for example "
            "virtualstain models export demo --out demo.zip."
        )
    stated = sorted(settings.model_fields_set - _TAKEN)
    if stated:
        raise SettingsError(
            "An export is of the model as its card describes it. Leave out "
            f"--{stated[0].replace('_', '-')}."
        )
    out = Path(settings.out).expanduser()
    kind = KINDS.get(out.suffix.lower())
    if kind is None:
        raise SettingsError(
            f"'{out}' does not say what to write. Let --out end in .zip for a bioimage.io package, "
            "or in .onnx for the graph alone."
        )
    source = find_model(settings.file)
    check_output(out, [source])
    if out.exists() and not settings.overwrite:
        raise OutputExistsError(f"'{out}' exists. Choose another --out, or add --overwrite.")
    _refuse(source)
    # Imported here, since they load torch: whoever lists models needs none.
    from napari_virtualstain.generators.exporters.bioimageio import (
        Packed,
        licence_of,
        pack,
        planes_for_package,
    )
    from napari_virtualstain.generators.exporters.onnx_file import check_graph, graph_of
    from napari_virtualstain.inference.scan import scan_reach

    model = load_generator(source)
    changes = {
        entry: value
        for entry in ("licence", "citation")
        if (value := getattr(settings, entry)) is not None
    }
    card, generator = model.card.model_copy(update=changes), model.generator
    if kind == KINDS[".zip"]:
        licence_of(card)  # what is missing is said before anything takes time
    reach = scan_reach(generator.module())
    halo, stride = max(reach.halo[-2:]), max(reach.multiple_of[-2:])
    graph = graph_of(card, generator, halo=halo, multiple_of=stride)
    planes, _ = read_test_pair(source)
    other = planes_for_package(planes, halo=halo, multiple_of=stride)
    pairs = [planes, other, other[..., : 2 * stride, : 3 * stride].repeat(2, axis=0)]
    difference = max(check_graph(graph, generator, one) for one in pairs)
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = out.with_name(f".{out.stem}.part{out.suffix}")
        try:
            if kind == KINDS[".onnx"]:
                scratch.write_bytes(graph)
            else:
                pack(
                    scratch,
                    Packed(
                        card=card, generator=generator, graph=graph, halo=halo, multiple_of=stride,
                        planes=other, authors=settings.authors,
                    ),
                )  # fmt: skip
            scratch.replace(out)
        finally:
            scratch.unlink(missing_ok=True)
    return ExportedModel(
        out=out, kind=kind, model=card.name, difference=difference,
        notes=_notes(kind, card.input_rule.kind, reach.kind),
    )  # fmt: skip


def _refuse(source: Path) -> None:
    """Refuse what no graph of one pass can be, before anything is computed."""
    card = read_card(source)
    if card.generator not in GENERATORS:
        raise ModelPackageError(
            f"The model {card.name!r} is itself a graph that was imported. Give away the file that "
            "it came from."
        )
    if get_spec(card.generator).stochastic:
        raise ModelPackageError(
            f"The model {card.name!r} draws its stains at random in many steps, which a graph of "
            "one pass cannot hold. Give away the model folder itself."
        )


def _notes(kind: str, rule: str, exactness: str) -> tuple[str, ...]:
    notes = []
    if kind == KINDS[".onnx"]:
        notes.append(
            "the graph takes normalised planes and gives normalised stains; how, stands in the "
            "card in its metadata"
        )
    elif rule == "robust":
        notes.append(
            "the format has no word for median and interquartile range: the package takes planes "
            "that are normalised already, and says so"
        )
    if exactness != "exact":
        notes.append(
            "the network sees statistics of all that it is given: other programs should give it "
            "whole fields, not tiles"
        )
    return tuple(notes)
