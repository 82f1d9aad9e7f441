"""Recognise weights that others published, and make models of them.

One file a format: it knows names and shapes of weights that others published, and what is
known of them. `nets.published` opens a file without running anything in it, `recognise`
asks the formats in turn, and `convert.convert` makes a generator and its card.
"""

from __future__ import annotations

from napari_virtualstain.encoders.importers import SEEING
from napari_virtualstain.errors import ModelPackageError
from napari_virtualstain.generators.importers import (
    bbdm,
    fnet,
    guided,
    labelfree,
    latent_diffusion,
    later,
    sdm,
    viscy,
)
from napari_virtualstain.generators.importers.base import Found
from napari_virtualstain.nets.published import Content, Format, read_as

__all__ = ["FORMATS", "recognise"]

FORMATS: tuple[Format[Found], ...] = (
    viscy.FCMAE, viscy.UNEXT2, labelfree.UNET, labelfree.CRITIC, fnet.FNET, latent_diffusion.KL,
    guided.GUIDED, sdm.SDM, bbdm.BBDM, *later.LATER,
)  # fmt: skip
"""Asked in this order."""


def recognise(content: Content) -> Found:
    """Say which method weights are of, and how it is built here.

    Raises
    ------
    ModelPackageError
        If they are of none that runs here; the sentence says what they look like.
    """
    found = read_as(FORMATS, content)
    if found is None:
        names, not_these = list(content.state), (*later.LATER, labelfree.CRITIC)
        known = [f.name for f in FORMATS if f not in not_these] + [f.name for f in SEEING]
        raise ModelPackageError(
            f"These {len(names)} weights look like no method that is known here, for example "
            f"{', '.join(names[:3])}. Import a checkpoint of one of these: {', '.join(known)}."
        )
    return found
