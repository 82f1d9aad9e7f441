"""Weights that are recognised and cannot be run yet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from napari_virtualstain.errors import ModelPackageError
from napari_virtualstain.generators.importers.base import Found
from napari_virtualstain.nets.published import Content, Format, State

__all__ = ["LATER"]


def _has(state: State, *parts: str) -> bool:
    return all(any(part in name for name in state) for part in parts)


def _refuse(name: str, content: Content) -> Found:
    del content
    raise ModelPackageError(
        f"This looks like {name}, which this version cannot run yet. `virtualstain models --all` "
        "lists the methods that it can."
    )


def _later(name: str, fits: Callable[[State], bool]) -> Format[Found]:
    return Format(name=name, fits=fits, read=partial(_refuse, name))


# The more particular ones first: they share parts of their networks.
LATER: tuple[Format[Found], ...] = (
    _later("BBDM (a Brownian bridge)", lambda s: "m_t" in s and _has(s, "time_embed.")),
    _later(
        "an LDM autoencoder with a codebook (VQGAN)",
        lambda s: _has(s, "encoder.conv_in.", "decoder.conv_out.", "quantize."),
    ),
    _later(
        "an autoencoder with names of diffusers",
        lambda s: _has(s, "encoder.conv_in.", "decoder.conv_out.", "encoder.down_blocks."),
    ),
)
