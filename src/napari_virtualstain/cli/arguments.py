"""Settings models as command-line arguments, and back.

The settings of a verb are described once, in its pydantic model: `add_arguments`
makes options of them, `settings_from` reads them, and `to_command` prints the
line that would give the same settings, which is what *Copy as command* shows.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.jobs.base import make_settings

__all__ = ["add_arguments", "settings_from", "to_command"]

S = TypeVar("S", bound=BaseModel)


def _is_flag(field: FieldInfo) -> bool:
    return field.annotation is bool


def _is_list(field: FieldInfo) -> bool:
    options = [field.annotation, *get_args(field.annotation)]
    return any(get_origin(option) is tuple for option in options)


def _choices(field: FieldInfo) -> list[str] | None:
    if get_origin(field.annotation) is Literal:
        return [str(choice) for choice in get_args(field.annotation)]
    return None


def _option(name: str, field: FieldInfo) -> str:
    # A switch that is on by default is offered as the way to turn it off.
    negated = _is_flag(field) and field.default is True
    return f"--{'no-' if negated else ''}{name.replace('_', '-')}"


def add_arguments(
    parser: argparse.ArgumentParser, kind: type[BaseModel], *, positional: tuple[str, ...] = ()
) -> None:
    """Add one argument a setting.

    Parameters
    ----------
    parser
        Of the verb.
    kind
        Its settings model; descriptions become help texts.
    positional
        Names of settings that are given without an option, in order.
    """
    for name, field in kind.model_fields.items():
        text = (field.description or "").replace("%", "%%")
        if name in positional and field.is_required():
            parser.add_argument(name, help=text)
            continue
        if name in positional:
            parser.add_argument(name, nargs="?", default=argparse.SUPPRESS, help=text)
            continue
        option = _option(name, field)
        if _is_flag(field):
            text = f"do not {text}" if field.default else text
            parser.add_argument(
                option, dest=name, action="store_false" if field.default else "store_true",
                default=argparse.SUPPRESS, help=text,
            )  # fmt: skip
            continue
        if not field.is_required() and field.default not in (None, ()):
            text = f"{text} (default: {field.default})"
        parser.add_argument(
            option,
            dest=name,
            default=argparse.SUPPRESS,
            required=field.is_required(),
            choices=_choices(field),
            metavar=None if _choices(field) else name.upper().replace("-", "_"),
            action="append" if _is_list(field) else "store",
            help=f"{text}; several by commas or repeated" if _is_list(field) else text,
        )


def settings_from(kind: type[S], values: dict[str, Any], *, positional: Sequence[str] = ()) -> S:
    """Build settings from parsed arguments; lists may be split by commas.

    Parameters
    ----------
    kind
        Of which settings.
    values
        As parsed, by name.
    positional
        Settings that are given without an option.

    Raises
    ------
    SettingsError
        If a value does not fit.
    """
    read: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if name not in values:
            continue
        value = values[name]
        if _is_list(field):
            value = tuple(part.strip() for text in value for part in _split(text) if part.strip())
        read[name] = value
    try:
        return make_settings(kind, read)
    except SettingsError as error:
        said = str(error)
        for name in positional:
            said = said.replace(f"Correct --{name.replace('_', '-')}.", f"Correct {name.upper()}.")
        raise SettingsError(said) from error


def _split(text: str) -> list[str]:
    r"""Split at commas that are not written as ``\,``."""
    parts = [""]
    skip = False
    for letter in text:
        if skip:
            parts[-1] += letter if letter in "\\," else f"\\{letter}"
            skip = False
        elif letter == "\\":
            skip = True
        elif letter == ",":
            parts.append("")
        else:
            parts[-1] += letter
    if skip:
        parts[-1] += "\\"
    return parts


def to_command(verb: str, settings: BaseModel, *, positional: tuple[str, ...] = ()) -> str:
    """Return the command line that gives these settings, quoted for a POSIX shell.

    Parameters
    ----------
    verb
        For example ``"stain"``.
    settings
        What to say; settings at their default are left out.
    positional
        As for `add_arguments`.
    """
    words = ["virtualstain", verb]
    given = (getattr(settings, name) for name in positional)
    words += [str(value) for value in given if value is not None]
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name in positional or (not field.is_required() and value == field.default):
            continue
        option = _option(name, field)
        if _is_flag(field):
            words.append(option)
        elif isinstance(value, tuple):
            escaped = [str(v).replace("\\", "\\\\").replace(",", "\\,") for v in value]
            words += [option, ",".join(escaped)]
        else:
            words += [option, str(value)]
    return shlex.join(words)
