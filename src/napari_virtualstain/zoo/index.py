"""Which models of others can be downloaded, and from where? What is known of them before.

The list that comes with the program is `downloads.json` beside this file. A file `index.json` in
the user's models folder may add to it, or take the place of entries: a mirror of an institute.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_virtualstain.errors import ImageFileError, first_fault, parse_json, unknown_name
from napari_virtualstain.zoo import models_folder

__all__ = ["Download", "find_download", "list_downloads"]

_SHIPPED = Path(__file__).parent / "downloads.json"
_OWN = "index.json"
_LATER = {
    "bioimageio": "it is fetched by hand from its page, and as a program imported with --trust",
}
"""Why those of a format are not fetched."""


class Download(BaseModel):
    """One model of the index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w.-]+$", description="by which it is asked for")
    title: str = Field(description="for people")
    url: str = Field(description="of one version of the file")
    size: Annotated[int, Field(ge=1)] | None = Field(default=None, description="in bytes; checked")
    about_mb: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="in MB, as somebody has written; only shown"
    )
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = Field(
        default=None, description="checked; None until somebody has vouched for it"
    )
    licence: str = ""
    citation: str = ""
    format: Literal["viscy", "package", "bioimageio", "vit"] = Field(
        description="how it is imported: a checkpoint of VisCy, a zip of a model folder, a "
        "vision transformer, or not yet"
    )
    stains: tuple[str, ...] = Field(description="in the order in which they come out")
    channel: str = Field(description="kind of light")
    over: Literal["planes", "stacks"]
    takes: str = Field(description="what goes in, for people")
    pixel_size_um: Annotated[float, Field(gt=0)] | None = None
    z_step_um: Annotated[float, Field(gt=0)] | None = None
    ask: tuple[Literal["pixel_size", "z_step", "stains"], ...] = Field(
        default=(), description="settings of `models` that whoever downloads has to state"
    )
    unverified: str = Field(default="", description="what nobody here has checked")

    @property
    def later(self) -> str:
        """Why it is not fetched, ``""`` if it is."""
        return _LATER.get(self.format, "")

    @property
    def size_words(self) -> str:
        """How large it is, for people; ``""`` if nobody knows."""
        megabytes = self.about_mb if self.size is None else self.size / 1e6
        return "" if megabytes is None else f"{megabytes:,.0f} MB"


def list_downloads() -> dict[str, Download]:
    """Return what can be downloaded, by name.

    Raises
    ------
    ImageFileError
        If the user's own list is damaged.
    """
    own = models_folder() / _OWN
    return {**_read(_SHIPPED), **(_parse(own) if own.is_file() else {})}


def find_download(name: str) -> Download:
    """Return an entry by its name, in capitals or small letters.

    Raises
    ------
    UnknownNameError
        If there is none; the message offers the nearest name.
    """
    known = list_downloads()
    for entry in known.values():
        if entry.name.casefold() == name.casefold():
            return entry
    then = "Choose one of these; a file of your own is for `virtualstain models import`."
    raise unknown_name("model to download", name, known, then=then)


@cache
def _read(file: Path) -> dict[str, Download]:
    return _parse(file)


def _parse(file: Path) -> dict[str, Download]:
    try:
        entries = parse_json(file.read_text(encoding="utf-8"))
        found = [Download.model_validate(entry) for entry in entries]
    except ValidationError as error:
        raise _damaged(file, ": ".join(first_fault(error, whole="an entry"))) from error
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(file, str(error)) from error
    return {entry.name: entry for entry in found}


def _damaged(file: Path, why: str) -> ImageFileError:
    return ImageFileError(
        f"The list of models to download '{file}' is not understood: {why}. Correct or delete it."
    )
