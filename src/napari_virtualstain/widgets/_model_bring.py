"""How does a model get here? From a file or from the web; what nobody knows of it is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.models import ModelsSettings
from napari_virtualstain.widgets._form import SettingsForm, words_of
from napari_virtualstain.widgets._jobs import Jobs
from napari_virtualstain.widgets._notice import report_of
from napari_virtualstain.widgets._parts import Wrapped, form
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets._stainings import file_name

__all__ = ["Asked", "Bringing", "ImportPanel", "asked_in"]

_NOT_ASKED = {"action", "file", "out"}
"""Settings that the page has its own controls for."""
_OPEN = {
    "pixel_size": "of its training images",
    "z_step": "of its training stacks",
    "z_offsets": "for example -4, 0, 4",
    "stains": "for example DNA, ER, in their order",
    "channel": "as published",
}


def asked_in(sentence: str) -> tuple[str, ...]:
    """Return the settings of an import that a sentence speaks of.

    Examples
    --------
    >>> asked_in("State it with --pixel-size in µm, or choose another --out.")
    ('pixel_size',)
    """
    options = re.findall(r"(?<![\w-])--([a-z][a-z-]*[a-z])", sentence)
    names = dict.fromkeys(option.replace("-", "_") for option in options)
    return tuple(n for n in names if n in ModelsSettings.model_fields and n not in _NOT_ASKED)


class Asked(QWidget):
    """A form for some settings of an import, made of what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.form: SettingsForm | None = None
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self.hide()

    @property
    def names(self) -> tuple[str, ...]:
        """What is asked for."""
        return () if self.form is None else tuple(row.name for row in self.form)

    def ask(self, names: Iterable[str]) -> None:
        """Ask for these settings; what was typed for one of them stays."""
        wanted = tuple(names)
        if wanted == self.names:
            return
        typed = self.values()
        if self.form is not None:
            self._column.removeWidget(self.form.sheet)
            self.form.sheet.deleteLater()
            self.form = None
        if wanted:
            self.form = SettingsForm(ModelsSettings, wanted, placeholders=_OPEN)
            self.form.show_values(typed)
            self._column.addWidget(self.form.sheet)
        self.setVisible(bool(wanted))

    def values(self) -> dict[str, Any]:
        """Return what is stated."""
        return {} if self.form is None else self.form.values()


class Bringing(QObject):
    """Asks the compute process for imports and downloads, one of each at a time.

    Parameters
    ----------
    jobs
        Where they run.
    run_bar
        Where they are shown.
    parent
        As in Qt.
    """

    changed = Signal()
    """One has begun or ended."""
    made = Signal(str, str)
    """The action, and what `--model` takes for the model that it made."""
    failed = Signal(str, str, str)
    """The action, a sentence, and a report; the report is empty if somebody cancelled it."""

    def __init__(self, jobs: Jobs, run_bar: RunBar, parent: QObject) -> None:
        super().__init__(parent)
        self._jobs, self._run_bar = jobs, run_bar
        self._runs: dict[str, Run] = {}
        jobs.run_changed.connect(self._follow)

    def going(self, action: str) -> bool:
        """Return whether an import or a download goes on."""
        return action in self._runs

    def begin(self, action: str, values: dict[str, Any], title: str) -> None:
        """Begin one.

        Parameters
        ----------
        action
            ``"import"`` or ``"download"``.
        values
            Further settings of `virtualstain models`.
        title
            For the bar.

        Raises
        ------
        SettingsError
            If a value does not fit.
        """
        settings = make_settings(ModelsSettings, {**values, "action": action})
        # Beside a stain, and not behind it: the web is slow, and the processor is not asked.
        run = self._jobs.submit("models", settings, urgent=True)
        self._runs[action] = run
        self._run_bar.announce(run, title)
        self.changed.emit()

    def stop(self) -> None:
        """Cancel what goes on."""
        for run in self._runs.values():
            run.cancel()

    def _follow(self, run: Run) -> None:
        action = next((name for name, one in self._runs.items() if one is run), None)
        if action is None or run.outcome is None:
            return
        del self._runs[action]
        outcome = run.outcome
        self.changed.emit()
        if outcome.result is not None:
            self.made.emit(action, str(outcome.result["name"]))
            return
        report = report_of(run) if outcome.state == "failed" else ""
        self.failed.emit(action, outcome.sentence, report)


