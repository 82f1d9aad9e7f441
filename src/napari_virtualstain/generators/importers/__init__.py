"""Recognise weights that others published, and make models of them.

One file a format: it knows names and shapes of weights that others published, and what is
known of them. `read_checkpoint` opens a file without running anything in it, `recognise`
asks the formats in turn, and `convert.convert` makes a generator and its card.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import ModelPackageError
from napari_virtualstain.generators.importers import fnet, labelfree, later, viscy
from napari_virtualstain.generators.importers.base import Content, Format, Found, tensors_of
from napari_virtualstain.generators.importers.reading import read_weights

__all__ = ["FORMATS", "read_checkpoint", "recognise"]

FORMATS: tuple[Format, ...] = (
    viscy.FCMAE, viscy.UNEXT2, labelfree.UNET, labelfree.CRITIC, fnet.FNET, *later.LATER,
)  # fmt: skip
"""Asked in this order."""
_UNDER = ("model_dict", "nn_state", "state_dict", "teacher", "ema", "model", "module")
"""Where weights lie in a dictionary of other things, the best first."""
_WRAPPER = "module."
"""What training on several graphics cards puts in front of every name."""


def read_checkpoint(path: Path) -> Content:
    """Open a file of weights.

    Raises
    ------
    MissingInputError, ModelPackageError
        If it is not there, is no file of weights, or holds more than weights.
    """
    held = read_weights(path)
    under = ""
    state = tensors_of(held)
    if state is None and isinstance(held, Mapping):
        for name in _UNDER:
            state = tensors_of(held.get(name))
            if state is not None:
                under = name
                break
    if state is None:
        raise ModelPackageError(
            f"'{path}' holds no weights by name: {_contents(held)}. Give a file of a state dict."
        )
    if all(name.startswith(_WRAPPER) for name in state):
        state = {name.removeprefix(_WRAPPER): value for name, value in state.items()}
    beside: Mapping[str, Any] = {k: v for k, v in held.items() if k != under} if under else {}
    return Content(state=state, beside=beside, under=under)


def recognise(content: Content) -> Found:
    """Say which method weights are of, and how it is built here.

    Raises
    ------
    ModelPackageError
        If they are of none that runs here; the sentence says what they look like.
    """
    for one in FORMATS:
        if one.fits(content.state):
            try:
                return one.read(content)
            except (KeyError, IndexError, ZeroDivisionError) as error:
                raise ModelPackageError(
                    f"These weights look like {one.name}, but lack a part of it ({error}). "
                    "Copy or download the file again, or import another checkpoint."
                ) from error
    names = list(content.state)
    raise ModelPackageError(
        f"These {len(names)} weights look like no method that is known here, for example "
        f"{', '.join(names[:3])}. Import a checkpoint of one of these: "
        f"{', '.join(one.name for one in FORMATS if one not in (*later.LATER, labelfree.CRITIC))}."
    )


def _contents(held: Any) -> str:
    if isinstance(held, Mapping):
        return f"a dictionary of {', '.join(list(map(str, held))[:3]) or 'nothing'}"
    return f"a {type(held).__name__}"
