"""Make a model of weights or a graph that others published, or take over a model folder.

What a file is says which kind of model it makes: one that stains, or an encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.encoders.package import check_encoder_output, is_encoder
from napari_virtualstain.errors import ModelPackageError, SettingsError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.package import (
    check_model_output,
    load_package,
    save_package,
)
from napari_virtualstain.generators.registry import get_spec
from napari_virtualstain.io.fingerprint import sha256_of
from napari_virtualstain.io.model_files import PAINTS, SEES
from napari_virtualstain.jobs.encoder_import import (
    ONLY_SEEING,
    ImportedEncoder,
    import_encoder,
    take_over_encoder,
)
from napari_virtualstain.zoo import find_model, list_models, load_generator, models_folder
from napari_virtualstain.zoo.trust import is_trusted, trust

if TYPE_CHECKING:
    from napari_virtualstain.encoders.importers.base import FoundEncoder
    from napari_virtualstain.generators.importers.base import Found
    from napari_virtualstain.generators.importers.guide import FoundGuide
    from napari_virtualstain.jobs.models import ModelsSettings

__all__ = ["ImportedModel", "check_out", "import_model", "place_of"]

_OWN = "a model folder of napari-virtualstain"
_OF_A_CARD = ("stains", "channel", "pixel_size", "z_step", "z_offsets", "normalise")
"""Settings that a model which is one already has answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedModel:
    """What was made.

    Parameters
    ----------
    out
        The model folder.
    name
        What `--model` takes: the name of the model, or the path of its folder.
    format
        What the file was recognised as.
    card
        Of the model.
    """

    out: Path
    name: str
    format: str
    card: ModelCard

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        imported = self.card.imported
        return {
            "out": str(self.out),
            "name": self.name,
            "format": self.format,
            "generator": self.card.generator,
            "takes": self.card.takes_words,
            "stains": list(self.card.stain_names),
            "pixel_size_um": self.card.model_dump(mode="json")["pixel_size_um"],
            "input_rule": self.card.input_rule.kind,
            "licence": self.card.licence,
            "limits": list(self.card.limits),
            "sha256": None if imported is None else imported.sha256,
        }

    def text(self) -> str:
        """Return the same for people."""
        card = self.card
        lines = [
            f"{self.format}, imported as {self.out}",
            f"  takes {card.takes_words}, {card.pixel_size_words} pixels",
            f"  normalises them by {card.input_rule.kind}",
            f"  predicts {', '.join(card.stain_names)}",
            f"  licence: {card.licence or 'not stated; ask who published it'}",
        ]
        lines += [f"  note: {limit}" for limit in card.limits]
        lines.append(f"Use it with --model {self.name}")
        return "\n".join(lines)


def import_model(settings: ModelsSettings) -> ImportedModel | ImportedEncoder:
    """Make a model of a file of weights.

    Raises
    ------
    VirtualStainError
        If the file cannot be imported, or something has to be stated; the sentence says what.
    """
    if settings.file is None or settings.out is None:
        raise SettingsError(
            "To import, name the file and the model to make of it, for example "
            "virtualstain models import weights.pth --out my-model."
        )
    out, name = place_of(settings.out)
    check_out(out, overwrite=settings.overwrite)
    path = Path(settings.file).expanduser()
    # Imported here, since they load torch: whoever lists models needs none.
    from napari_virtualstain.encoders.importers.base import FoundEncoder
    from napari_virtualstain.generators.importers.bioimageio import description_in
    from napari_virtualstain.generators.importers.convert import Stated, convert, planes_for_test
    from napari_virtualstain.generators.importers.guide import FoundGuide
    from napari_virtualstain.inference.graphs import with_reach

    described = description_in(path)
    own = _own_package(path) if described is None else None
    if own is not None:
        if is_encoder(own):
            return take_over_encoder(settings, own, out=out, name=name)
        return _take_over(settings, own, out, name)
    read = _read(settings, path, described)
    if isinstance(read, FoundGuide):
        return _import_guide(settings, read, path, out, name)
    if settings.guides is not None or settings.trained_on is not None:
        raise SettingsError(
            f"'{path}' is no classifier that guides a diffusion model. Leave out --guides and "
            "--trained-on."
        )
    if isinstance(read, FoundEncoder):
        return import_encoder(settings, read, path, out=out, name=name)
    if read.widen is None or settings.classes:
        _refuse_of_encoders(settings, f"'{path}' looks like {read.format}, which stains.")
    found = with_reach(read)
    stated = Stated(
        stains=settings.stains or None, channel=settings.channel,
        pixel_size_um=settings.pixel_size, z_step_um=settings.z_step,
        z_offsets_um=settings.z_offsets or None, normalise=settings.normalise,
        licence=settings.licence, citation=settings.citation, adapt=settings.adapt,
    )  # fmt: skip
    file = path / described if described is not None and path.is_dir() else path
    card, generator = convert(found, stated, name=out.name, file=path.name, sha256=sha256_of(file))
    planes = planes_for_test(found, card, generator)
    card = save_package(out, card, generator, planes, overwrite=settings.overwrite)
    _note_trust(card)
    return ImportedModel(out=out, name=name, format=found.format, card=card)


