"""A network learns treatments from pictures of some wells, and is asked of those of others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.datasets.labelled import LabelledPicture, label_up
from napari_virtualstain.embedding.crops import central_crops
from napari_virtualstain.encoders.base import Classifier
from napari_virtualstain.encoders.package import EncoderModel
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.intensity import Rule
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.labelled_images import PictureData
from napari_virtualstain.jobs.train import TrainSettings
from napari_virtualstain.jobs.train_encoder import train_on_pictures
from napari_virtualstain.zoo import load_encoder

if TYPE_CHECKING:
    from napari_virtualstain.jobs.recognise import RecogniseSettings

__all__ = ["guess_by_folds"]

_CROPS = 3
"""Crops along each axis of a picture that is asked: their mean is the answer."""


def guess_by_folds(
    taught: Sequence[LabelledPicture],
    asked: Mapping[str, Sequence[LabelledPicture]],
    folds: NDArray[np.int64],
    channels: Sequence[str],
    settings: RecogniseSettings,
    *,
    told: Callable[[int, int], None],
) -> dict[str, tuple[list[str], NDArray[np.float64]]]:
    """Return what each picture is taken for by a network that its fold did not teach.

    Parameters
    ----------
    taught
        Pictures that teach, all with a label.
    asked
        By source: a picture of the same field and label for each that teaches.
    folds
        Of each picture.
    channels
        Names.
    settings
        Of the run.
    told
        Called with steps done and all.

    Returns
    -------
    dict
        By source: the class of each picture, and the probability of its true class.

    Raises
    ------
    VirtualStainError
        If pictures are too small, or not whole.
    """
    n_folds = int(folds.max()) + 1
    found: dict[str, tuple[list[str], NDArray[np.float64]]] = {
        source: ([""] * len(taught), np.zeros(len(taught))) for source in asked
    }
    for fold in range(n_folds):
        teach = [taught[n] for n in np.flatnonzero(folds != fold).tolist()]

        def on_step(done: int, total: int, _what: str = "", fold: int = fold) -> None:
            told(fold * total + done, n_folds * total)

        with tempfile.TemporaryDirectory(prefix="virtualstain-") as folder:
            out = Path(folder) / f"fold-{fold}"
            training = make_settings(TrainSettings, {
                "out": str(out), "encoder": "resnet", "preset": settings.preset, "together": True,
                "steps": settings.steps, "batch": settings.batch, "patch": settings.patch,
                "seed": settings.seed + fold, "device": settings.device, "validation": 0.0,
                "label": settings.label, "normalise_stains_on": settings.normalise_on,
            })  # fmt: skip
            data = PictureData(
                pictures=teach, channels=tuple(channels), label=settings.label,
                card={"data": f"{len(teach)} pictures"},
            )  # fmt: skip
            train_on_pictures(data, training, on_progress=on_step)
            model = load_encoder(str(out))
        rows = np.flatnonzero(folds == fold)
        for source, pictures in asked.items():
            for row in rows.tolist():
                scores = _scores(model, pictures[row], channels, settings)
                names = model.card.classes
                label = cast(str, pictures[row].label)
                found[source][0][row] = names[int(scores.argmax())]
                known = names.index(label) if label in names else -1
                found[source][1][row] = scores[known] if known >= 0 else 0.0
    return found


def _scores(
    model: EncoderModel, picture: LabelledPicture, channels: Sequence[str],
    settings: RecogniseSettings,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the mean probabilities of the crops of a picture.

    Grey values are read as the network learnt to read them: by the numbers of the pictures that
    taught it, or by its own.
    """
    stored = [channel.normalisation for channel in model.card.channels]
    known = [one for one in stored if one is not None]
    try:
        ready = label_up(
            [picture], channels=channels, per_channel=False, label="", rule=Rule(),
            normalise_on="set" if known else "field", stored=known or None,
        )  # fmt: skip
    except PixelDataError as error:
        raise PixelDataError(
            f"{picture.name} cannot be asked: {error} Leave it out with --scene."
        ) from error
    places = central_crops(ready.shape(0), settings.patch, per_axis=_CROPS)
    crops = np.stack([ready.read(0, place) for place in places])
    classifier = cast(Classifier, model.encoder)
    mean: NDArray[np.float64] = classifier.scores(crops).mean(axis=0, dtype=np.float64)
    return mean
