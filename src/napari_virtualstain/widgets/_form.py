"""How frozen settings become a form, and the form settings again.

Each field of a settings model is one row: a control of its type, its name in
words, and its description as tooltip. Fields that may be left open are lines
of text whose placeholder says what happens then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox, LineEdit, Slider, SpinBox
from magicgui.widgets.bases import ValueWidget
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from qtpy.QtWidgets import QWidget

from napari_virtualstain.widgets._parts import form, wide

__all__ = ["SettingsForm", "label_of", "words_of"]

_LABELS = {
    "z": "Z planes",
    "pixel_size": "Pixel size (µm)",
    "z_step": "Z step (µm)",
    "tile": "Tile (px)",
    "axes": "Axes",
    "channel": "Bright field",
    "out": "Output",
    "overwrite": "Replace output",
    "csv": "Table file",
    "t": "Time point",
    "preset": "What moves",
    "judge_each": "Let each field judge once",
}


def label_of(name: str) -> str:
    """Return the name of a setting in words, as the form shows it."""
    return _LABELS.get(name, name.replace("_", " ").capitalize())


def words_of(sentence: str) -> str:
    """Return a sentence with options of the command line replaced by the form's names.

    Examples
    --------
    >>> words_of("Choose planes with --z, for example --z 2,6,10.")
    'Choose planes with “Z planes”, for example “Z planes” 2,6,10.'
    """

    def named(match: re.Match[str]) -> str:
        return f"“{label_of(match[1].replace('-', '_'))}”"

    return re.sub(r"(?<![\w-])--([a-z][a-z-]*[a-z]|[a-z])(?![a-z-])", named, sentence)


class SettingsForm(Container):  # type: ignore[type-arg]
    """A form for some fields of a settings model.

    Parameters
    ----------
    kind
        The model.
    fields
        Names of the fields to show, in order.
    placeholders
        What a field that is left open means, by name.
    sliders
        Last number of fields that are a slider, by name.
    """

    def __init__(
        self,
        kind: type[BaseModel],
        fields: Iterable[str],
        *,
        placeholders: Mapping[str, str] | None = None,
        sliders: Mapping[str, int] | None = None,
    ) -> None:
        self._kind = kind
        self._hidden: set[str] = set()
        said, ends = placeholders or {}, sliders or {}
        rows = [
            _control(name, kind.model_fields[name], said.get(name, ""), ends.get(name))
            for name in fields
        ]
        super().__init__(widgets=rows, labels=False)
        # In the rows of all other forms, whose labels end at one line.
        self.sheet = QWidget()
        self._lines = lines = form()
        for row in rows:
            switch = isinstance(row, CheckBox)  # says its name itself
            lines.addRow("" if switch else row.label, row.native)
            if isinstance(row, ComboBox):
                wide(row.native)
            if not switch:
                lines.labelForField(row.native).setToolTip(row.tooltip)
        self.sheet.setLayout(lines)

    def values(self) -> dict[str, Any]:
        """Return what differs from the defaults and is not hidden, for `make_settings`."""
        found = {}
        for row in self:
            if row.name in self._hidden:
                continue
            field = self._kind.model_fields[row.name]
            value = _read(row, field)
            if value != field.get_default(call_default_factory=True):
                found[row.name] = value
        return found

    def show_row(self, name: str, visible: bool) -> None:
        """Show the row of a field, or hide it with what stands in it."""
        self._lines.setRowVisible(self[name].native, visible)
        (self._hidden.discard if visible else self._hidden.add)(name)

    def show_values(self, values: Mapping[str, Any]) -> None:
        """Fill the form; fields without a value go back to their default."""
        for row in self:
            field = self._kind.model_fields[row.name]
            default = field.get_default(call_default_factory=True)
            if isinstance(row, Slider):  # a longer one was asked for elsewhere
                row.max = max(row.max, int(values.get(row.name, default)))
            row.value = _shown(row, values.get(row.name, default))


def _control(name: str, field: FieldInfo, placeholder: str, end: int | None) -> ValueWidget:  # type: ignore[type-arg]
    about: dict[str, Any] = {
        "name": name,
        "label": label_of(name),
        "tooltip": _tooltip(name, field),
    }
    default = field.get_default(call_default_factory=True)
    if field.annotation is bool:
        return CheckBox(value=bool(default), **about)
    if field.annotation is int:
        low, high = _bounds(field)
        if end is not None:
            return Slider(value=default, min=low, max=end, **about)
        return SpinBox(value=default, min=low, max=high, **about)
    if field.annotation is float:
        low, high = _bounds(field)
        return FloatSpinBox(value=default, min=low, max=high, step=0.5, **about)
    if get_origin(field.annotation) is Literal:
        return ComboBox(value=default, choices=list(get_args(field.annotation)), **about)
    line = LineEdit(value=_text(default), **about)
    line.native.setPlaceholderText(placeholder)
    return line


def _tooltip(name: str, field: FieldInfo) -> str:
    text = field.description or ""
    option = f"--{name.replace('_', '-')}"
    return f"{text[:1].upper()}{text[1:]}.\nOn the command line: {option}"


def _bounds(field: FieldInfo) -> tuple[int, int]:
    low, high = -(2**31), 2**31 - 1
    for rule in field.metadata:
        low = max(low, getattr(rule, "ge", None) or low, (getattr(rule, "gt", None) or low - 1) + 1)
        high = min(high, getattr(rule, "le", None) or high)
        if getattr(rule, "ge", None) == 0:
            low = 0
    return low, high


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple | list):  # what was kept as JSON has lists
        return ", ".join(str(part) for part in value)
    return str(value)


def _shown(row: Any, value: Any) -> Any:
    return _text(value) if isinstance(row, LineEdit) else value


def _read(row: Any, field: FieldInfo) -> Any:
    if not isinstance(row, LineEdit):
        return row.value
    text = row.value.strip()
    if not text:
        return field.get_default(call_default_factory=True)
    kinds = [field.annotation, *get_args(field.annotation)]
    if any(get_origin(kind) is tuple for kind in kinds):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text
