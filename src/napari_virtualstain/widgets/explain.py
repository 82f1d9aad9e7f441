"""Why does it say so? A click in the viewer, and a map comes that says whether to believe it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import MissingInputError, VirtualStainError
from napari_virtualstain.explain.methods import METHODS
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.explain import ExplainSettings
from napari_virtualstain.napari_io.explanation import explanation_layers
from napari_virtualstain.napari_io.fields import Field, picture_of
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.widgets._explain_form import ExplainForm
from napari_virtualstain.widgets._explain_maps import ExplainedMaps
from napari_virtualstain.widgets._explain_nearest import NearestPatches
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import CopyCommand, form
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets._spool import Spool
from napari_virtualstain.widgets._view import shown_plane, shown_region, shown_time

if TYPE_CHECKING:
    import napari

__all__ = ["ExplainPage"]

_EMPTY = "Open an image first, on the page Load or by dropping it on the viewer."
_NO_LIGHT = "A model explains what it made of bright field. Choose a bright-field image."
_PICK = "Click in the image on what is to be explained."


class ExplainPage(QWidget):
    """Asks for maps, and shows them over the image.

    Parameters
    ----------
    viewer
        To click in, and to add layers to.
    fields
        What the viewer shows.
    jobs
        Where maps are computed.
    run_bar
        Where that is shown.
    """

    def __init__(self, viewer: napari.Viewer, fields: Fields, jobs: Jobs, run_bar: RunBar) -> None:
        super().__init__()
        self._viewer, self._fields, self._jobs, self._run_bar = viewer, fields, jobs, run_bar
        self._background = Background(self)
        self._spool = Spool(self, jobs, self._background)
        self._run: Run | None = None
        self._over: Image | None = None
        self._at: tuple[int, int] | None = None
        self._doubted = ""
        self.box = FieldBox(
            fields, _can_be_explained, "no image is open yet", follows=lambda f: f.can_be_stained
        )
        self.form = ExplainForm()
        self.start = QPushButton("Explain")
        self.pick = QPushButton("Click to explain")
        self.pick.setCheckable(True)
        self.copy = CopyCommand(self.command, lambda text: self.notice.fail(words_of(text)))
        self.notice = Notice(viewer)
        self.maps = ExplainedMaps(viewer)
        self.nearest = NearestPatches(viewer)
        self._arrange()
        self.box.chosen.connect(self._changed)
        self.form.changed.connect(self._changed)
        self.start.clicked.connect(self._begin)
        self.pick.toggled.connect(self._listen)
        jobs.run_changed.connect(self._follow)
        self._changed()

    # --- what would be explained ------------------------------------------------------------------

    def settings(self, out: str, *, path: str | None = None) -> ExplainSettings:
        """Return the settings of what is chosen, at the pixel that was clicked last.

        Parameters
        ----------
        out
            Store to write.
        path
            Where an image in memory was written.

        Raises
        ------
        VirtualStainError
            If there is nothing to explain, or a setting is impossible.
        """
        image, layer = self._chosen()
        found: dict[str, Any] = {**picture_of(image), "out": out}
        found |= self.form.values(at=self._at)
        if path is not None:
            found["input"] = path
        if image.path is None and path is None:
            raise MissingInputError(
                "This image lies in memory, so no command can open it. Save it as OME-Zarr first."
            )
        found["t"] = shown_time(self._viewer, layer) or 0
        if self.form.of_model:
            if (stored := self._predicted(image)) is not None:
                found["prediction"] = stored
        else:
            found.pop("channel", None)
            plane = shown_plane(self._viewer, layer)
            if plane is not None:
                found["z"] = (plane,)
            if self.form.only_view.isChecked():
                found["region"] = shown_region(self._viewer, layer)
        kept = {name: value for name, value in found.items() if value is not None}
        return make_settings(ExplainSettings, kept)

    def command(self) -> str:
        """Return the line that makes the same maps."""
        settings = self.settings("why.ome.zarr")
        settings = settings.model_copy(update={"input": settings.absolute().input})
        return to_command("explain", settings, positional=("input",))

    def _chosen(self) -> tuple[Field, Image]:
        """Return the image, and the layer whose pixels are meant."""
        image = self.box.field
        if image is None:
            raise MissingInputError(_EMPTY)
        layer = image.brightfield if self.form.of_model else image.layers[0][0]
        if layer is None:
            raise MissingInputError(_NO_LIGHT)
        return image, layer

    def _predicted(self, image: Field) -> str | None:
        """Return the store of the stain that lies over an image and shows, if there is one."""
        for field in self._fields.all:
            for layer, source in field.with_role("prediction"):
                if layer.visible and source.stain == self.form.stain.currentText():
                    return source.path
        del image
        return None

    def _changed(self) -> None:
        image = self.box.field
        if image is not None:
            names = [s.channel if s is not None else layer.name for layer, s in image.layers]
            self.form.offer_channels(names)
        doubt = self._doubt()
        able = not doubt
        self.start.setEnabled(able and not self.form.needs_pixel)
        self.start.setToolTip(
            "Click in the image instead: this map is of one pixel"
            if self.form.needs_pixel
            else "Over the middle of the image; of an encoder, what the picture as a whole asks"
        )
        self.pick.setEnabled(able)
        self.copy.setEnabled(able and not (self.form.needs_pixel and self._at is None))
        if not able:
            self.pick.setChecked(False)
        # What a run has said stays, whatever is chosen meanwhile.
        if doubt:
            self._doubted = words_of(doubt)
            self.notice.hint(self._doubted)
        elif self.notice.text == self._doubted:
            self.notice.clear()

    def _doubt(self) -> str:
        """Say why nothing can be explained yet, ``""`` if something can."""
        try:
            self._chosen()
        except MissingInputError as error:
            return str(error)
        return self.form.problem

    # --- asking -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._at = None
        self.explain()

    def explain(self) -> None:
        """Ask for the maps; those of an earlier question are not waited for."""
        try:
            image, layer = self._chosen()
        except VirtualStainError as error:
            self.notice.hint(words_of(str(error)))
            return
        if image.path is None:
            self._spool.write(
                image,
                lambda path: self._submit(image, layer, path),
                lambda sentence: self.notice.fail(words_of(sentence)),
            )
            return
        self._submit(image, layer, None)

    def explain_at(self, y: int, x: int) -> None:
        """Ask for the maps of a pixel of the image.

        Parameters
        ----------
        y, x
            Row and column.
        """
        self._at = (y, x)
        self._choose_shown_stain()
        self.copy.setEnabled(True)
        self.explain()

    def _submit(self, image: Field, layer: Image, path: str | None) -> None:
        out = str(self._jobs.temporary("why.ome.zarr"))
        try:
            settings = self.settings(out, path=path)
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        if self._run is not None and not self._run.ended:
            self._run.cancel()
        self.notice.clear()
        self._over = layer
        # A click is answered beside a stain that goes on; a whole field waits for its turn.
        urgent = self._at is not None and self.form.of_model
        self._run = self._jobs.submit("explain", settings, urgent=urgent)
        at = "" if self._at is None else f" at {self._at[0]}, {self._at[1]}"
        self._run_bar.announce(self._run, f"Explaining {image.name}{at} ({self.form.name})")

    def _follow(self, run: Run) -> None:
        if run is not self._run or run.outcome is None:
            return
        self._run = None
        if run.outcome.result is None:
            self.notice.fail_run(run)
            return
        self._take(run.outcome.result)

    def _take(self, result: dict[str, Any]) -> None:
        """Open the maps, and show them once they are read."""
        layer = self._over
        if layer is None or layer not in self._viewer.layers:
            return
        model = self.form.model.card if self.form.of_model else None
        card = None if self.form.of_model else self.form.cards.get(self.form.name)
        patch = 0 if card is None else int(card.architecture.get("patch", 8))

        def show(layers: Any) -> None:
            if layer in self._viewer.layers:
                self.maps.show_result(result, layers, patch)
                self.nearest.show_nearest(result["nearest"])
                # What the model says it is not for stands below its name already.
                limits = () if model is None else tuple(model.limits)
                told = [n for n in result["notes"] if not any(n.endswith(one) for one in limits)]
                notes = [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in told]
                self.notice.hint(words_of(" ".join(notes)))

        attention = {
            told["channel"] for told in result["maps"]
            if METHODS[told["method"]].inside == "attention"
        }  # fmt: skip
        self._background.run(
            "explanation",
            explanation_layers(
                Path(result["out"]), layer, result["region_yx"], attention=attention
            ),
            show,
            lambda sentence: self.notice.fail(words_of(sentence)),
        )

    # --- clicking ---------------------------------------------------------------------------------

    def _listen(self, listens: bool) -> None:
        callbacks = self._viewer.mouse_drag_callbacks
        if listens and self._click not in callbacks:
            callbacks.append(self._click)
            self.notice.hint(_PICK)
        elif not listens and self._click in callbacks:
            callbacks.remove(self._click)
            if self.notice.text == _PICK:
                self.notice.clear()

    def _click(self, viewer: napari.Viewer, event: Any) -> Iterator[None]:
        """Explain the pixel under a click; a drag still moves the picture."""
        del viewer
        try:
            _, layer = self._chosen()
        except VirtualStainError:
            return
        place = np.asarray(event.position, float)
        yield
        if event.type == "mouse_move":
            return
        y, x = np.round(layer.world_to_data(place[-layer.ndim :])[-2:]).astype(int)
        finest = layer.data[0] if layer.multiscale else layer.data
        if not (0 <= y < finest.shape[-2] and 0 <= x < finest.shape[-1]):
            self.notice.hint("That lies outside of the image. Click on the image itself.")
            return
        self.explain_at(int(y), int(x))

    def _choose_shown_stain(self) -> None:
        """Explain the stain that is looked at, where only one predicted stain shows."""
        shown = [
            source.stain
            for layer in self._viewer.layers
            if layer.visible
            and (source := source_of(layer)) is not None
            and source.role == "prediction"
        ]
        if len(shown) == 1:
            self.form.choose_stain(shown[0])

    # --- the rest ---------------------------------------------------------------------------------

    def hideEvent(self, event: Any) -> None:  # noqa: N802
        """Take no more clicks when another page shows."""
        self.pick.setChecked(False)
        super().hideEvent(event)

    def close_runs(self) -> None:
        """Cancel what was asked for; the viewer is closing."""
        if self._run is not None and not self._run.ended:
            self._run.cancel()
        if self._click in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._click)

    def _arrange(self) -> None:
        self.pick.setToolTip("Then click in the viewer: each click asks for the maps of that pixel")
        rows = form()
        rows.addRow("Image", self.box)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.pick)
        column = QVBoxLayout(self)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        column.addLayout(rows)
        column.addWidget(self.form)
        column.addLayout(buttons)
        column.addWidget(self.copy)
        column.addWidget(self.notice)
        column.addWidget(self.maps)
        column.addWidget(self.nearest)
        column.addStretch(1)


def _can_be_explained(field: Field) -> bool:
    return not field.is_derived and (field.brightfield is not None or bool(field.stains))
