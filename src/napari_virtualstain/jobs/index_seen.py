"""How is an image held against an index? Its patches, prepared as for a stain of the whole field.

The planes, the grey values that normalise them and the pixel size are those of a stain, so that a
field that is merely brighter is no other field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.embedding.familiar import TrainingIndex
from napari_virtualstain.embedding.index_file import INDEX_FILE, read_index
from napari_virtualstain.errors import ModelPackageError, SettingsError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.registry import get_spec
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.index_patches import PatchGrid, middle_planes
from napari_virtualstain.jobs.prepare import InputSettings

if TYPE_CHECKING:
    from napari_virtualstain.generators.package import Model
    from napari_virtualstain.inference.deepest import PatchReader
    from napari_virtualstain.inference.stainer import Stainer

__all__ = [
    "NO_INDEX",
    "SeenField",
    "fitting_index",
    "place_of_index",
    "recorded_settings",
    "see_field",
    "weights_file",
]

NO_INDEX = "the model carries no index of its training data; add one with `virtualstain index`"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenField:
    """One image, as a network is shown it.

    Parameters
    ----------
    model
        Loaded.
    stainer
        Reads its normalised planes.
    reader
        Of the network.
    ratios
        Pixels of the network over those of the image (y, x), `None` where they are alike.
    notes
        What was guessed.
    """

    model: Model
    stainer: Stainer
    reader: PatchReader
    ratios: tuple[float, float] | None
    notes: tuple[str, ...] = field(default=())

    @property
    def grid(self) -> PatchGrid:
        """Its patches."""
        y, x = self.stainer.grid
        return PatchGrid((y, x), self.reader.edge)

    def read(self, t: int, region: Region) -> NDArray[np.float32]:
        """Return normalised planes (P, *S) of a region of Y and X, as the reader takes them."""
        planes = self.stainer.planes(t, region)
        if len(self.reader.shape) == 2:
            return planes
        stack: NDArray[np.float32] = planes[middle_planes(len(planes), self.reader)][None]
        return stack

    def around(self, t: int, at: tuple[int, int]) -> NDArray[np.float32]:
        """Return the features (F,) of the patch around a pixel of the network's grid."""
        grid = self.grid
        y, x = (
            max(0, min(place - grid.edge // 2, n - grid.edge))
            for place, n in zip(at, grid.shape, strict=True)
        )
        planes = self.read(t, (slice(y, y + grid.edge), slice(x, x + grid.edge)))
        features: NDArray[np.float32] = self.reader.read(planes[None])[0]
        return features


def see_field(
    settings: InputSettings,
    image: LazyImage | None,
    *,
    times: list[int] | None = None,
    known: dict[str, PatchReader] | None = None,
) -> SeenField:
    """Prepare an image for being held against an index; the network stays on the processor.

    Parameters
    ----------
    settings
        Which image and model; what is drawn or asked beside does not matter.
    image
        Opened already.
    times
        Points that are looked at; all if `None`.
    known
        Readers of models that were seen before, by their weights; added to.

    Raises
    ------
    VirtualStainError
        If image and model do not fit, or the network shows no features.
    """
    from napari_virtualstain.inference.deepest import patch_reader
    from napari_virtualstain.jobs.explain_probe import prepared_for_crops
    from napari_virtualstain.jobs.grey_values import grey_values
    from napari_virtualstain.jobs.stain_network import stainer_of

    plain = {"device": "cpu", "draws": 1, "views": 1, "interval": False, "quantiles": ()}
    settings = settings.model_copy(update={**plain, "precision": "float32"})
    prepared = prepared_for_crops(settings, image, [])
    readers = {} if known is None else known
    key = prepared.model.fingerprint
    if key not in readers:
        readers[key] = patch_reader(prepared.predicted.generator, depth=prepared.depth)
    wanted = list(range(prepared.planes.image.shape[0])) if times is None else times
    fitted = grey_values(settings, prepared).fit(wanted)
    return SeenField(
        model=prepared.predicted, stainer=stainer_of(prepared, fitted), reader=readers[key],
        ratios=prepared.ratios, notes=prepared.notes,
    )  # fmt: skip


def place_of_index(index: str | None, model: Path | None) -> Path | None:
    """Return where the index lies: as named, else beside the card; `None` if nowhere."""
    if index is not None:
        return Path(index)
    beside = None if model is None else model / INDEX_FILE
    return beside if beside is not None and beside.is_file() else None


def weights_file(card: ModelCard) -> str:
    """Return the sha256 of the weights of a model."""
    return card.files.get(get_spec(card.generator).weights, "")


def fitting_index(path: Path, card: ModelCard, reader: PatchReader) -> TrainingIndex:
    """Read an index, and refuse that of another network.

    Raises
    ------
    ModelPackageError, SettingsError
        If it cannot be read, or is of other weights.
    """
    index = read_index(path)
    if index.weights != weights_file(card):
        raise SettingsError(
            f"The index '{path}' is of other weights ({index.model}) than the model "
            f"{card.name!r}. Make one of this model with `virtualstain index`."
        )
    if (index.layer, index.patch) != (reader.layer, reader.shape):
        raise ModelPackageError(
            f"The index '{path}' is of other patches than this version looks at. Make it again "
            "with `virtualstain index --overwrite`."
        )
    return index


def recorded_settings(asked: Mapping[str, Any], **values: Any) -> InputSettings:
    """Return the settings of an image whose stain has a record.

    Parameters
    ----------
    asked
        Settings of that run.
    **values
        What is known better.
    """
    names = {"scene", "channel", "z", "z_step", "focus_measure", "focus_direction", "axes",
             "pattern", "pixel_size", "illumination", "normalise_on", "resample"}  # fmt: skip
    chosen = {name: value for name, value in asked.items() if name in names and value is not None}
    return InputSettings.model_validate({**chosen, **values})
