"""Make an encoder of weights that others published, or take over the folder of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.encoders.card import EncoderCard
from napari_virtualstain.encoders.package import (
    check_encoder_output,
    load_encoder_package,
    save_encoder,
)
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.fingerprint import sha256_of

if TYPE_CHECKING:
    from napari_virtualstain.encoders.importers.base import FoundEncoder
    from napari_virtualstain.jobs.models import ModelsSettings

__all__ = ["ONLY_SEEING", "ImportedEncoder", "import_encoder", "take_over_encoder"]

ONLY_SEEING = ("classes", "adapt")
"""Settings that are of encoders alone."""
_ONLY_PAINTING = ("channel", "z_offsets", "z_step")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedEncoder:
    """What was made.

    Parameters
    ----------
    out
        The folder of the encoder.
    name
        By which it is asked for: its name, or the path of its folder.
    format
        What the file was recognised as.
    card
        Of the encoder.
    """

    out: Path
    name: str
    format: str
    card: EncoderCard

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        card, imported = self.card, self.card.imported
        return {
            "out": str(self.out),
            "name": self.name,
            "format": self.format,
            "encoder": card.encoder,
            "takes": card.takes_words,
            "classes": list(card.classes),
            "pixel_size_um": card.pixel_size_um,
            "input_rule": card.input_rule.kind,
            "licence": card.licence,
            "limits": list(card.limits),
            "sha256": None if imported is None else imported.sha256,
        }

    def text(self) -> str:
        """Return the same for people."""
        card = self.card
        lines = [
            f"{self.format}, imported as the encoder {self.out}",
            f"  takes {card.takes_words}, crops of {' x '.join(map(str, card.crop_px))} px",
        ]
        if card.classes:
            lines.append(f"  tells apart {', '.join(card.classes)}")
        lines.append(f"  licence: {card.licence or 'not stated; ask who published it'}")
        lines += [f"  note: {limit}" for limit in card.limits]
        lines.append(f"It sees, and paints nothing. Its name is {self.name}")
        return "\n".join(lines)


def import_encoder(
    settings: ModelsSettings, found: FoundEncoder, file: Path, *, out: Path, name: str
) -> ImportedEncoder:
    """Make an encoder of weights that were recognised.

    Raises
    ------
    VirtualStainError
        If something has to be stated, does not fit, or cannot be written.
    """
    from napari_virtualstain.encoders.importers.convert import (
        StatedOfEncoder,
        convert_encoder,
        pictures_for_test,
    )

    _refuse(settings, _ONLY_PAINTING, f"'{file}' looks like {found.format}, which paints nothing.")
    check_encoder_output(out, overwrite=settings.overwrite)
    stated = StatedOfEncoder(
        channels=settings.stains, classes=settings.classes, adapt=settings.adapt,
        pixel_size_um=settings.pixel_size, normalise=settings.normalise,
        licence=settings.licence, citation=settings.citation,
    )  # fmt: skip
    card, encoder = convert_encoder(
        found, stated, name=out.name, file=file.name, sha256=sha256_of(file)
    )
    card = save_encoder(out, card, encoder, pictures_for_test(encoder))
    return ImportedEncoder(out=out, name=name, format=found.format, card=card)


def take_over_encoder(
    settings: ModelsSettings, own: Path, *, out: Path, name: str
) -> ImportedEncoder:
    """Copy the folder or zip of an encoder under another name.

    Raises
    ------
    VirtualStainError
        If it is damaged, or settings contradict its card.
    """
    from napari_virtualstain.encoders.importers.convert import pictures_for_test

    said = (*_ONLY_PAINTING, *ONLY_SEEING, "stains", "pixel_size", "normalise")
    _refuse(settings, said, f"'{own}' is an encoder already, whose card says what it takes.")
    check_encoder_output(out, overwrite=settings.overwrite)
    model = load_encoder_package(own)
    changes: dict[str, Any] = {"name": out.name}
    changes |= {
        entry: value
        for entry in ("licence", "citation")
        if (value := getattr(settings, entry)) is not None
    }
    card = save_encoder(
        out, model.card.model_copy(update=changes), model.encoder, pictures_for_test(model.encoder)
    )
    said_of_it = "an encoder of napari-virtualstain"
    return ImportedEncoder(out=out, name=name, format=said_of_it, card=card)


def _refuse(settings: ModelsSettings, names: tuple[str, ...], why: str) -> None:
    stated = next((name for name in names if getattr(settings, name)), None)
    if stated is not None:
        raise SettingsError(f"{why} Leave out --{stated.replace('_', '-')}.")
