"""Which models are there, and which suits my picture? Cards, trials, and ways to get another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.widgets._feature_box import comparing
from napari_virtualstain.widgets._fields import Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._model_bring import Asked, Bringing, ImportPanel
from napari_virtualstain.widgets._model_entries import ModelEntry, list_entries
from napari_virtualstain.widgets._model_list import ModelList
from napari_virtualstain.widgets._model_try import TryPanel
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import Foldout, Wrapped
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.zoo import list_encoders, remove_model

if TYPE_CHECKING:
    import napari

__all__ = ["ModelsPage"]


class ModelsPage(QWidget):
    """Lists models, tries them, imports, downloads and removes them.

    Parameters
    ----------
    viewer
        To add layers to.
    fields
        What it shows.
    jobs
        Where models are tried and made.
    run_bar
        Where that is shown.
    """

    used = Signal(str)
    """The name of a model that is to be used on the page Stain."""
    compares = Signal(str)
    """The name of an encoder that is to be used on the page Compare."""
    changed = Signal()
    """There are other models than before."""

    def __init__(self, viewer: napari.Viewer, fields: Fields, jobs: Jobs, run_bar: RunBar) -> None:
        super().__init__()
        self._background = Background(self)
        self._bringing = Bringing(jobs, run_bar, self)
        self.list = ModelList()
        self.use = QPushButton("Use in Stain")
        self.download = QPushButton("Download")
        self.download.setToolTip(
            "Fetch it and make a model of it in your models folder; what is cut off is gone on with"
        )
        self.remove = QPushButton("Remove…")
        self.remove.setToolTip("Delete this model of yours from this computer")
        self.sure = _Sure()
        self.asked = Asked()
        self.notice = Notice(viewer)
        self.limits = Wrapped()
        self.about = Wrapped()
        self.trying = TryPanel(viewer, fields, jobs, run_bar)
        self.bring = ImportPanel(self._bringing)
        self.about_fold = Foldout("About this model", self.about, is_open=True)
        self.try_fold = Foldout("Try on this view", self.trying, is_open=True)
        self._arrange()
        self.list.chosen.connect(self._choose)
        self.list.ticked.connect(lambda: self.trying.offer(self.list.ticks))
        self.use.clicked.connect(self._use)
        self.download.clicked.connect(self.begin_download)
        self.remove.clicked.connect(self._ask_whether)
        self.sure.agreed.connect(self._remove)
        self.trying.picked.connect(self.list.choose)
        self.trying.said.connect(self.notice.hint)
        self.trying.refused.connect(self.notice.fail)
        self.bring.refused.connect(self.notice.fail)
        self._bringing.changed.connect(self._choose)
        self._bringing.made.connect(self._made)
        self._bringing.failed.connect(self._failed)
        self.refill()

    def refill(self, choose: str | None = None) -> None:
        """Look again which models there are.

        Parameters
        ----------
        choose
            Name of the one to look at.
        """
        entries, problem = list_entries()
        self.list.show_entries(entries, choose=choose)
        if problem:
            self.notice.warn(words_of(problem))

    def import_paths(self, paths: Iterable[str | Path]) -> None:
        """Take what was dropped: one file, folder or zip with a model."""
        given = list(paths)
        if len(given) > 1:
            self.notice.hint("One model at a time is imported: this is the first of them.")
        if given:
            self.bring.take(given[0])

    def close_runs(self) -> None:
        """Cancel what this viewer asked for: the viewer is going."""
        self._bringing.stop()
        self.trying.stop()

    # --- one model --------------------------------------------------------------------------------

    def _choose(self) -> None:
        entry = self.list.current
        self.sure.hide()
        sees = entry is not None and entry.encoder is not None
        self.use.setText("Use in Compare" if sees else "Use in Stain")
        self.use.setToolTip(
            "Choose this encoder on the page Compare, to compare stains by what it sees"
            if sees
            else "Choose this model on the page Stain, and go there"
        )
        self.use.setEnabled(_usable(entry))
        wanted = None if entry is None else entry.download
        self.use.setVisible(wanted is None)
        self.remove.setVisible(entry is not None and entry.own)
        self.download.setVisible(wanted is not None)
        self.asked.ask(() if wanted is None or wanted.later else wanted.ask)
        going = self._bringing.going("download")
        if wanted is not None:
            size = f" ({wanted.size_words})" if wanted.size_words else ""
            self.download.setText("Downloading …" if going else f"Download{size}")
            self.download.setEnabled(not wanted.later and not going)
        self.about.setText("" if entry is None else entry.words())
        self.about_fold.heading.setText(f"About this {'encoder' if sees else 'model'}")
        self.about_fold.setVisible(entry is not None)
        said = _doubts(entry)
        self.limits.setTextFormat(Qt.TextFormat.PlainText)
        self.limits.setText("\n".join(f"⚠ {text}" for text in said))
        self.limits.setVisible(bool(said))

    def _use(self) -> None:
        entry = self.list.current
        if entry is not None:
            (self.used if entry.encoder is None else self.compares).emit(entry.name)

    # --- bringing one -----------------------------------------------------------------------------

    def begin_download(self) -> None:
        """Download the model that is looked at."""
        entry = self.list.current
        if entry is None or entry.download is None:
            return
        self.notice.clear()
        try:
            values = {"file": entry.name, **self.asked.values()}
            self._bringing.begin("download", values, f"Downloading {entry.name}")
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))

    def _made(self, action: str, name: str) -> None:
        if action == "import":
            self.bring.forget()
        self.refill(choose=name)
        self.list.choose(name)
        use = (
            "It sees, and paints nothing: use it in Compare, or for profiles."
            if name in list_encoders()
            else "Tick it to try it on a view, or use it in Stain."
        )
        self.notice.hint(f"{name} is here. {use}")
        self.changed.emit()

    def _failed(self, action: str, sentence: str, report: str) -> None:
        said = _said(sentence)
        if not report:
            kept = " What came is kept: download again to go on." if action == "download" else ""
            self.notice.hint(f"Cancelled.{kept}")
        elif action == "import" and self.bring.answer(sentence):
            self.notice.warn(said)
        else:
            self.notice.fail(said, report)

    # --- removing one -----------------------------------------------------------------------------

    def _ask_whether(self) -> None:
        entry = self.list.current
        if entry is not None and entry.own:
            self.sure.ask(f"Delete {entry.name} and its weights from this computer?")

    def _remove(self) -> None:
        entry = self.list.current
        if entry is None:
            return

        def done(_: Any) -> None:
            self.refill()
            self.notice.hint(f"{entry.name} is removed.")
            self.changed.emit()

        self._background.run(
            "remove", lambda: remove_model(entry.name), done,
            lambda sentence: self.notice.fail(words_of(sentence)),
        )  # fmt: skip

    def showEvent(self, event: Any) -> None:  # noqa: N802
        """Look what a training or another program has made meanwhile."""
        super().showEvent(event)
        self.refill()

    def _arrange(self) -> None:
        buttons = QHBoxLayout()
        for button in (self.use, self.download, self.remove):
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        for part in (self.list, self.asked):
            column.addWidget(part)
        column.addLayout(buttons)
        for part in (
            self.sure, self.bring, self.notice, self.try_fold, self.limits, self.about_fold,
        ):  # fmt: skip
            column.addWidget(part)
        column.addStretch(1)


class _Sure(QWidget):
    """A question in the page, and two buttons: nothing is deleted by one click."""

    agreed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.question = Wrapped()
        self.question.setTextFormat(Qt.TextFormat.PlainText)
        self.yes, self.no = QPushButton("Delete"), QPushButton("Keep it")
        row = QHBoxLayout()
        row.addWidget(self.yes)
        row.addWidget(self.no)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.question)
        column.addLayout(row)
        self.yes.clicked.connect(self._agree)
        self.no.clicked.connect(self.hide)
        self.hide()

    def ask(self, question: str) -> None:
        """Ask it."""
        self.question.setText(question)
        self.show()

    def _agree(self) -> None:
        self.hide()
        self.agreed.emit()


def _doubts(entry: ModelEntry | None) -> tuple[str, ...]:
    """Return what a model is not for, and why one cannot be used."""
    if entry is None:
        return ()
    if entry.problem:
        return (words_of(entry.problem),)
    if entry.download is not None and entry.download.later:
        later, url = entry.download.later, entry.download.url
        return (words_of(f"Not downloaded: {later}. It lies at {url}."),)
    card = entry.card or entry.encoder
    return () if card is None else card.limits


def _usable(entry: ModelEntry | None) -> bool:
    """Return whether there is a page on which a model or encoder is used."""
    if entry is None or entry.encoder is None:
        return entry is not None and entry.card is not None
    return comparing(entry.name, entry.encoder) is not None


def _said(sentence: str) -> str:
    """Return a sentence of the importer in the words of this page."""
    return words_of(sentence.replace("`", "")).replace("“Output”", "“Name”")
