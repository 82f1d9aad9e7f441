"""Which of several models suits my picture? All stain the same place, side by side, in an order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.napari_io.fields import Field, picture_of
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._model_entries import ModelEntry
from napari_virtualstain.widgets._model_results import Results
from napari_virtualstain.widgets._model_trials import (
    Region,
    Score,
    Trial,
    read_crops,
    true_stain,
)
from napari_virtualstain.widgets._parts import form
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets._spool import Spool
from napari_virtualstain.widgets._stainings import file_name
from napari_virtualstain.widgets._view import (
    shown_place,
    shown_plane,
    shown_region,
    shown_time,
)
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["TryPanel", "middle_of"]

_MOST = 1024
"""Edge in pixels of the place that is tried, in the middle of what is in view."""
_TILE = 512
_NO_IMAGE = "Open a bright-field image first, on the page Load or by dropping it on the viewer."
_NO_TICK = "Tick one or more models above."


class TryPanel(QWidget):
    """Asks for stains of one place with several models, and sets them side by side.

    Parameters
    ----------
    viewer
        To add layers to.
    fields
        What the viewer shows.
    jobs
        Where they are computed.
    run_bar
        Where that is shown.
    """

    picked = Signal(str)
    """The name of a model whose row was chosen."""
    said = Signal(str)
    """What to do, in a sentence."""
    refused = Signal(str)
    """What went wrong, in a sentence."""

    def __init__(self, viewer: napari.Viewer, fields: Fields, jobs: Jobs, run_bar: RunBar) -> None:
        super().__init__()
        self._viewer, self._jobs, self._run_bar = viewer, jobs, run_bar
        self._background = Background(self)
        self._spool = Spool(self, jobs, self._background)
        self.trials: list[Trial] = []
        self._ticked: tuple[ModelEntry, ...] = ()
        self._true: Field | None = None
        self._around: dict[str, NDArray[Any]] = {}
        self._place: tuple[Region, int, int | None] = ((0, 0, 0, 0), 0, None)
        self.image = FieldBox(fields, lambda f: f.can_be_stained, "no bright field is open yet")
        self.truth = FieldBox(fields, self._may_be_truth, "no true stain of this image is open")
        self.truth.setToolTip("With these true stains the models are ranked")
        self.start = QPushButton("Try on this view")
        self.results = Results(viewer)
        self._arrange()
        self.image.chosen.connect(self.truth.refill)
        self.image.chosen.connect(self.look)
        self.start.clicked.connect(self.begin)
        self.results.picked.connect(self.picked)
        self.results.left.connect(self.leave)
        jobs.run_changed.connect(self._follow)
        self.look()

    # --- beginning --------------------------------------------------------------------------------

    def offer(self, ticked: Sequence[ModelEntry]) -> None:
        """Take the models that are ticked, in their order."""
        self._ticked = tuple(ticked)
        self.look()

    def look(self) -> None:
        """Say what the button would do, and whether it can."""
        many = len(self._ticked)
        self.start.setText(
            f"Try {plural(many, 'model')} on this view" if many else "Try on this view"
        )
        image = self.image.field
        self.start.setEnabled(bool(many) and image is not None and not self._going())
        self.start.setToolTip(
            _NO_IMAGE if image is None else _NO_TICK if not many else
            f"Stain the middle of the view, at most {_MOST} x {_MOST} px, with each of them; "
            "nothing is kept"
        )  # fmt: skip

    def begin(self) -> None:
        """Stain what is in view with each model that is ticked."""
        image, true = self.image.field, self.truth.field
        layer = None if image is None else image.brightfield
        if image is None or layer is None or not self._ticked:
            self.said.emit(_NO_IMAGE if layer is None else _NO_TICK)
            return
        # Whoever looks at the last ones means the place that they are of.
        self.leave(look_back=self.results.sheet.is_looked_at)
        region = shown_region(self._viewer, layer)
        if region is None:
            self.refused.emit("Nothing of this image is in view. Move it into view, and try again.")
            return
        region = middle_of(region, _MOST)
        self._place = (
            region,
            shown_time(self._viewer, layer) or 0,
            shown_plane(self._viewer, layer),
        )
        self._true, self._around = true, {}
        self.results.sheet.lay(layer, region)
        self._read_around(layer, true)
        models = self._ticked
        self._on_disk(
            image,
            lambda path: self._submit(image, path, models),
            lambda text: self.refused.emit(words_of(text)),
        )

    def _on_disk(
        self, image: Field, then: Callable[[str], None], otherwise: Callable[[str], None]
    ) -> None:
        """Hand on where an image lies; one in memory is written first."""
        if image.path is not None:
            then(image.path)
        else:
            self._spool.write(image, then, otherwise)

    def _submit(self, image: Field, path: str, models: Sequence[ModelEntry]) -> None:
        region, t, _ = self._place
        for entry in models:
            assert entry.card is not None
            out = self._jobs.temporary(f"try-{file_name(entry.name)}.ome.zarr")
            values = {
                **picture_of(image), "input": path, "model": entry.name, "out": str(out),
                "region": region, "times": (t,), "tile": _TILE, "resample": True,
            }  # fmt: skip
            try:
                settings = make_settings(StainSettings, values)
            except VirtualStainError as error:
                self.refused.emit(words_of(str(error)))
                return
            run = self._jobs.submit("stain", settings)
            self.trials.append(Trial(name=entry.name, card=entry.card, settings=settings, run=run))
            self._run_bar.announce(run, f"Trying {entry.name} on {image.name}")
        self._show()

    def _read_around(self, layer: Image, true: Field | None) -> None:
        """Read the bright field and the true stains of the place, in a thread."""
        layers = {"": layer} if true is None else {"": layer, **true.stains}
        pictures = {
            name: _crop_of(one, shown_place(self._viewer, one), self._place[0])
            for name, one in layers.items()
        }

        def read() -> dict[str, NDArray[Any]]:
            return {name: picture() for name, picture in pictures.items()}

        def take(found: dict[str, NDArray[Any]]) -> None:
            self._around = found
            self._show()

        self._background.run("around", read, take, lambda text: self.refused.emit(words_of(text)))

    # --- following --------------------------------------------------------------------------------

    def _going(self) -> bool:
        return any(trial.state != "over" for trial in self.trials)

    def _follow(self, run: Run) -> None:
        trial = next((one for one in self.trials if run in one.runs), None)
        if trial is None:
            return
        if run.outcome is None:
            self.results.fill()
            return
        if trial.state != ("staining" if run is trial.run else "comparing"):
            return  # told before: what it said on its way comes after its end
        result = run.outcome.result
        trial.state = "over"
        if run is trial.run and result is not None:
            self._read(trial)
            self._examine(trial)
        elif run is trial.run and run.outcome.state == "failed":
            trial.why = run.outcome.sentence
        elif result is not None:
            trial.scores = {
                row["stain"]: Score(pcc=row["pcc"], floor=row["floor_pcc"])
                for row in result["channels"]
            }
        elif run.outcome.state == "failed":
            trial.doubt = run.outcome.sentence
        self._show()

    def _read(self, trial: Trial) -> None:
        region, t, z = self._place

        def take(crops: dict[str, NDArray[np.float32]]) -> None:
            trial.crops = crops
            self._show()

        def fail(sentence: str) -> None:
            trial.why = sentence
            self._show()

        read = partial(read_crops, trial.settings.out, region, t=t, z=z)
        self._background.run(f"crops {trial.settings.out}", read, take, fail)

    def _examine(self, trial: Trial) -> None:
        """Compare what a model made with the true stains, as far as there are any."""
        true = self._true
        pairs = {s: found for s in trial.card.stain_names if (found := true_stain(s, true))}
        if true is None or not pairs:
            return
        trial.state = "comparing"
        channels = true.true_channels
        region, t, _ = self._place

        def submit(path: str) -> None:
            if trial not in self.trials:
                return
            values: dict[str, Any] = {
                "prediction": trial.settings.out, "target": path, "region": region,
                "match": tuple(f"{stain}={channels[name]}" for stain, name in pairs.items()),
            }  # fmt: skip
            if true.path is not None:
                values |= {"scene": true.scene or None, "axes": true.axes, "pattern": true.pattern}
            if true.has_times:
                values["times"] = (t,)
            settings = make_settings(EvaluateSettings, values)
            trial.examination = self._jobs.submit("evaluate", settings, urgent=True)
            self._run_bar.announce(trial.examination, f"Comparing {trial.name} with the truth")

        def refuse(sentence: str) -> None:
            trial.state, trial.doubt = "over", sentence
            self._show()

        self._on_disk(true, submit, refuse)

    def _show(self) -> None:
        """Show what is known by now."""
        self.look()
        self.results.show_trials(self.trials, self._true, self._around)

    def leave(self, *, look_back: bool = True) -> None:
        """Cancel what is tried, and take away what was made of it; look where one looked before."""
        self._cancel()
        self.results.sheet.clear(look_back=look_back)
        self._show()

    def stop(self) -> None:
        """Cancel what is tried: the viewer is going."""
        self.results.sheet.stop()
        self._cancel()

    def _cancel(self) -> None:
        trials, self.trials = self.trials, []
        for trial in trials:
            for run in trial.runs:
                run.cancel()

    def _may_be_truth(self, field: Field) -> bool:
        """Return whether true stains may be those of the image: they have its size."""
        image = self.image.field
        layer = None if image is None else image.brightfield
        true = field.with_role("truth")
        return layer is not None and bool(true) and _size(true[0][0]) == _size(layer)

    def _arrange(self) -> None:
        self.image.setToolTip("Its part in view is tried")
        rows = form()
        rows.addRow("Image", self.image)
        rows.addRow("True", self.truth)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(rows)
        column.addWidget(self.start)
        column.addWidget(self.results)


def middle_of(region: Region, most: int) -> Region:
    """Return the middle of a region, at most so many pixels high and wide.

    Examples
    --------
    >>> middle_of((0, 100, 2000, 400), 1000)
    (500, 100, 1500, 400)
    """
    top, left, bottom, right = region
    down, along = max(0, bottom - top - most), max(0, right - left - most)
    top, left = top + down // 2, left + along // 2
    return (top, left, min(bottom, top + most), min(right, left + most))


def _crop_of(layer: Image, at: tuple[int, ...], region: Region) -> Any:
    finest = layer.data[0] if layer.multiscale else layer.data
    top, left, bottom, right = region
    return lambda: np.asarray(finest[at][top:bottom, left:right])


def _size(layer: Image) -> tuple[int, ...]:
    finest = layer.data[0] if layer.multiscale else layer.data
    return tuple(finest.shape[-2:])
