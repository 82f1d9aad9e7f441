"""What is asked of the simulator: size, cells, optics and camera of a field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.simulate.phenotypes import get_phenotype

__all__ = ["STAINS", "FieldSettings"]

STAINS: Final = ("DNA", "ER", "RNA", "AGP", "Mito")
_SIXTH: Final = "Tubulin"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSettings:
    """Everything but the seed that decides a simulated field.

    Parameters
    ----------
    shape_px : tuple of int
        (Y, X) of the field; any size from 16 px.
    pixel_size_um : float or tuple of float
        Pixel size, one number or (y, x).
    focus_offsets_um : tuple of float
        Bright-field planes relative to focus, in the order of the Z axis.
    phenotype : str
        A name of `PHENOTYPES`.
    density_per_mm2 : float
        Cells per square millimetre, used when `n_cells` is None.
    n_cells : int, optional
        So many cells with their centre in the field; 0 is an empty well.
    timepoints : int
        Length of the T axis.
    stain_offsets_um : tuple of float, optional
        Planes of a stain stack relative to focus; None takes one camera image.
    six_stains : bool
        Whether to add the sixth stain, Tubulin.
    illumination : float
        Half of the relative unevenness of the lamp; the stains get a third of it.
    focus_error_um : float
        By how much the autofocus missed, for every plane and stain alike.
    condenser_na : float
        Numerical aperture of the condenser.
    tilt_na : tuple of float
        How far (y, x) the illumination is off the axis, as through a meniscus.
    debris : float
        Amount of dust, floating particles and uneven coating; 0 is clean.
    noise : float
        1 is shot and read noise of a good camera, 0 none.

    Raises
    ------
    SettingsError, UnknownNameError
        If a value is out of its range, or the phenotype is not registered.
    """

    shape_px: tuple[int, int] = (512, 512)
    pixel_size_um: float | tuple[float, float] = 0.6
    focus_offsets_um: tuple[float, ...] = (-4.0, 0.0, 4.0)
    phenotype: str = "control"
    density_per_mm2: float = 450.0
    n_cells: int | None = None
    timepoints: int = 1
    stain_offsets_um: tuple[float, ...] | None = None
    six_stains: bool = False
    illumination: float = 0.15
    focus_error_um: float = 0.0
    condenser_na: float = 0.25
    tilt_na: tuple[float, float] = (0.0, 0.0)
    debris: float = 1.0
    noise: float = 1.0

    def __post_init__(self) -> None:
        """Check the values."""
        get_phenotype(self.phenotype)
        checks = {
            "shape_px": (min(self.shape_px) >= 16, "two numbers from 16 px"),
            "pixel_size_um": (
                all(0.05 <= p <= 5.0 for p in self.pixel_yx_um),
                "between 0.05 and 5 micrometres",
            ),
            "focus_offsets_um": (len(self.focus_offsets_um) > 0, "at least one offset"),
            "stain_offsets_um": (
                self.stain_offsets_um is None or len(self.stain_offsets_um) > 0,
                "None or at least one offset",
            ),
            "density_per_mm2": (0 <= self.density_per_mm2 <= 3000, "between 0 and 3000"),
            "n_cells": (self.n_cells is None or self.n_cells >= 0, "None, 0 or more"),
            "timepoints": (self.timepoints >= 1, "1 or more"),
            "illumination": (0 <= self.illumination < 0.9, "from 0 to below 0.9"),
            "condenser_na": (0 < self.condenser_na <= 0.45, "above 0, up to 0.45"),
            "tilt_na": (
                float(np.hypot(*self.tilt_na)) + self.condenser_na <= 0.6,
                "a tilt that together with condenser_na stays below 0.6",
            ),
            "debris": (0 <= self.debris <= 20, "between 0 and 20"),
            "noise": (self.noise >= 0, "0 or more"),
        }
        for name, (fine, needed) in checks.items():
            if not fine:
                raise SettingsError(
                    f"FieldSettings({name}={getattr(self, name)!r}) is out of range; "
                    f"needed {needed}. Choose such a value, or leave {name} out for the default."
                )

    @property
    def pixel_yx_um(self) -> tuple[float, float]:
        """The pixel size as (y, x) in micrometres."""
        if isinstance(self.pixel_size_um, tuple):
            return self.pixel_size_um
        return (self.pixel_size_um, self.pixel_size_um)

    @property
    def stain_names(self) -> tuple[str, ...]:
        """The names of the stains, in the order of the C axis."""
        return (*STAINS, _SIXTH) if self.six_stains else STAINS
