"""Why does a model predict this? Maps of one stain at a pixel, and of the planes that it needs.

The planes are prepared as for a stain of the whole field: the same planes, the grey values of the
whole field, the same network (`jobs.prepare`, `jobs.stain_network`). What is computed is no more
than a pixel depends on, as its network's halo says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.errors import (
    AxesError,
    SettingsError,
)
from napari_virtualstain.explain.gradcam import depths_of, grad_cam, middle_depth
from napari_virtualstain.explain.gradients import (
    input_gradient,
    integrated_gradient,
    radius_of,
    smooth_gradient,
)
from napari_virtualstain.explain.methods import MethodSpec, chosen_methods
from napari_virtualstain.explain.occlusion import occlusion_map, plane_changes, plane_dependence
from napari_virtualstain.explain.probe import Planes, Probe
from napari_virtualstain.explain.sanity import Sanity, compared, shuffled
from napari_virtualstain.inference.stainer import Stainer
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.base import Progress, stage
from napari_virtualstain.jobs.explain import ExplainSettings
from napari_virtualstain.jobs.explain_asked import (
    chosen_stain,
    plane_names,
    refuse_a_stain,
    refuse_other_model,
    true_part,
)
from napari_virtualstain.jobs.explain_crop import Crop, Crops
from napari_virtualstain.jobs.explain_inside import Inside
from napari_virtualstain.jobs.explain_nearest import nearest_patches
from napari_virtualstain.jobs.explain_probe import prepared_for_crops, probe_of
from napari_virtualstain.jobs.explain_store import Drawn, DrawnMap
from napari_virtualstain.jobs.grey_values import grey_values
from napari_virtualstain.jobs.prepare import PreparedStain
from napari_virtualstain.jobs.stain import stain_origin
from napari_virtualstain.jobs.stain_network import stainer_of

__all__ = ["stain_explained"]

_FEW_PLANES = 8
"""Planes of which each has a map of its own; of more, only their sum is written."""
_NOTHING = 0.2
"""Of the standard deviation of the training stain: a part that varies by less shows nothing."""
_INCOMPLETE = 0.1
"""Standard deviations of the training stain that integrated gradients may lack."""
_BLOCK = 16
"""Edge of the blocks of a shuffled picture in pixels."""
_SHARES = (0.5, 0.95)
"""Of the gradient, whose radius is told."""


def stain_explained(
    settings: ExplainSettings, image: LazyImage | None, on_progress: Progress | None
) -> Drawn:
    """Explain a stain of a model; see `jobs.explain.run`."""
    notes: list[str] = []
    if settings.draws > 1:
        settings = settings.model_copy(update={"draws": 1})
        notes.append("one draw is explained, not the mean of several")
    specs = chosen_methods(
        settings.method, of="generator", pixel=settings.at is not None,
        called=f"The model {settings.model!r}",
    )  # fmt: skip
    refuse_a_stain(settings)
    prepared = prepared_for_crops(settings, image, notes)
    refuse_other_model(settings, prepared)
    stain, index = chosen_stain(settings, prepared)
    inputs = grey_values(settings, prepared)
    if settings.t >= prepared.planes.image.shape[0]:
        raise AxesError(
            f"Time point {settings.t} is asked for, and the image has "
            f"{prepared.planes.image.shape[0]}. Choose another with --t."
        )
    fitted = inputs.fit([settings.t], stage(on_progress, "blocks measured"))
    stainer = stainer_of(prepared, fitted, seed=settings.seed)
    explaining = _Explaining(
        settings=settings, prepared=prepared, stainer=stainer, stain=stain, index=index,
        crops=Crops(settings=settings, prepared=prepared, stainer=stainer, notes=notes),
        on_progress=on_progress,
    )  # fmt: skip
    maps, sentences = explaining.maps(specs)
    model = prepared.model
    nearest = None
    if settings.nearest:
        nearest = nearest_patches(settings, prepared, stainer, explaining.crops.middle())
    return Drawn(
        maps=tuple(maps), sentences=tuple(sentences),
        notes=tuple(dict.fromkeys([*prepared.notes, *inputs.notes, *notes])),
        image=prepared.image, channel=prepared.planes.image.channel_names[0],
        origin_um=stain_origin(prepared.planes.image), pixel_size_um=prepared.pixel_size_um,
        ratios=prepared.ratios, device=prepared.device, nearest=nearest,
        network={
            "kind": "generator", "name": model.card.name, "generator": model.card.generator,
            "path": str(model.path.resolve()), "fingerprint": model.fingerprint,
            "licence": model.card.licence, "stain": stain,
        },
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Explaining:
    """One run."""

    settings: ExplainSettings
    prepared: PreparedStain
    stainer: Stainer
    crops: Crops
    stain: str
    index: int
    on_progress: Progress | None

    def maps(self, specs: Sequence[MethodSpec]) -> tuple[list[DrawnMap], list[str]]:
        """Return the maps of some methods, and what they come to."""
        maps: list[DrawnMap] = []
        sentences: list[str] = []
        at = self.crops.pixel()
        inner = None
        for spec in specs:
            if spec.inside:
                inner = inner or Inside.of(
                    self.settings, self.prepared, self.crops, self.on_progress
                )
                inner.check(spec)
        pixel = None
        # The crop of a network that looks at everything is large, and what is inside needs none.
        if at is not None and not all(spec.inside for spec in specs):
            pixel = self.crops.read(tuple(slice(n, n + 1) for n in at))
            probe = probe_of(self.stainer, self.index, self.settings.t, pixel.planes)
            for spec in specs:
                if spec.gradients:
                    probe.differentiable()  # before anything is computed
            sentences.append(self._value(probe, pixel))
        for spec in specs:
            if inner is not None and spec.inside:
                found, said = inner.maps(spec)
            elif spec.name == "planes":
                found, said = self._planes(self.crops.read(self.crops.part(at)))
            else:
                assert pixel is not None
                found, said = self._of_pixel(spec, probe, pixel)
            maps += found
            sentences += said
        return maps, sentences

    # --- what -------------------------------------------------------------------------------------

    def _value(self, probe: Probe, crop: Crop) -> str:
        value = probe.value(crop.planes, crop.at)
        card = self.prepared.model.card
        stain = card.stains[card.stain_names.index(self.stain)]
        grey = float(stain.normalisation.invert(np.array(value, np.float32)))
        y, x = self.settings.at or (0, 0)
        unit = f" {stain.unit}" if stain.unit else ""
        return (
            f"{self.stain} at {y},{x} is predicted as {grey:.4g}"
            f"{unit}, {value:+.2f} standard deviations of the training stain from its mean."
        )

    def _planes(self, crop: Crop) -> tuple[list[DrawnMap], list[str]]:
        """Hide planes over a part of the field."""
        probe = probe_of(self.stainer, self.index, self.settings.t, crop.planes)
        core = crop.core
        truth = None
        if self.settings.target is not None:
            truth, note = true_part(self.settings, self.prepared, self.stain, self.index, core)
            self.crops.notes.extend(note)
        names = plane_names(self.prepared)
        told = stage(self.on_progress, "predictions with hidden planes")
        found = plane_dependence(
            probe.predict, crop.planes, keep=crop.keep, truth=truth, on_step=told
        )
        if found.spread < _NOTHING:
            self.crops.notes.append(
                f"the predicted {self.stain} shows nothing here (it varies by {found.spread:.2f} "
                "of the training stain's standard deviation): the maps explain background, so "
                "choose a place with cells"
            )
        sanity = self._sanity(
            lambda other, planes: plane_changes(other.predict, planes, keep=crop.keep).sum(axis=0),
            found.changes.sum(axis=0), probe, crop.planes, at=None,
        )  # fmt: skip
        numbers = {
            "with_truth": found.has_truth,
            "correlation": _known(found.whole),
            "without": {name: _known(r) for name, r in zip(names, found.without, strict=True)},
            "alone": {
                name: _known(r) for name, r in zip(names, found.alone, strict=False)
            },
            "needed": [names[n] for n in found.needed],
            "without_needed": _known(found.without_needed),
        }  # fmt: skip
        named = [f"{self.stain} without {name}" for name in names]
        maps = self._drawn("planes", found.changes, named, core, sanity, numbers, "any plane")
        return maps, [found.words(self.stain, names)]

    def _of_pixel(
        self, spec: MethodSpec, probe: Probe, crop: Crop
    ) -> tuple[list[DrawnMap], list[str]]:
        numbers: dict[str, Any] = {}
        told = stage(self.on_progress, f"pictures for {spec.name}")
        compute, around = self._method(spec, probe, crop, numbers)
        values = compute(probe, crop.planes, told)
        main = np.abs(values).sum(axis=0)
        at = crop.at if around else None
        sanity = self._sanity(
            lambda other, planes: np.abs(compute(other, planes, None)).sum(axis=0), main, probe,
            crop.planes, at=at,
        )  # fmt: skip
        names = plane_names(self.prepared)
        said = []
        if len(values) == len(names) > 1 and main.sum() > 0:
            shares = np.abs(values).sum(axis=(1, 2)) / main.sum()
            numbers["share_of_plane"] = {
                name: round(float(share), 4) for name, share in zip(names, shares, strict=True)
            }
        if spec.name == "gradient":
            said.append(self._reach(main, crop, numbers))
        if "missing" in numbers:
            missing = float(numbers["missing"])
            said.append(
                "Integrated gradients add up to what the pixel has over a featureless crop, but "
                f"for {missing:.3f} standard deviations."
            )
            if missing > _INCOMPLETE:
                self.crops.notes.append("integrated gradients are not complete: give more --steps")
        if len(values) == 1:
            named = [f"{self.stain} {spec.name}"]
        else:
            named = [f"{self.stain} {spec.name}, {name}" for name in names]
        region = tuple(slice(part.start, part.stop) for part in crop.read)
        maps = self._drawn(spec.name, values, named, region, sanity, numbers, "all planes")
        return maps, said

    def _method(
        self, spec: MethodSpec, probe: Probe, crop: Crop, numbers: dict[str, Any]
    ) -> tuple[Callable[[Probe, Planes, Any], Planes], bool]:
        """Return what computes a map (P or 1, Y, X), and whether it falls off around the pixel."""
        settings, at = self.settings, crop.at
        if spec.name == "gradient":
            return (lambda one, planes, _told: input_gradient(one, planes, at)), True
        if spec.name == "smoothgrad":
            return (
                lambda one, planes, told: smooth_gradient(
                    one, planes, at, samples=settings.samples, noise=settings.noise,
                    seed=settings.seed, on_step=told,
                )
            ), True  # fmt: skip
        if spec.name == "integrated":

            def integrated(one: Probe, planes: Planes, told: Any) -> Planes:
                found, missing = integrated_gradient(
                    one, planes, at, steps=settings.steps, on_step=told
                )
                numbers.setdefault("missing", round(missing, 6))  # of the first, that of the map
                return found

            return integrated, True
        if spec.name == "occlusion":
            return (
                lambda one, planes, told: occlusion_map(
                    one, planes, at, edge=settings.square, on_step=told
                )[None]
            ), True
        depths = depths_of(probe, crop.planes)
        chosen = middle_depth(depths) if settings.depth is None else settings.depth
        if chosen >= len(depths):
            raise SettingsError(
                f"There is no depth {chosen}: the network has {len(depths)}. Choose 0 to "
                f"{len(depths) - 1} with --depth."
            )
        numbers["depth"] = chosen
        numbers["depths"] = [depth.words() for depth in depths]
        layer = depths[chosen].layer
        return (lambda one, planes, _told: grad_cam(one, planes, at, layer=layer)[None]), False

    def _reach(self, main: NDArray[np.float32], crop: Crop, numbers: dict[str, Any]) -> str:
        """Say how far the gradient reaches, beside how far it could."""
        half, most = (radius_of(main, crop.at, share) for share in _SHARES)
        size = self.prepared.network_pixel_size_um.yx
        halo = max(self.stainer.typical.reach.halo)
        numbers["radius_px"] = {f"{share:.0%}": _known(radius) for share, radius in
                                zip(_SHARES, (half, most), strict=True)}  # fmt: skip
        numbers["halo_px"] = halo
        if not np.isfinite(half):
            return "The gradient is 0 everywhere: no small change of the picture moves this pixel."

        def long(px: float) -> str:
            return f"{px:.0f} px" + ("" if size is None else f" ({px * size:.1f} µm)")

        return (
            f"Half of the gradient lies within {long(half)} of the pixel and 95% within "
            f"{long(most)}; the network could look {long(halo)} far."
        )

    def _drawn(
        self,
        method: str,
        values: Planes,
        named: Sequence[str],
        region: Region,
        sanity: Sanity | None,
        numbers: dict[str, Any],
        together: str,
    ) -> list[DrawnMap]:
        """Return the sum over planes first, where there are several, then each."""
        values, region = self.crops.inside(values, region)

        def one(name: str, of: NDArray[np.float32], **known: Any) -> DrawnMap:
            return DrawnMap(name=name, method=method, values=of, region=region, **known)

        if len(values) == 1:
            return [one(named[0], values[0], sanity=sanity, numbers=numbers)]
        title = f"{self.stain} {'planes' if method == 'planes' else method}, {together}"
        whole = one(title, np.abs(values).sum(axis=0), sanity=sanity, numbers=numbers)
        if len(values) > _FEW_PLANES:
            return [whole]
        return [whole, *(one(name, of) for name, of in zip(named, values, strict=True))]

    def _sanity(
        self,
        compute: Callable[[Probe, Planes], NDArray[np.float32]],
        main: NDArray[np.float32],
        probe: Probe,
        planes: Planes,
        *,
        at: tuple[int, int] | None,
    ) -> Sanity | None:
        """Compare a map with that of random weights and of a shuffled picture."""
        if not self.settings.sanity:
            return None
        told = stage(self.on_progress, "comparison maps (random weights, shuffled picture)")
        told(0, 2)
        weights = None
        if probe.blind is not None:
            weights = compared(main, compute(probe.blind(self.settings.seed), planes), at)
        told(1, 2)
        mixed = compute(probe, shuffled(planes, _BLOCK, self.settings.seed))
        told(2, 2)
        return Sanity(weights=weights, picture=compared(main, mixed, at))


def _known(r: float | None) -> float | None:
    """Return a number for JSON."""
    return None if r is None or not np.isfinite(r) else round(float(r), 4)
