"""Recognise weights of encoders that others published, and make encoders of them.

One file a kind of network: names and shapes of its weights, and what is known of those that were
published. `nets.published` opens a file without running anything in it, and `convert` makes an
encoder and its card.
"""

from __future__ import annotations

from napari_virtualstain.encoders.importers import resnet, vit
from napari_virtualstain.encoders.importers.base import FoundEncoder
from napari_virtualstain.nets.published import Content, Format, read_as

__all__ = ["SEEING", "recognise_encoder"]

SEEING: tuple[Format[FoundEncoder], ...] = (vit.VIT, resnet.RESNET)
"""Asked in this order."""


def recognise_encoder(content: Content) -> FoundEncoder | None:
    """Say which encoder weights are of, and how it is built here; `None` if they are of none.

    Raises
    ------
    ModelPackageError
        If they look like one that does not run here; the sentence says why.
    """
    return read_as(SEEING, content)