def _read(
    settings: ModelsSettings, path: Path, described: str | None
) -> Found | FoundEncoder | FoundGuide:
    """Read what a path is: a package of bioimage.io, a graph, or weights by name."""
    from napari_virtualstain.encoders.importers import recognise_encoder
    from napari_virtualstain.generators.importers import recognise
    from napari_virtualstain.generators.importers.bioimageio import read_package
    from napari_virtualstain.generators.importers.graphs import is_torchscript, read_graph
    from napari_virtualstain.generators.importers.guide import recognise_guide
    from napari_virtualstain.nets.published import read_checkpoint

    trusted = partial(_trusted, settings)
    if described is not None:
        return read_package(path, trusted=trusted)
    program = path.is_file() and is_torchscript(path)
    if program and not trusted(sha256_of(path)):
        raise ModelPackageError(
            f"'{path}' is a TorchScript module, a program that may read and write files. If you "
            "trust who made it, add --trust; or ask for it as ONNX."
        )
    if program or path.suffix.lower() == ".onnx":
        return read_graph(path)
    content = read_checkpoint(path)
    return recognise_encoder(content) or recognise_guide(content) or recognise(content)


def _import_guide(
    settings: ModelsSettings, found: FoundGuide, path: Path, out: Path, name: str
) -> ImportedModel:
    """Make a model of a classifier and of the model that it is to lead."""
    from napari_virtualstain.generators.importers.convert import test_planes_of
    from napari_virtualstain.generators.importers.guide import lead

    if settings.guides is None:
        raise SettingsError(
            f"'{path}' looks like {found.format}, and paints nothing. Name the model of guided_i2i "
            "that it is to lead with --guides."
        )
    _refuse_of_encoders(settings, f"'{path}' looks like {found.format}.")
    stated = next((option for option in _OF_A_CARD if getattr(settings, option)), None)
    if stated is not None:
        raise SettingsError(
            f"The card of {settings.guides!r} says what the model takes and gives. Leave out "
            f"--{stated.replace('_', '-')}."
        )
    sha256 = sha256_of(path)
    card, generator = lead(
        load_generator(settings.guides), found, trained_on=settings.trained_on, file=path.name,
        sha256=sha256,
    )  # fmt: skip
    card = card.model_copy(update={"name": out.name})
    planes = test_planes_of(generator)
    card = save_package(out, card, generator, planes, overwrite=settings.overwrite)
    return ImportedModel(out=out, name=name, format=found.format, card=card)


def _refuse_of_encoders(settings: ModelsSettings, why: str) -> None:
    stated = next((name for name in ONLY_SEEING if getattr(settings, name)), None)
    if stated is not None:
        raise SettingsError(f"{why} Leave out --{stated}, which is of encoders.")


def _trusted(settings: ModelsSettings, sha256: str) -> bool:
    return settings.trust or is_trusted(sha256)


def _note_trust(card: ModelCard) -> None:
    """Note that a program may run from now on, once it is a model here."""
    if card.generator == "torchscript":
        trust(card.files[get_spec(card.generator).weights])


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder in which no model of either kind may be made.

    Raises
    ------
    OutputExistsError
        If something is there that is no model, or is one and may not be replaced.
    """
    check = check_encoder_output if (out / SEES).is_file() else check_model_output
    check(out, overwrite=overwrite)


def place_of(out: str) -> tuple[Path, str]:
    """Return the folder of a model that has a name or a path, and what `--model` takes for it."""
    path = Path(out).expanduser()
    if path.name != out:
        return path, str(path)
    folder = models_folder() / out
    if out in list_models() and find_model(out) != folder:
        raise SettingsError(
            f"A model that comes with the program is named {out!r}. Choose another --out."
        )
    return folder, out


def _own_package(path: Path) -> Path | None:
    """Return the model folder or zip that a path is, or is the weights of."""
    if path.is_dir() or path.suffix.lower() == ".zip":
        return path
    beside = any((path.parent / card).is_file() for card in (PAINTS, SEES))
    return path.parent if beside and path.suffix.lower() == ".safetensors" else None


def _take_over(settings: ModelsSettings, own: Path, out: Path, name: str) -> ImportedModel:
    from napari_virtualstain.generators.importers.convert import test_planes_of

    stated = [option for option in _OF_A_CARD if getattr(settings, option)]
    if stated:
        raise SettingsError(
            f"'{own}' is a model already, whose card says what it takes and gives. Leave out "
            f"--{stated[0].replace('_', '-')}."
        )
    _refuse_of_encoders(settings, f"'{own}' is a model that stains.")
    model = load_package(own, trusted=partial(_trusted, settings))
    changes: dict[str, Any] = {"name": out.name}
    changes |= {
        entry: value
        for entry in ("licence", "citation")
        if (value := getattr(settings, entry)) is not None
    }
    card = save_package(
        out, model.card.model_copy(update=changes), model.generator,
        test_planes_of(model.generator), overwrite=settings.overwrite,
    )  # fmt: skip
    _note_trust(card)
    return ImportedModel(out=out, name=name, format=_OWN, card=card)
