"""What an encoder is taught, and how it is examined: views, or crops with their class.

Tasks of the training loop (`training.loop`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_virtualstain.datasets.labelled import LabelledSet
from napari_virtualstain.embedding.crops import central_crops
from napari_virtualstain.embedding.profiles import median_of_crops
from napari_virtualstain.embedding.retrieval import retrieve
from napari_virtualstain.encoders.base import Classifier, Encoder
from napari_virtualstain.encoders.given import repeated
from napari_virtualstain.encoders.learning import Labelled, Views
from napari_virtualstain.losses.descent import Learner
from napari_virtualstain.metrics.classification import confusion
from napari_virtualstain.training.loop import Examination
from napari_virtualstain.training.settings import LoopSettings, ViewSettings, learning_settings
from napari_virtualstain.training.views import Sampler, check_pictures, draw_crops, draw_views

__all__ = ["Classifying", "Viewing"]

Pixels = NDArray[np.float32]
_TINY = 1e-12
_PAIR = 2
"""Pictures that can be compared."""


class _Seeing:
    """What both tasks share.

    Parameters
    ----------
    encoder
        With the weights to start from.
    train, validation
        Pictures.
    settings
        Of the training.
    crop
        Edges of what it sees, in pixels.
    """

    score = "validation"

    def __init__(
        self,
        encoder: Encoder,
        train: LabelledSet,
        validation: LabelledSet | None,
        settings: LoopSettings,
        crop: tuple[int, ...],
    ) -> None:
        self._encoder, self._train, self._validation = encoder, train, validation
        self._settings, self._crop = settings, crop
        self._sampler = Sampler.of(train)
        self.seen_a_step = settings.batch / len(train.examples)
        self._told = learning_settings(encoder.learning, settings)

    def module(self) -> nn.Module:
        """Return the encoder's network."""
        return self._encoder.module()

    def learner(self, devices: Sequence[str]) -> Learner:
        """Return what teaches it."""
        self._encoder.module().to(devices[0])
        return self._encoder.learner(self._told)

    def _given(self, pixels: Pixels, device: str) -> torch.Tensor:
        return torch.from_numpy(repeated(pixels, self._encoder.in_channels)).to(device)

    def _middle(self, pictures: LabelledSet, example: int) -> Pixels:
        """Return the central crops of an example, (N, in_channels, *crop)."""
        crops = [
            pictures.read(example, region)
            for region in central_crops(pictures.shape(example), self._crop)
        ]
        return repeated(np.stack(crops), self._encoder.in_channels)


class Viewing(_Seeing):
    """Learn to see alike in views that show the same; see `training.loop.Task`.

    Parameters
    ----------
    encoder, train, validation, settings, crop
        See `_Seeing`; ``crop`` is a wide view.
    views
        How many small views, and how large all are.
    weak
        Whether small views are of another picture with the same label.

    Raises
    ------
    SettingsError
        If pictures are smaller than a view, or a class has too few.
    """

    names: tuple[str, ...] = ("NSC",)

    def __init__(
        self,
        encoder: Encoder,
        train: LabelledSet,
        settings: LoopSettings,
        *,
        validation: LabelledSet | None,
        crop: tuple[int, ...],
        views: ViewSettings,
        weak: bool,
    ) -> None:
        for pictures in (train, *(() if validation is None else (validation,))):
            check_pictures(pictures, crop=crop, option="--patch", pairs=weak and pictures is train)
        super().__init__(encoder, train, validation, settings, crop)
        self._views, self._weak = views, weak

    def draw(self, *, step: int) -> tuple[Pixels, Pixels]:
        """Return wide and narrow views, (W, B, C, Y, X) each."""
        settings = self._settings
        return draw_views(
            self._train, self._sampler, step=step, batch=settings.batch, edge=self._crop[-1],
            views=self._views, weak=self._weak, augment=settings.augment, seed=settings.seed,
        )  # fmt: skip

    def batch(self, drawn: tuple[Pixels, Pixels], device: str) -> Views:
        """Return the same on the device."""
        wide, narrow = (tuple(self._given(view, device) for view in views) for views in drawn)
        return Views(wide, narrow)

    def examine(self) -> Examination | None:
        """Ask whether the nearest other picture, by the features, has the same label."""
        pictures = self._validation
        if pictures is None or any(one.label is None for one in pictures.examples):
            return None
        features = np.stack(
            [
                median_of_crops(self._encoder.features(self._middle(pictures, example)))
                for example in range(len(pictures.examples))
            ]
        )
        # What one channel shows is compared with the same channel of other pictures.
        found = []
        for channel in dict.fromkeys(one.channel for one in pictures.examples):
            of = [n for n, one in enumerate(pictures.examples) if one.channel == channel]
            if len(of) < _PAIR:
                continue
            labels = [pictures.examples[n].label for n in of]
            found.append(retrieve(features[of], labels).accuracy)
        accuracy = float(np.mean(found)) if found else float("nan")
        return Examination(loss=1 - accuracy, scores=(accuracy,))


class Classifying(_Seeing):
    """Learn which class a crop is of; see `training.loop.Task`.

    Parameters
    ----------
    encoder, train, validation, settings, crop
        See `_Seeing`.

    Raises
    ------
    SettingsError
        If pictures are smaller than a crop.
    """

    names: tuple[str, ...] = ("accuracy", "F1")

    def __init__(
        self,
        encoder: Classifier,
        train: LabelledSet,
        settings: LoopSettings,
        *,
        validation: LabelledSet | None,
        crop: tuple[int, ...],
    ) -> None:
        for pictures in (train, *(() if validation is None else (validation,))):
            check_pictures(pictures, crop=crop, option="--patch")
        super().__init__(encoder, train, validation, settings, crop)
        self._classifier = encoder

    def draw(self, *, step: int) -> tuple[Pixels, NDArray[np.int64]]:
        """Return crops (B, C, *S) and their classes (B,)."""
        settings = self._settings
        return draw_crops(
            self._train, self._sampler, step=step, batch=settings.batch, crop=self._crop,
            augment=settings.augment, seed=settings.seed,
        )  # fmt: skip

    def batch(self, drawn: tuple[Pixels, NDArray[np.int64]], device: str) -> Labelled:
        """Return the same on the device."""
        pixels, classes = drawn
        return Labelled(self._given(pixels, device), torch.from_numpy(classes).to(device))

    def examine(self) -> Examination | None:
        """Classify the validation pictures, if there are some."""
        pictures = self._validation
        if pictures is None:
            return None
        probabilities = np.stack(
            [
                self._classifier.scores(self._middle(pictures, example)).mean(axis=0)
                for example in range(len(pictures.examples))
            ]
        )
        truth = np.array([one.label for one in pictures.examples])
        surprise = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], _TINY))
        names = self._train.classes
        report = confusion(
            [names[n] for n in truth], [names[n] for n in probabilities.argmax(axis=1)], names
        )
        return Examination(float(surprise.mean()), (report.accuracy, report.macro_f1))
