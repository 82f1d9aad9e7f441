"""How microscopes and people name the files of an image: one module a layout.

A layout is registered by description and reads names only, never pixels. The
first that claims a folder describes it. Modules that are not registered here
read an index or a table that comes with the files.
"""

from __future__ import annotations

from napari_virtualstain.io.layouts.base import FolderPlan, Layout, Plane
from napari_virtualstain.io.layouts.imagexpress import IMAGEXPRESS
from napari_virtualstain.io.layouts.incucyte import INCUCYTE
from napari_virtualstain.io.layouts.isl import ISL
from napari_virtualstain.io.layouts.lightmycells import LIGHT_MY_CELLS
from napari_virtualstain.io.layouts.phenix_names import PHENIX_NAMES
from napari_virtualstain.io.layouts.pie import PIE
from napari_virtualstain.io.layouts.tokens import TOKENS
from napari_virtualstain.io.layouts.yokogawa import YOKOGAWA

__all__ = ["LAYOUTS", "FolderPlan", "Layout", "Plane"]

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        ISL,
        PHENIX_NAMES,
        YOKOGAWA,
        INCUCYTE,
        LIGHT_MY_CELLS,
        PIE,
        IMAGEXPRESS,
        TOKENS,
    )
}
"""The layouts that names alone tell, the most specific first."""
