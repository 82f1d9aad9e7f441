"""Which field lies where on a simulated plate, what was done to it, and what the plate adds.

Compounds work by a mechanism, which is a phenotype of the simulator, more or less strongly. Every
plate has all compounds in wells drawn at random, and its own lamp, focus, density and staining:
what a plate does to pictures is no hint at the treatment, and a treatment none at the plate. Where
profiles of one mechanism should lie is thus known, as is what an encoder should not look at.

The simulator itself stays as it is frozen: a plate says which fields there are, not what one looks
like.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from math import ceil, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.plate import well_name
from napari_virtualstain.simulate import PHENOTYPES, FieldSettings, Phenotype, simulate_field
from napari_virtualstain.simulate.camera import CAMERA_OFFSET
from napari_virtualstain.simulate.field import SimulatedField

__all__ = ["CONTROL", "MECHANISMS", "PlateField", "PlateSettings", "diluted", "plate_fields"]

CONTROL: Final = "DMSO"
"""Treatment of the wells in which nothing is done."""
MECHANISMS: Final = tuple(name for name in PHENOTYPES if name != "control")
"""What compounds may do: all phenotypes but the untreated."""
_FIRST_SEED: Final = 1_000_000  # beyond all training and held-out fields
_MOST_WELLS: Final = 1536


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateSettings:
    """What decides simulated plates.

    Parameters
    ----------
    wells
        With images, of each plate, filled row by row.
    plates, sites
        Plates, each a batch of its own, and fields of a well.
    mechanisms
        Of `MECHANISMS`.
    compounds
        Of each mechanism; their strengths are spread evenly over `strengths`.
    strengths
        Of the weakest and the strongest compound: 0 does nothing, 1 is the phenotype.
    controls
        Share of the wells with `CONTROL`.
    nuisance
        How different plates are: 0 alike, 1 as between days of one laboratory.
    shape_px, pixel_size_um
        Of a field.
    seed
        Decides all that is random.

    Raises
    ------
    SettingsError
        If a value is out of its range, or the compounds do not fit onto a plate.
    """

    wells: int = 24
    plates: int = 2
    sites: int = 2
    mechanisms: tuple[str, ...] = MECHANISMS
    compounds: int = 2
    strengths: tuple[float, float] = (0.6, 1.2)
    controls: float = 0.25
    nuisance: float = 1.0
    shape_px: tuple[int, int] = (256, 256)
    pixel_size_um: float = 0.6
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        counts = {n: getattr(self, n) for n in ("wells", "plates", "sites", "compounds")}
        for name, value in counts.items():
            if value < 1:
                raise SettingsError(f"A plate needs 1 or more {name}, got {value}. Give more.")
        unknown = [name for name in self.mechanisms if name not in MECHANISMS]
        if unknown or not self.mechanisms:
            what = (
                f"{unknown[0]!r} is none"
                if unknown
                else "Without a mechanism there are no compounds"
            )
            raise SettingsError(f"{what}. Choose mechanisms among {', '.join(MECHANISMS)}.")
        if not (0 < self.strengths[0] <= self.strengths[1] <= 1.5):
            raise SettingsError(
                f"Strengths must rise from above 0 to at most 1.5, got {self.strengths}. "
                "Use for example (0.6, 1.2)."
            )
        if not 0 <= self.controls < 1 or self.nuisance < 0 or self.seed < 0:
            raise SettingsError(
                f"The share of controls ({self.controls}) must be from 0 to below 1, nuisance "
                f"({self.nuisance}) and seed ({self.seed}) not negative. Choose such values."
            )
        different = len(self.mechanisms) * self.compounds
        if self.wells > _MOST_WELLS or self.wells - self.control_wells < different:
            raise SettingsError(
                f"{different} compounds and {self.control_wells} controls do not fit onto a plate "
                f"of {self.wells} wells. Choose another plate, of up to {_MOST_WELLS} wells, or "
                "fewer compounds or mechanisms."
            )

    @property
    def control_wells(self) -> int:
        """Wells of a plate in which nothing is done."""
        return max(1, round(self.wells * self.controls)) if self.controls else 0

    @property
    def plate_shape(self) -> tuple[int, int]:
        """Rows and columns of the smallest plate, two to three, that has so many wells."""
        side = ceil(sqrt(self.wells / 6))
        return 2 * side, 3 * side


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateField:
    """One field of a plate, not simulated yet.

    Parameters
    ----------
    plate, well, site
        Names; well as in ``"B03"``.
    row, column
        Of the well, from 0.
    treatment
        The compound, or `CONTROL`.
    mechanism
        What it does; ``"control"`` of controls.
    strength
        How strongly, 0 of controls.
    settings, seed
        Of the field.
    lamp
        By which the brightness of the bright field is multiplied.
    stain
        By which that of each stain is.
    """

    plate: str
    well: str
    site: str
    row: int
    column: int
    treatment: str
    mechanism: str
    strength: float
    settings: FieldSettings
    seed: int
    lamp: float
    stain: tuple[float, ...]

    @property
    def control(self) -> bool:
        """Whether nothing was done."""
        return self.treatment == CONTROL

    @property
    def labels(self) -> dict[str, str]:
        """What a table of labels says of it."""
        return {
            "plate": self.plate,
            "well": self.well,
            "site": self.site,
            "treatment": self.treatment,
            "moa": self.mechanism,
            "strength": f"{self.strength:g}",
        }

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names along C of `picture`."""
        planes = [f"Brightfield {z:+g} µm" for z in self.settings.focus_offsets_um]
        return (*planes, *self.settings.stain_names)

    def simulate(self) -> SimulatedField:
        """Return the field with its truth, as lamp and staining of its plate show it."""
        diluted(self.mechanism, self.strength)  # known from here on, also in a process of its own
        field = simulate_field(self.settings, seed=self.seed)
        stain = np.array(self.stain)[:, None, None]
        return replace(
            field,
            brightfield=_counts(_brighter(field.brightfield, self.lamp)),
            stains=_counts(_brighter(field.stains, stain)),
            truth=np.asarray(_brighter(field.truth, stain), np.float32),
        )

    def picture(self) -> NDArray[np.uint16]:
        """Return (C, Y, X): the planes of the bright field, then the stains."""
        field = self.simulate()
        return np.concatenate([field.brightfield[0], field.stains[0]])


