"""What does an encoder see in one field? Its crops are read and looked at channel by channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize, Region
from napari_virtualstain.datasets.statistics import image_statistics
from napari_virtualstain.embedding.crops import central_crops
from napari_virtualstain.embedding.profiles import median_of_crops
from napari_virtualstain.encoders.base import Classifier
from napari_virtualstain.encoders.given import normalisations_for, pictures_for
from napari_virtualstain.encoders.package import EncoderModel
from napari_virtualstain.errors import (
    AxesError,
    ChannelError,
    PixelDataError,
    PixelSizeError,
    SettingsError,
)
from napari_virtualstain.inference.resample import (
    resample_region,
    resampled_length,
    source_region,
)
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.embed_channels import channel_in, channels_of
from napari_virtualstain.jobs.rescale import LARGEST_RATIO, PIXEL_TOLERANCE, off_by

if TYPE_CHECKING:
    from napari_virtualstain.jobs.embed import EmbedSettings

__all__ = ["FieldEncoder", "FieldPart", "Seen"]

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What an encoder sees in a field.

    Parameters
    ----------
    features
        (channels * dim,), or (dim,) where all channels go in together; NaN of a channel that is
        missing.
    scores
        Of a classifier: (channels, classes) or (1, classes) probabilities, else `None`.
    missing
        Why a channel has no features, a sentence each.
    """

    features: NDArray[np.float64]
    scores: NDArray[np.float64] | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldPart:
    """A part of a field as an encoder of planes is given it.

    Parameters
    ----------
    pictures
        By name of the channel, or of all of them joined by ``+`` where they go in together:
        normalised (in_channels, Y, X).
    region
        Which part, on the grid of the encoder.
    ratios
        Pixels of the encoder over those of the image (y, x), `None` where they are alike.
    image
        The plane that is looked at.
    """

    pictures: dict[str, Pixels]
    region: Region
    ratios: tuple[float, ...] | None
    image: LazyImage


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldEncoder:
    """An encoder and how it looks at every field; see `FieldEncoder.for_image`.

    Parameters
    ----------
    model
        Card and network.
    settings
        Of the run.
    channels
        Names of what it is given: those of the card, or where that has none, of the first image.
    edges
        Of a crop in pixels of the network.
    notes
        What was chosen without being told, a sentence each.
    """

    model: EncoderModel
    settings: EmbedSettings
    channels: tuple[str, ...]
    edges: tuple[int, ...]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def for_image(
        cls, model: EncoderModel, settings: EmbedSettings, image: LazyImage
    ) -> FieldEncoder:
        """Return how fields are looked at, settled on the first of them.

        Raises
        ------
        SettingsError, ChannelError
            If crops or channels do not fit the encoder.
        """
        card, encoder = model.card, model.encoder
        edges = card.crop_px if settings.crop is None else (settings.crop,) * encoder.ndim
        if any(e % encoder.multiple_of or e < encoder.smallest for e in edges):
            raise SettingsError(
                f"The encoder {card.name!r} cannot look at crops of {settings.crop} px: edges must "
                f"be divisible by {encoder.multiple_of}, from {encoder.smallest} px. Choose such a "
                "--crop, or leave it out."
            )
        found = cls(
            model=model,
            settings=settings,
            channels=channels_of(card, settings.channels, image),
            edges=tuple(edges),
        )
        for wanted in found.channels:
            name = found._channel(image, wanted)
            if name.casefold() != wanted.casefold():
                found.notes.append(f"the channel {name!r} is taken as {wanted!r}")
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        blocks = self.channels if self.model.card.per_channel else ("Embedding",)
        digits = max(3, len(str(self.model.encoder.dim - 1)))
        return tuple(
            f"{block}_{number:0{digits}}"
            for block in blocks
            for number in range(self.model.encoder.dim)
        )

    def _channel(self, image: LazyImage, wanted: str) -> str:
        return channel_in(image, wanted, card=self.model.card, match=self.settings.match)

    def look(self, image: LazyImage) -> Seen:
        """Look at a field; no more than the crops of one channel are in memory.

        Raises
        ------
        PixelDataError
            If the field is smaller than a crop, or has none of the channels.
        PixelSizeError
            If its pixels are not those of the encoder.
        AxesError, ChannelError
            If there is no such time point or z plane.
        """
        if not self._knows(image):
            raise PixelDataError(
                f"It has none of the channels {', '.join(self.channels)}, but "
                f"{', '.join(image.channel_names)}. Choose other images with --scene."
            )
        image = self._planes(image)
        ratios = self._ratios(image.pixel_size_um)
        crops = self._crops(image, ratios)
        missing: list[str] = []
        if self.model.card.per_channel:
            looks = [self._of([one], image, crops, ratios, missing) for one in self.channels]
        else:
            looks = [self._of(self.channels, image, crops, ratios, missing)]
        return Seen(
            features=np.concatenate([features for features, _ in looks]),
            scores=(
                np.stack([scores for _, scores in looks])
                if isinstance(self.model.encoder, Classifier) and self.model.card.classes
                else None
            ),
            missing=tuple(missing),
        )

    def part(self, image: LazyImage, region: Region | None = None) -> FieldPart:
        """Return a part of a field as an encoder of planes is given it, cut to what it can take.

        Parameters
        ----------
        image
            The field, whose grey values normalise the part.
        region
            Which, in pixels of the image, inside it; all of it if `None`.

        Raises
        ------
        PixelDataError
            If the part is smaller than what the encoder takes, or pixels are missing.
        PixelSizeError, AxesError, ChannelError
            As of `look`.
        """
        image = self._planes(image)
        ratios = self._ratios(image.pixel_size_um)
        shape, multiple = image.shape[3:], self.model.encoder.multiple_of
        wanted = region or tuple(slice(0, n) for n in shape)
        scale = ratios or (1.0, 1.0)
        starts = [round(part.start / ratio) for part, ratio in zip(wanted, scale, strict=True)]
        lengths = [
            resampled_length(part.stop - part.start, ratio)
            for part, ratio in zip(wanted, scale, strict=True)
        ]
        if min(lengths) < self.model.encoder.smallest:
            raise PixelDataError(
                f"The picture has {lengths[0]} x {lengths[1]} px for the encoder "
                f"{self.model.card.name!r}, which looks at {self.model.encoder.smallest} px at "
                "least. Choose a larger picture or --region."
            )
        cut = tuple(
            slice(start, start + length // multiple * multiple)
            for start, length in zip(starts, lengths, strict=True)
        )
        source = cut if ratios is None else source_region(cut, ratios, shape)
        groups = (
            [(name,) for name in self.channels] if self.model.card.per_channel else [self.channels]
        )
        found = {}
        for names in groups:
            planes = []
            for name in names:
                channel = image.select([self._channel(image, name)])
                planes.append(self._reader(channel, name, [(source, cut)], ratios)(0))
            pictures = pictures_for(self.model.card, np.stack(planes))
            if not np.isfinite(pictures).all():
                raise PixelDataError(
                    f"{' and '.join(names)}: pixels are missing (NaN). Choose another --region."
                )
            found["+".join(names)] = pictures[0]
        return FieldPart(pictures=found, region=cut, ratios=ratios, image=image)

    def _knows(self, image: LazyImage) -> bool:
        """Return whether an image has any of the channels."""
        for wanted in self.channels:
            try:
                self._channel(image, wanted)
            except ChannelError:
                continue
            return True
        return False

    def _planes(self, image: LazyImage) -> LazyImage:
        """Return the time point and the planes that are looked at."""
        t, z = self.settings.t, self.settings.z
        depth = image.shape[2]
        if t >= image.shape[0]:
            raise AxesError(
                f"Time point {t} is asked for, and the image has {image.shape[0]}. Choose another "
                "with --t."
            )
        if self.model.encoder.ndim == 3:
            return image
        plane = depth // 2 if z is None else z
        if depth > 1 and z is None:
            note = f"of {depth} z planes, the middle one ({plane}) is looked at; choose with --z"
            if note not in self.notes:
                self.notes.append(note)
        return image.select(z=[plane])

    def _ratios(self, found: PixelSize) -> tuple[float, ...] | None:
        """Return pixels of the network over those of the image, `None` where they are alike."""
        wanted, settings = self.model.card.pixel_size_um, self.settings
        own = settings.pixel_size
        y, x = own or found.y, own or found.x
        if wanted is None or y is None or x is None:
            if settings.resample:
                raise PixelSizeError(
                    "The pixel size of image or encoder is not known, so that nothing can be "
                    "resampled. State that of the images with --pixel-size, or leave out "
                    "--resample."
                )
            return None
        ratios = (wanted / y, wanted / x)
        far = not 1 / LARGEST_RATIO <= min(ratios) <= max(ratios) <= LARGEST_RATIO
        off = off_by(ratios)
        if settings.resample and not far:
            flat = (1.0,) * (self.model.encoder.ndim - 2)
            return None if off < 1e-6 else (*flat, *ratios)
        if off > PIXEL_TOLERANCE:
            more = "Correct" if far else "Add --resample, or correct"
            raise PixelSizeError(
                f"The image has {y:g} x {x:g} µm pixels, the encoder was trained at {wanted:g} µm "
                f"({off:.0%} off, allowed {PIXEL_TOLERANCE:.0%}). {more} that of the images with "
                "--pixel-size."
            )
        return None

    def _crops(
        self, image: LazyImage, ratios: tuple[float, ...] | None
    ) -> list[tuple[Region, Region]]:
        """Return what is read of each crop, and the crop on the grid of the network."""
        shape = image.shape[-self.model.encoder.ndim :]
        scene = image.source.scene
        what, per_axis = f"The image {scene!r}" if scene else "The image", self.settings.crops
        if ratios is None:
            crops = central_crops(shape, self.edges, per_axis=per_axis, what=what)
            return [(crop, crop) for crop in crops]
        new = tuple(resampled_length(n, ratio) for n, ratio in zip(shape, ratios, strict=True))
        what += ", resampled,"
        crops = central_crops(new, self.edges, per_axis=per_axis, what=what)
        return [(source_region(crop, ratios, shape), crop) for crop in crops]

    def _of(
        self,
        channels: Sequence[str],
        image: LazyImage,
        crops: list[tuple[Region, Region]],
        ratios: tuple[float, ...] | None,
        missing: list[str],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return features and scores of some channels that go in together."""
        encoder, card = self.model.encoder, self.model.card
        nothing = np.full(encoder.dim, np.nan), np.full(max(encoder.classes, 1), np.nan)
        pixels: list[Callable[[int], Pixels]] = []
        for name in channels:
            try:
                channel = image.select([self._channel(image, name)])
                pixels.append(self._reader(channel, name, crops, ratios))
            except (ChannelError, PixelDataError) as error:
                missing.append(f"{name}: {error}")
                return nothing
        given = np.concatenate(
            [pictures_for(card, np.stack([read(n) for read in pixels])) for n in range(len(crops))]
        )
        if not np.isfinite(given).all():
            missing.append(f"{channels[0]}: pixels are missing (NaN)")
            return nothing
        features = median_of_crops(encoder.features(given))
        if not (isinstance(encoder, Classifier) and card.classes):
            return features, nothing[1]
        return features, np.asarray(encoder.scores(given), np.float64).mean(axis=0)

    def _reader(
        self,
        image: LazyImage,
        name: str,
        crops: list[tuple[Region, Region]],
        ratios: tuple[float, ...] | None,
    ) -> Callable[[int], Pixels]:
        """Return what reads and normalises crops of one channel; refuse one without data."""
        t = self.settings.t
        if any(when == t for when, _, _ in image.missing):
            raise PixelDataError("a plane is missing")
        normalisation = self._normalisation(image, name)

        def read(number: int) -> Pixels:
            source, crop = crops[number]
            # A region of planes is one of a volume with one plane.
            window = (slice(0, 1),) * (3 - len(source)) + source
            block = image.read((slice(t, t + 1), slice(0, 1), *window))[0, 0]
            pixels = normalisation.apply(block.reshape(block.shape[-len(source) :]))
            return pixels if ratios is None else resample_region(pixels, source, crop, ratios)

        return read

    def _normalisation(self, image: LazyImage, name: str) -> Normalisation:
        card = self.model.card
        stored = {one.name: one.normalisation for one in card.channels}.get(name)
        known = stored or card.normalisation
        if known is not None:
            return known
        quantiles = card.input_rule.quantiles
        (of_time,) = image_statistics(
            image, times=[self.settings.t], quantiles=quantiles, stacked=True
        )
        return normalisations_for(card, [name], [of_time[0][0]])[0]
