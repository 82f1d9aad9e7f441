"""What happens inside a model? Its attention and its SPADE norms, as maps that lie over the image.

Attention looks at all that a network is shown, so there is no halo that would make a crop the
middle of the field: what is shown is one window, and said to be one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.explain.attention import enlarged, evenness, top_mass
from napari_virtualstain.explain.inside import (
    KINDS,
    InnerLayer,
    Moment,
    Subject,
    attention_of_place,
    attention_received,
    first_moments,
    inner_layers,
    modulation,
    module_of,
    moments_of,
)
from napari_virtualstain.explain.methods import METHODS, MethodSpec
from napari_virtualstain.explain.probe import Planes
from napari_virtualstain.explain.sanity import Sanity, compared, randomise_weights, shuffled
from napari_virtualstain.generators.sampled import SampledGenerator, Sampling
from napari_virtualstain.inference.kernels import use_good_kernels
from napari_virtualstain.inference.sampled import SampledStainer
from napari_virtualstain.jobs.base import Progress, stage
from napari_virtualstain.jobs.explain import ExplainSettings
from napari_virtualstain.jobs.explain_crop import Crop, Crops
from napari_virtualstain.jobs.explain_store import DrawnMap
from napari_virtualstain.jobs.prepare import PreparedStain

__all__ = ["Inside"]

Map = NDArray[np.float32]

_SHOWN = 5
"""Steps of a walk that are shown if nobody says which."""
_BLOCK = 16
"""Least edge of the blocks of a shuffled picture in pixels."""
_SMALL = 4
"""Strides of the network that are enough to see in which order its layers are computed."""
_LACKS = {"attention": "no self-attention", "spade": "no SPADE norms"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inside:
    """Looks inside the model of a run.

    Parameters
    ----------
    settings, prepared
        Of the run.
    crops
        Reads the window that the model is shown.
    subject
        What is looked at, where it computes; `of` makes it.
    how
        A walk goes, of a subject that walks.
    on_progress
        Told of steps.
    """

    settings: ExplainSettings
    prepared: PreparedStain
    crops: Crops
    subject: Subject
    how: Sampling
    on_progress: Progress | None
    _walks: dict[str, list[Moment]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, settings: ExplainSettings, prepared: PreparedStain, crops: Crops,
        on_progress: Progress | None,
    ) -> Inside:  # fmt: skip
        """Return what looks inside the model of a run; see the class."""
        stainer = crops.stainer
        subject: Subject
        if isinstance(stainer, SampledStainer):
            subject, how = stainer.generator, stainer.how
        else:
            # A copy, since other runs share the network, which stays where it is.
            subject, how = copy.deepcopy(prepared.model.generator.module()), Sampling()
            use_good_kernels(subject)
            subject = subject.to(prepared.device)
        module_of(subject).eval()
        return cls(
            settings=settings, prepared=prepared, crops=crops, subject=subject, how=how,
            on_progress=on_progress,
        )  # fmt: skip

    def check(self, spec: MethodSpec) -> None:
        """Refuse a model without such layers, and steps that it does not take.

        Parameters
        ----------
        spec
            One with ``inside``.

        Raises
        ------
        SettingsError
            If so; the sentence says which maps there are.
        """
        if not self._has(spec.inside):
            raise self._lacks(spec)
        if isinstance(self.subject, SampledGenerator):
            steps = self.subject.rule(self.how).steps
            if any(not 1 <= step <= steps for step in self.settings.shown_steps):
                raise SettingsError(
                    f"The stain is drawn in {steps} steps, from 1. Choose among them with "
                    "--shown-steps, or take more with --sampling-steps."
                )

    def maps(self, spec: MethodSpec) -> tuple[list[DrawnMap], list[str]]:
        """Return the maps of a method, and what they come to.

        Parameters
        ----------
        spec
            One with ``inside``.
        """
        at = self.crops.pixel()
        crop = self.crops.window(self.crops.part(at))
        place = None if at is None else self._inside(at, crop)
        layers, layer = self._layer(spec, crop)
        self._note(crop, layer)
        look = self._look(spec, layer, place)
        moments = self._moments(layer, crop.planes, "window")
        others = self._mixed(layer, crop.planes)
        blind = self._blind() if self.settings.sanity else None
        maps: list[DrawnMap] = []
        said = [self._which(spec, layers, layer, crop)]
        areas: dict[str, list[str]] = {}
        for number, moment in enumerate(moments):
            found = look(self.subject, moment)
            means = [(title, values.mean(axis=0)) for title, values in found]
            nothing = [] if blind is None else look(blind, moment)
            mixed = look(self.subject, others[number]) if others else []
            for n, (title, mean) in enumerate(means):
                near = None if place is None else (place[0] // layer.px, place[1] // layer.px)
                near = near if spec.name == "self-attention" else None
                sanity = None
                if blind is not None:
                    sanity = Sanity(
                        weights=compared(mean, nothing[n][1].mean(axis=0), near),
                        picture=compared(mean, mixed[n][1].mean(axis=0), near),
                    )
                numbers = self._numbers(layers, layer, moment, mean, title)
                heads = ", mean of heads" if layer.heads > 1 else ""
                name = f"{title}{_step_words(moment)}{heads}"
                maps.append(self._drawn(name, spec, mean, layer, crop, sanity, numbers))
                if layer.heads > 1 and len(moments) == 1:
                    maps += [
                        self._drawn(f"{title}, head {h} of {layer.heads}", spec, one, layer, crop)
                        for h, one in enumerate(found[n][1], 1)
                    ]
                if layer.heads:
                    when = f" at step {moment.step} of {moment.steps}" if moment.step else ""
                    areas.setdefault(title, []).append(f"{numbers['area']:.0%}{when}")
        return maps, [*said, *(self._mass(title, area) for title, area in areas.items())]

    # --- what is looked at ------------------------------------------------------------------------

    def _has(self, kind: str) -> bool:
        return any(isinstance(p, KINDS[kind]) for p in module_of(self.subject).modules())

    def _lacks(self, spec: MethodSpec) -> SettingsError:
        card = self.prepared.model.card
        offers = [
            one for one in METHODS.values() if self._offers(one) and one.inside != spec.inside
        ]
        there = ", ".join(one.name for one in offers)
        return SettingsError(
            f"The model {card.name!r} is a {card.generator}, which has {_LACKS[spec.inside]}; "
            f"it has {there}. Choose among these with --method."
        )

    def _offers(self, spec: MethodSpec) -> bool:
        if spec.of != "generator":
            return False
        if spec.inside:
            return self._has(spec.inside)
        if not spec.gradients:
            return True
        one_pass = not isinstance(self.subject, SampledGenerator)
        return one_pass and next(module_of(self.subject).parameters(), None) is not None

    def _layer(self, spec: MethodSpec, crop: Crop) -> tuple[tuple[InnerLayer, ...], InnerLayer]:
        """Return all layers of a kind, and the one that is asked for."""
        strides = self.crops.stainer.typical.reach.multiple_of
        small = crop.planes[(slice(None), *(slice(0, _SMALL * n) for n in strides))]
        moments = first_moments(self.subject, small, self.how)
        layers = inner_layers(self.subject, moments, KINDS[spec.inside])
        if not layers:  # such as that of a classifier that guides, and is not asked
            raise self._lacks(spec)
        depth = self.settings.depth
        if depth is None:
            if spec.inside == "spade":
                return layers, layers[-1]
            # That of the walk rather than that of what comes before and behind it.
            own = [one for one in layers if one.part in ("once", "step")] or list(layers)
            return layers, max(own, key=lambda one: one.px)
        if depth >= len(layers):
            raise SettingsError(
                f"There is no depth {depth}: the model has {len(layers)} such layers. Choose 0 to "
                f"{len(layers) - 1} with --depth."
            )
        return layers, layers[depth]

    def _inside(self, at: tuple[int, int], crop: Crop) -> tuple[int, int]:
        """Return the pixel in the window."""
        y, x = (n - part.start for n, part in zip(at, crop.read, strict=True))
        if not (0 <= y < crop.planes.shape[1] and 0 <= x < crop.planes.shape[2]):
            raise SettingsError(
                "The pixel lies outside of the part that is looked at. Choose another with --at, "
                "or leave out --region."
            )
        return y, x

    def _look(
        self, spec: MethodSpec, layer: InnerLayer, place: tuple[int, int] | None
    ) -> Callable[[Subject, Moment], list[tuple[str, Map]]]:
        """Return what computes titles and maps (H, G, F) in a moment."""
        name = layer.name
        if spec.name == "spade":

            def modulated(subject: Subject, moment: Moment) -> list[tuple[str, Map]]:
                gamma, beta = modulation(subject, moment, name)
                return [("SPADE scale (gamma)", gamma[None]), ("SPADE offset (beta)", beta[None])]

            return modulated
        if spec.name == "attention-received":
            return lambda one, moment: [
                ("attention received", attention_received(one, moment, name))
            ]
        assert place is not None
        there = (place[0] // layer.px, place[1] // layer.px)
        y, x = self.settings.at or (0, 0)
        title = f"attention of {y},{x}"
        return lambda one, moment: [(title, attention_of_place(one, moment, name, there))]

    def _moments(self, layer: InnerLayer, planes: Planes, which: str) -> list[Moment]:
        """Return when a layer is looked at."""
        walks = isinstance(self.subject, SampledGenerator)
        told_by_planes = layer.part in ("once", "given") or not layer.heads
        if not walks or told_by_planes:
            found = first_moments(self.subject, planes, self.how)
        else:
            if which not in self._walks:
                self._walks[which] = moments_of(
                    self.subject, planes, self.how, seed=self.settings.seed, shown=self._shown(),
                    on_step=stage(self.on_progress, f"steps of the {which}"),
                )  # fmt: skip
            found = self._walks[which]
        return [one for one in found if one.part == layer.part]

    def _shown(self) -> list[int]:
        assert isinstance(self.subject, SampledGenerator)
        if self.settings.shown_steps:
            return sorted(set(self.settings.shown_steps))
        steps = self.subject.rule(self.how).steps
        spread = np.linspace(1, steps, min(_SHOWN, steps))
        return sorted({round(float(step)) for step in spread})

    # --- what is compared -------------------------------------------------------------------------

    def _mixed(self, layer: InnerLayer, planes: Planes) -> list[Moment]:
        """Return the same moments for a shuffled picture, drawn by itself."""
        if not self.settings.sanity:
            return []
        mixed = shuffled(planes, max(_BLOCK, layer.px), self.settings.seed)
        return self._moments(layer, mixed, "shuffled picture")

    def _blind(self) -> Subject:
        """Return a subject of random weights, which is asked about the same x."""
        other = copy.deepcopy(self.subject)
        use_good_kernels(module_of(other))
        randomise_weights(module_of(other), self.settings.seed)
        return other

    # --- what is said -----------------------------------------------------------------------------

    def _note(self, crop: Crop, layer: InnerLayer) -> None:
        height, width = crop.planes.shape[1:]
        notes = self.crops.notes
        notes.append(f"one value per {layer.px} px, and nothing finer is in the maps")
        if layer.heads and (height < self.crops.shape[0] or width < self.crops.shape[1]):
            field_yx = " x ".join(map(str, self.crops.shape))
            where = "around the pixel" if self.settings.at is not None else "in the middle"
            where = "that is named" if self.settings.region is not None else where
            notes.append(
                f"the field ({field_yx} px) is larger than one window of attention: the model was "
                f"shown a part of {height} x {width} px {where} and nothing else, in which each "
                "place has fewer others to ask than in the field"
            )

    def _which(
        self, spec: MethodSpec, layers: Sequence[InnerLayer], layer: InnerLayer, crop: Crop
    ) -> str:
        rows, columns = (n // layer.px for n in crop.planes.shape[1:])
        what = "self-attention" if spec.inside == "attention" else "SPADE norm"
        many = f"{len(layers)} {what}{'s' * (len(layers) > 1)}"
        always = ""
        if isinstance(self.subject, SampledGenerator) and spec.inside == "spade":
            always = "; it depends on the bright field alone and is the same at every step"
        return (
            f"The model has {many}; depth {layers.index(layer)} is {layer.words()} "
            f"({rows} x {columns} values){always}."
        )

    def _mass(self, title: str, areas: Sequence[str]) -> str:
        mass = f"{self.settings.mass:.0%}"
        what = title.replace("attention received", "attention of all places")
        return (
            f"{mass} of the {what} lies in this part of the window: {', '.join(areas)} ({mass} "
            "would be even)."
        )

    def _numbers(
        self, layers: Sequence[InnerLayer], layer: InnerLayer, moment: Moment, mean: Map, title: str
    ) -> dict[str, Any]:
        found: dict[str, Any] = {
            "depth": layers.index(layer), "depths": [one.words() for one in layers],
            "px_per_value": layer.px, "grid": list(mean.shape), "heads": layer.heads,
        }  # fmt: skip
        if moment.step:
            found |= {"title": title, "step": moment.step, "steps": moment.steps}
        if layer.heads:
            found |= {
                "mass": self.settings.mass,
                "area": round(float(top_mass(mean, self.settings.mass).mean()), 4),
                "entropy": round(evenness(mean), 4),
            }
        return found

    def _drawn(
        self, name: str, spec: MethodSpec, values: Map, layer: InnerLayer, crop: Crop,
        sanity: Sanity | None = None, numbers: dict[str, Any] | None = None,
    ) -> DrawnMap:  # fmt: skip
        wide, region = self.crops.inside(enlarged(values[None], layer.px), crop.read)
        return DrawnMap(
            name=name, method=spec.name, values=wide[0], region=region, sanity=sanity,
            numbers=numbers or {},
        )  # fmt: skip


def _step_words(moment: Moment) -> str:
    return f", step {moment.step} of {moment.steps}" if moment.step else ""