class ImportPanel(QWidget):
    """Chooses a file or folder, gives it a name, and asks for what the importer misses.

    Parameters
    ----------
    bringing
        Who imports.
    """

    refused = Signal(str)
    """A value does not fit, in a sentence."""

    def __init__(self, bringing: Bringing) -> None:
        super().__init__()
        self._bringing = bringing
        self.path: Path | None = None
        self.file = QPushButton("Import a file…")
        self.file.setToolTip(
            "A file of weights (.ckpt, .pth, .p, .safetensors), or a zip of a model folder"
        )
        self.folder = QPushButton("Import a folder…")
        self.folder.setToolTip("A model folder, as training writes it")
        self.source = Wrapped()
        self.name = QLineEdit()
        self.name.setToolTip("By which the model is chosen from now on")
        self.asked = Asked()
        self.start = QPushButton("Import")
        self.start.setToolTip(
            "Make a model of it in your models folder; nothing in the file is run"
        )
        self.leave = QPushButton("Not now")
        self._sheet = QWidget()
        rows = form()
        rows.addRow("From", self.source)
        rows.addRow("Name", self.name)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.leave)
        inner = QVBoxLayout(self._sheet)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addLayout(rows)
        inner.addWidget(self.asked)
        inner.addLayout(buttons)
        ways = QHBoxLayout()
        ways.addWidget(self.file)
        ways.addWidget(self.folder)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(ways)
        column.addWidget(self._sheet)
        self.file.clicked.connect(lambda: self._ask(QFileDialog.FileMode.ExistingFile))
        self.folder.clicked.connect(lambda: self._ask(QFileDialog.FileMode.Directory))
        self.start.clicked.connect(self.begin)
        self.leave.clicked.connect(self.forget)
        self.name.returnPressed.connect(self.begin)
        self.name.textChanged.connect(lambda _: self.look())
        bringing.changed.connect(self.look)
        self.forget()

    def take(self, path: str | Path) -> None:
        """Take a file or folder, and propose a name for its model."""
        self.path = Path(path)
        self.asked.ask(())
        self.source.setText(self.path.name)
        self.source.setToolTip(str(self.path))
        inside = self.path.parent if (self.path.parent / "card.json").is_file() else self.path
        self.name.setText(file_name(inside.name.removesuffix(inside.suffix)))
        self._sheet.show()
        self.name.setFocus()
        self.name.selectAll()
        self.look()

    def forget(self) -> None:
        """Import nothing."""
        self.path = None
        self.asked.ask(())
        self._sheet.hide()

    def look(self) -> None:
        """Say whether it can begin."""
        going = self._bringing.going("import")
        self.start.setEnabled(
            self.path is not None and bool(self.name.text().strip()) and not going
        )
        self.start.setText("Importing …" if going else "Import")

    def begin(self) -> None:
        """Import what was taken."""
        if self.path is None or not self.start.isEnabled():
            return
        name = self.name.text().strip()
        values = {"file": str(self.path), "out": name, **self.asked.values()}
        try:
            self._bringing.begin("import", values, f"Importing {name}")
        except VirtualStainError as error:
            self.refused.emit(words_of(str(error)))

    def answer(self, sentence: str) -> bool:
        """Ask for what a sentence of the importer speaks of; return whether it is something new."""
        wanted = dict.fromkeys((*self.asked.names, *asked_in(sentence)))
        new = tuple(wanted) != self.asked.names
        self.asked.ask(wanted)
        return new

    def _ask(self, mode: Any) -> None:
        dialog = QFileDialog(self, "Import a model")
        dialog.setFileMode(mode)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.take)
        dialog.open()
