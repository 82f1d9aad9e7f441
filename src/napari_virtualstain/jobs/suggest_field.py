"""What is a field like to a model? And how far does the model contradict itself on it.

Parts of the field are prepared as for a stain of all of it, and stained in several views, which
should be one picture (`inference.views`). Of a model that draws, they are draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.embedding.pixel_statistics import pixel_statistics
from napari_virtualstain.encoders.package import EncoderModel
from napari_virtualstain.errors import AxesError, PixelDataError
from napari_virtualstain.generators.sampled import QUICK, draw_sample
from napari_virtualstain.inference.sampled import SampledStainer
from napari_virtualstain.inference.stainer import Stainer
from napari_virtualstain.inference.transfer import arrived
from napari_virtualstain.inference.views import seen_from_all_sides
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.embed import EmbedSettings
from napari_virtualstain.jobs.embed_field import FieldEncoder
from napari_virtualstain.jobs.explain_probe import prepared_for_crops
from napari_virtualstain.jobs.grey_values import grey_values
from napari_virtualstain.jobs.listed_images import ListedImage
from napari_virtualstain.jobs.prepare import InputSettings
from napari_virtualstain.jobs.stain_network import stainer_of
from napari_virtualstain.jobs.suggest import SuggestSettings
from napari_virtualstain.zoo import load_encoder

__all__ = ["FieldLook", "FieldLooker"]

_EDGE = 256
"""Of a part that is looked at, in pixels of the network."""
_ALONG = 2
"""Parts along each axis, of a field that is so large."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldLook:
    """What was seen of a field.

    Parameters
    ----------
    features
        (F,): what it is like.
    doubt
        Mean standard deviation over views, or draws, in standard deviations of the
        training stains.
    content
        How much there is to be seen: standard deviation over pixels of what the model paints, in
        those of the training stains; the mean of stains.
    """

    features: NDArray[np.float64]
    doubt: float
    content: float


class FieldLooker:
    """Looks at fields, one after the other, all alike.

    Parameters
    ----------
    settings
        Of the run.
    """

    def __init__(self, settings: SuggestSettings) -> None:
        self._settings = settings
        self._encoder: EncoderModel | None = None
        self._eye: FieldEncoder | None = None
        if settings.encoder is not None:
            self._encoder = load_encoder(settings.encoder)

    def look(self, one: ListedImage) -> FieldLook:
        """Look at a field.

        Raises
        ------
        VirtualStainError
            If it cannot be opened, or does not fit the model.
        """
        settings = self._settings
        image = one.scene.open().with_gaps()
        if settings.t >= image.shape[0]:
            raise AxesError(
                f"Time point {settings.t} is asked for, and the image has {image.shape[0]}. Choose "
                "another with --t."
            )
        asked = InputSettings(
            input=str(one.path), model=settings.model, channel=settings.channel, z=settings.z,
            pixel_size=settings.pixel_size, resample=settings.resample, device=settings.device,
        )  # fmt: skip
        prepared = prepared_for_crops(asked, image, [])
        inputs = grey_values(asked, prepared).fit([settings.t])
        stainer = stainer_of(prepared, inputs, seed=settings.seed)
        seen, doubts, contents = [], [], []
        for region in _parts(stainer.grid, stainer.typical.reach.multiple_of):
            planes = stainer.planes(settings.t, region)
            if not np.isfinite(planes).all():
                raise PixelDataError("Pixels of it are missing (NaN). Leave the field out.")
            painted, spread = self._stained(stainer, planes)
            doubts.append(float(spread.mean()))
            contents.append(painted.std(axis=tuple(range(1, painted.ndim))).mean())
            seen.append(pixel_statistics(np.concatenate([planes, painted])))
        if self._encoder is None:
            features = np.mean(seen, axis=0)
        else:
            features = self._seen(image, prepared.planes.image.channel_names[0])
        return FieldLook(
            features=features, doubt=float(np.mean(doubts)), content=float(np.mean(contents))
        )

    def _stained(
        self, stainer: Stainer, planes: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and spread (C, *S) each: of several views of a part, or of draws."""
        count = self._settings.views
        if isinstance(stainer, SampledStainer):
            drawn = draw_sample(
                stainer.generator, np.repeat(planes[None], count, axis=0), QUICK,
                seed=self._settings.seed,
            )  # fmt: skip
            return drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
        network = seen_from_all_sides(stainer.network(self._settings.t), count)
        whole = tuple(slice(0, n) for n in planes.shape[1:])
        (found,) = network.predict(planes[None], [whole])
        mean, spread = np.split(arrived(found), 2)
        return mean, spread

    def _seen(self, image: LazyImage, channel: str) -> NDArray[np.float64]:
        """Return what the encoder sees of the bright field."""
        assert self._encoder is not None
        if self._eye is None:
            own = (channel,) if not self._encoder.card.channels else None
            asked = EmbedSettings(
                input="", out="", model=str(self._settings.encoder), channels=own,
                pixel_size=self._settings.pixel_size, resample=self._settings.resample,
                t=self._settings.t, device=self._settings.device,
            )  # fmt: skip
            self._eye = FieldEncoder.for_image(self._encoder, asked, image)
        return self._eye.look(image).features


def _parts(shape: tuple[int, ...], multiple_of: tuple[int, ...]) -> list[Region]:
    """Return where the parts lie, on the grid of the network: spread evenly over the field.

    Examples
    --------
    >>> [(y.start, x.start) for y, x in _parts((1024, 200), (8, 8))]
    [(0, 0), (768, 0)]
    """
    along = []
    for n, stride in zip(shape, multiple_of, strict=True):
        edge = min(_EDGE, n) // stride * stride or stride
        count = min(_ALONG, max(n // edge, 1))
        starts = np.linspace(0, max(n - edge, 0), count).astype(int)
        along.append([slice(int(s), int(s) + edge) for s in starts])
    return [tuple(part) for part in product(*along)]
