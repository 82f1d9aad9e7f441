"""How verbs take a path, an image or an array."""

from __future__ import annotations

import os
from typing import Any

from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image

__all__ = ["opened"]


def opened(source: Any, settings: dict[str, Any]) -> tuple[LazyImage | None, str]:
    """Return an image unless the job can open the path itself, and a name for the record."""
    if isinstance(source, str | os.PathLike):
        return None, os.fspath(source)
    image = (
        source if isinstance(source, LazyImage) else open_image(source, axes=settings.get("axes"))
    )
    return image, image.source.path or "array in memory"