def _brighter(
    counts: NDArray[np.uint16] | NDArray[np.float32], gain: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    return (counts - np.float64(CAMERA_OFFSET)) * gain + CAMERA_OFFSET


def _counts(light: NDArray[np.float64]) -> NDArray[np.uint16]:
    return np.clip(np.rint(light), 0, 65535).astype(np.uint16)


def diluted(mechanism: str, strength: float) -> str:
    """Return the name of a phenotype in part, which the simulator knows from then on.

    Each factor is as far from that of an untreated cell as the strength says. The name says all:
    what it stands for never changes.

    Examples
    --------
    >>> PHENOTYPES[diluted("enlarged", 0.5)].cell_radius
    1.125
    >>> diluted("enlarged", 0.0)
    'control'
    """
    if strength in (0.0, 1.0):
        return mechanism if strength else "control"
    name = f"{mechanism}@{strength:g}"
    if name not in PHENOTYPES:
        whole = PHENOTYPES[mechanism]
        factors = {
            one.name: 1 + strength * (getattr(whole, one.name) - 1)
            for one in fields(Phenotype)
            if one.name not in ("name", "summary")
        }
        PHENOTYPES[name] = Phenotype(
            name=name, summary=f"{strength:g} times: {whole.summary}", **factors
        )
    return name


def plate_fields(settings: PlateSettings) -> Iterator[PlateField]:
    """Yield the fields of all plates, well by well; none is simulated before it is asked to.

    Examples
    --------
    >>> first = next(plate_fields(PlateSettings(wells=24, compounds=1, seed=3)))
    >>> first.plate, first.well, first.site, first.settings.shape_px
    ('plate1', 'A01', '1', (256, 256))
    """
    ends = settings.strengths if settings.compounds > 1 else (sum(settings.strengths) / 2,) * 2
    strengths = np.linspace(*ends, settings.compounds).round(2).tolist()
    compounds = [(m, float(s)) for m in settings.mechanisms for s in strengths]
    names = [f"cpd-{number:02d}" for number in range(1, len(compounds) + 1)]
    # Numbers that say nothing: compounds of one mechanism do not stand beside each other.
    order = np.random.default_rng([settings.seed, 78]).permutation(len(compounds))
    treatments = [(name, *compounds[int(one)]) for name, one in zip(names, order, strict=True)]
    number = 0
    for plate in range(settings.plates):
        rng = np.random.default_rng([settings.seed, 79, plate])
        common, lamp, stain = _nuisance(settings, rng)
        treated = settings.wells - settings.control_wells
        layout = [treatments[i % len(treatments)] for i in range(treated)]
        layout += [(CONTROL, "control", 0.0)] * settings.control_wells
        for index, place in enumerate(rng.permutation(settings.wells)):
            row, column = divmod(index, settings.plate_shape[1])
            treatment, mechanism, strength = layout[int(place)]
            for site in range(settings.sites):
                here = replace(
                    common,
                    phenotype=diluted(mechanism, strength),
                    density_per_mm2=common.density_per_mm2 * float(rng.uniform(0.9, 1.1)),
                    focus_error_um=common.focus_error_um + float(rng.uniform(-0.2, 0.2)),
                )
                yield PlateField(
                    plate=f"plate{plate + 1}", well=well_name(row, column), site=str(site + 1),
                    row=row, column=column, treatment=treatment, mechanism=mechanism,
                    strength=strength, settings=here, lamp=lamp, stain=stain,
                    seed=_FIRST_SEED * (settings.seed + 1) + number,
                )  # fmt: skip
                number += 1


def _nuisance(
    settings: PlateSettings, rng: np.random.Generator
) -> tuple[FieldSettings, float, tuple[float, ...]]:
    """Draw what a plate does to all its fields alike."""

    def drawn(typical: float, away: float) -> float:
        return typical + min(settings.nuisance, 1.0) * float(rng.uniform(-away, away))

    length, angle = drawn(0.06, 0.06), float(rng.uniform(0, 2 * np.pi))
    common = FieldSettings(
        shape_px=settings.shape_px,
        pixel_size_um=settings.pixel_size_um,
        density_per_mm2=drawn(480.0, 150.0),
        illumination=drawn(0.15, 0.1),
        focus_error_um=drawn(0.0, 1.0),
        condenser_na=drawn(0.25, 0.03),
        tilt_na=(length * float(np.sin(angle)), length * float(np.cos(angle))),
        debris=drawn(1.1, 0.6),
        noise=drawn(1.05, 0.25),
    )
    spread = 0.35 * settings.nuisance
    lamp, *stain = np.exp(rng.uniform(-spread, spread, 1 + len(common.stain_names))).tolist()
    return common, lamp, tuple(stain)
