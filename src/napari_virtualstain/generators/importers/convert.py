"""How do weights of others become a model of ours? Built, filled, checked, and described."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import ModelPackageError, SettingsError
from napari_virtualstain.generators.base import Generator, Graph
from napari_virtualstain.generators.card import InputPlane, ModelCard, Stain, VolumeInput
from napari_virtualstain.generators.exporters.bioimageio import normalised
from napari_virtualstain.generators.importers.base import Found
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.intensity import Normalisation, Rule
from napari_virtualstain.io.colours import stain_colours
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.origin import ImportedFrom, TrainingReport
from napari_virtualstain.nets.published import fill_weights

if TYPE_CHECKING:
    from napari_virtualstain.nets.widening import Widening

__all__ = ["Stated", "convert", "planes_for_test", "test_planes_of"]

_EDGE = 64
"""Of the test pair, in pixels."""
_TOLERANCE = 1e-2
"""Largest difference from what came along, in standard deviations of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the user says of weights, `None` where nothing is said; wins over what is known.

    Parameters
    ----------
    stains
        Names in the order in which they come out.
    channel
        Kind of light.
    pixel_size_um, z_step_um
        Of the images that it was trained on.
    z_offsets_um
        Of its planes relative to focus.
    normalise
        Kind of `intensity.Rule` for the bright field.
    licence, citation
        Of the weights.
    adapt
        How weights that were not made for stains take other numbers of channels: ``"repeat"`` or
        ``"mean"``, see `nets.widening.widen_channels`.
    """

    stains: tuple[str, ...] | None = None
    channel: str | None = None
    pixel_size_um: float | None = None
    z_step_um: float | None = None
    z_offsets_um: tuple[float, ...] | None = None
    normalise: str | None = None
    licence: str | None = None
    citation: str | None = None
    adapt: str | None = None


def convert(
    found: Found, stated: Stated, *, name: str, file: str, sha256: str
) -> tuple[ModelCard, Generator]:
    """Build the generator that weights are of, and describe it.

    Parameters
    ----------
    found
        What was recognised.
    stated
        What the user says.
    name
        Of the model.
    file, sha256
        Where the weights come from, for the card.

    Raises
    ------
    SettingsError
        If something that a card needs is neither known nor stated, or does not fit.
    ModelPackageError
        If the weights are not those of the network that they look like, or are not numbers.
    """
    origin = ImportedFrom(file=file, sha256=sha256, format=found.format)
    if found.widen is not None:
        found = _as_wanted(found, stated)
    if found.card is not None:
        card = _described_already(found, found.card, stated, name=name, origin=origin)
    else:
        card = _describe(found, stated, name=name, origin=origin)
    generator = build_generator(
        found.generator, in_channels=found.in_channels, out_channels=found.out_channels,
        architecture=found.architecture,
    )  # fmt: skip
    if found.content is None:
        fill_weights(generator.module(), found.state, found.format)
    else:
        assert isinstance(generator, Graph)
        generator.open_graph(found.content)
    return card, generator


def _as_wanted(found: Found, stated: Stated) -> Found:
    """Return weights for as many planes and stains as are stated."""
    assert found.widen is not None
    if stated.adapt not in {None, "repeat", "mean"}:
        raise SettingsError(
            f"The {found.format} cannot be adapted by {stated.adapt}. Use --adapt repeat or mean."
        )
    planes = len(stated.z_offsets_um) if stated.z_offsets_um else found.in_channels
    stains = len(stated.stains) if stated.stains else found.out_channels
    how = cast("Widening | None", stated.adapt)
    return replace(
        found, in_channels=planes, out_channels=stains, state=found.widen(planes, stains, how)
    )


def planes_for_test(found: Found, card: ModelCard, generator: Generator) -> NDArray[np.float32]:
    """Return normalised planes for the test pair: those that came along, if there are any.

    Raises
    ------
    ModelPackageError
        If they give other stains than came along with them.
    """
    if found.tensors is None:
        return test_planes_of(generator)
    grey, wanted = (pixels[:1] for pixels in found.tensors)
    planes = normalised(card, grey)
    stains = generator.predict(planes)
    for index, stain in enumerate(card.stains):
        stains[:, index] = stain.normalisation.invert(stains[:, index])
    difference = (
        float(np.abs(stains - wanted).max()) / max(float(wanted.std()), 1e-6)
        if stains.shape == wanted.shape
        else float("inf")
    )
    if not difference <= _TOLERANCE:
        raise ModelPackageError(
            f"The package does not give its own test output here (largest difference "
            f"{difference:.3g} standard deviations, allowed {_TOLERANCE:g}): it was altered, or "
            "does something that its description does not say. Ask its author for another one."
        )
    return planes


def test_planes_of(generator: Generator) -> NDArray[np.float32]:
    """Return normalised planes for the test pair of a generator: (1, in_channels, *S)."""
    stride = generator.multiple_of
    edges = [-(-_EDGE // stride) * stride] * generator.ndim
    if generator.ndim == len("zyx"):
        edges[0] = stride if generator.window is None else generator.window
    shape = (1, generator.in_channels, *edges)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _described_already(
    found: Found, card: ModelCard, stated: Stated, *, name: str, origin: ImportedFrom
) -> ModelCard:
    """Return the card of the model that was exported, for the graph that was made of it."""
    said = [
        entry.removesuffix("_um").replace("_", "-")
        for entry in (
            "stains",
            "channel",
            "pixel_size_um",
            "z_step_um",
            "z_offsets_um",
            "normalise",
        )
        if getattr(stated, entry) is not None
    ]
    if said:
        raise SettingsError(
            f"'{origin.file}' was a model of this program, whose card says what it takes and "
            f"gives. Leave out --{said[0]}."
        )
    changes = {e: v for e in ("licence", "citation") if (v := getattr(stated, e)) is not None}
    changes |= {
        "name": name, "generator": found.generator, "architecture": found.architecture,
        "imported": origin, "files": {},
    }  # fmt: skip
    return card.model_copy(update=changes)


def _describe(found: Found, stated: Stated, *, name: str, origin: ImportedFrom) -> ModelCard:
    known, file = found.defaults, origin.file
    stains = stated.stains or known.stains
    if stains is None and found.widen is not None:
        raise SettingsError(
            f"'{file}' looks like {found.format}, which has never seen a stain. Name those that it "
            "is to learn with --stains, in the order in which you will train it on them."
        )
    if stains is None:
        raise SettingsError(
            f"'{file}' looks like {found.format} and does not say what it stains. Name its "
            f"{found.out_channels} stain{'s' * (found.out_channels > 1)} with --stains, in their "
            "order."
        )
    if len(stains) != found.out_channels or len(set(stains)) != len(stains):
        raise SettingsError(
            f"'{file}' predicts {found.out_channels} stain{'s' * (found.out_channels > 1)}, and "
            f"--stains names {len(stains)} ({', '.join(stains)}). Name each once, in their order."
        )
    pixel = stated.pixel_size_um or known.pixel_size_um
    if pixel is None:
        raise SettingsError(
            f"'{file}' looks like {found.format} and does not say for which pixel size it is. "
            "State it with --pixel-size in µm, for example --pixel-size 0.65."
        )
    if found.volume and found.in_channels != 1:
        raise SettingsError(
            f"'{file}' takes stacks of {found.in_channels} kinds of light, and this version stains "
            "from one. Import a model of one kind."
        )
    if found.volume and stated.z_offsets_um is not None:
        raise SettingsError(
            f"'{file}' takes a stack, whose planes need no offsets. Leave out --z-offsets; say how "
            "far planes are apart with --z-step."
        )
    if not found.volume and stated.z_step_um is not None:
        raise SettingsError(
            f"'{file}' takes {found.in_channels} planes and no stack. Leave out --z-step; say "
            "where they lie with --z-offsets."
        )
    channel = stated.channel or known.channel
    volume = VolumeInput(window=_window(found), z_step_um=stated.z_step_um or known.z_step_um)
    rule = known.input_rule
    if stated.normalise is not None:
        rule = Rule.model_validate({"kind": stated.normalise, "clip_sd": None})
    return ModelCard(
        name=name,
        title=known.title,
        generator=found.generator,
        architecture=found.architecture,
        inputs=_inputs(found, stated, channel, file),
        stains=tuple(
            Stain(
                name=stain, colour=colour, normalisation=Normalisation(), unit=known.unit
            )
            for stain, colour in zip(
                stains, stain_colours([Channel(stain) for stain in stains]), strict=True
            )
        ),
        labels=found.labels,
        pixel_size_um=pixel,
        volume=volume if found.volume else None,
        input_rule=rule,
        training=TrainingReport(
            recipe="imported", data=known.data, n_fields=0, n_validation_fields=0,
            steps=found.steps, seed=0, loss="not known",
        ),
        limits=(
            *known.limits,
            "Imported: it was neither trained nor examined here; judge it on your own pairs.",
        ),
        licence=stated.licence if stated.licence is not None else known.licence,
        citation=stated.citation if stated.citation is not None else known.citation,
        imported=origin,
    )  # fmt: skip


_WINDOWS = ("fcmae", "unext2")
"""Methods whose setting ``depth`` is the number of planes they take."""


def _window(found: Found) -> int | None:
    """Return how many planes a network over stacks takes, `None` for any number."""
    if found.content is not None:
        planes, step = found.architecture["sizes"][0]
        return planes if step == 0 else None
    return found.architecture.get("depth") if found.generator in _WINDOWS else None


def _inputs(found: Found, stated: Stated, channel: str, file: str) -> tuple[InputPlane, ...]:
    offsets: tuple[float | None, ...] = stated.z_offsets_um or (None,) * found.in_channels
    if len(offsets) != found.in_channels:
        raise SettingsError(
            f"'{file}' takes {found.in_channels} planes, and --z-offsets names {len(offsets)}. "
            "Give one a plane, in their order."
        )
    return tuple(InputPlane(channel=channel, z_offset_um=offset) for offset in offsets)
