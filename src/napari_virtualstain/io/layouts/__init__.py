"""How microscopes and people name the files of an image: one module a layout.

A layout is registered by description and reads names only, never pixels. The
first that claims a folder describes it.
"""

from __future__ import annotations

from napari_virtualstain.io.layouts.base import FolderPlan, Layout, Plane
from napari_virtualstain.io.layouts.isl import ISL
from napari_virtualstain.io.layouts.pie import PIE
from napari_virtualstain.io.layouts.tokens import TOKENS
from napari_virtualstain.io.layouts.yokogawa import YOKOGAWA

__all__ = ["LAYOUTS", "FolderPlan", "Layout", "Plane"]

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (ISL, YOKOGAWA, PIE, TOKENS)}
"""The layouts that names alone tell, the most specific first."""
