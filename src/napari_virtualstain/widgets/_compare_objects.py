"""Are nuclei or cells those of the truth? Their number by kind, and where they lie, in colours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox

from napari_virtualstain.jobs.compare_objects import ObjectScore
from napari_virtualstain.napari_io.compared_objects import KIND_COLOURS, object_labels
from napari_virtualstain.widgets._jobs import Background
from napari_virtualstain.widgets._parts import Wrapped, wide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import napari

__all__ = ["ObjectChoice", "ObjectView", "StainBox"]

_NONE = "none"
_CELLS = "Compare whole cells instead, found from these nuclei in this stain, such as AGP or RNA"


class StainBox(QComboBox):
    """A stain, or none.

    Parameters
    ----------
    about
        What it is for.
    """

    def __init__(self, about: str) -> None:
        super().__init__()
        wide(self)
        self.setToolTip(about)
        self.offer(())

    @property
    def stain(self) -> str | None:
        """What is chosen."""
        chosen: str | None = self.currentData()
        return chosen

    def choose(self, stain: str) -> None:
        """Choose a stain, if it is offered."""
        self.setCurrentIndex(max(self.findData(stain), 0))

    def offer(self, stains: Iterable[str]) -> None:
        """Offer other stains; what is chosen stays where it is still there."""
        now = self.stain
        self.clear()
        self.addItem(_NONE, None)
        for stain in stains:
            self.addItem(stain, stain)
        if now is not None:
            self.choose(now)


class ObjectChoice:
    """In which stains nuclei or cells are compared, if in any: two boxes of a form.

    Cells are found from nuclei: without a stain of nuclei there is none to choose for them.
    """

    def __init__(self) -> None:
        self.nuclei = StainBox(
            "Also find the nuclei of this stain in prediction and truth, in the same way, and say "
            "which are matched, invented, missed, merged and split"
        )
        self.cells = StainBox(_CELLS)
        self._stains: tuple[str, ...] = ()
        self.nuclei.currentIndexChanged.connect(self._offer_cells)
        self._offer_cells()

    @property
    def settings(self) -> dict[str, str | None]:
        """What it adds to the settings of a comparison."""
        return {"objects": self.nuclei.stain, "cells": self.cells.stain}

    def offer(self, stains: Iterable[str]) -> None:
        """Offer other stains; what is chosen stays where it is still there."""
        self._stains = tuple(stains)
        with QSignalBlocker(self.nuclei):  # while it is refilled, nothing is chosen
            self.nuclei.offer(self._stains)
        self._offer_cells()

    def _offer_cells(self) -> None:
        seeds = self.nuclei.stain
        self.cells.offer([] if seeds is None else [s for s in self._stains if s != seeds])
        self.cells.setEnabled(self.cells.count() > 1)
        why = "" if seeds is None or self.cells.count() > 1 else f" There is none beside {seeds}."
        why = " Choose the stain of the nuclei first." if seeds is None else why
        self.cells.setToolTip(f"{_CELLS}.{why}")


class ObjectView(Wrapped):
    """A line with the numbers, whose colours are those of a layer over the picture.

    Parameters
    ----------
    viewer
        To add the layer to.
    complain
        Takes a sentence.
    """

    def __init__(self, viewer: napari.Viewer, complain: Callable[[str], None]) -> None:
        super().__init__()
        self._viewer, self._complain = viewer, complain
        self._background = Background(self)
        self._stain = ""
        self._looked_at: str | None = None
        self._asked: object = None
        self.layer: Labels | None = None
        self.hide()

    def show_score(self, score: ObjectScore, store: Path, predicted: Image) -> None:
        """Show what became of the objects; the layer comes when it has been opened.

        Parameters
        ----------
        score
            How many there are of each kind.
        store
            That the comparison wrote.
        predicted
            Layer in which they were found, over which they are shown.
        """
        self.forget()
        self._stain, self._asked = score.stain, store
        self.setText(
            " ".join([_coloured(score), *(f"{n[0].upper()}{n[1:]}." for n in score.notes)])
        )
        self.show()

        def take(data: Any) -> None:
            if self._asked != store or predicted not in self._viewer.layers:
                return
            pixels, keywords = data
            self.layer = Labels(pixels, **keywords)
            self.layer.visible = self._looked_at == self._stain
            selected = list(self._viewer.layers.selection)
            self._viewer.add_layer(self.layer)
            self._viewer.layers.selection = selected  # a brush is of no use here

        opened = object_labels(store, predicted, score.kind)
        self._background.run("objects", opened, take, self._complain)

    def look_at(self, stain: str | None) -> None:
        """Show the objects over their own stain, and hide them over others, and for `None`.

        Where the same stain is looked at in another way, they stay as the user has them.
        """
        if stain == self._looked_at:
            return
        self._looked_at = stain
        if self.layer is not None:
            self.layer.visible = stain == self._stain

    def forget(self) -> None:
        """Drop the numbers and the layer."""
        self._asked = None
        self.clear()
        self.hide()
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)


def _coloured(score: ObjectScore) -> str:
    """Return the words of a score, a square of its colour before each kind."""
    text = score.words()
    for kind, colour in KIND_COLOURS.items():
        counted = f"{score.counts[kind]} {kind}"
        square = f'<span style="color: {colour}">■</span>'
        text = text.replace(counted, f"{square}\u00a0{counted.replace(' ', chr(0xA0))}")
    return f"{text[0].upper()}{text[1:]}."
