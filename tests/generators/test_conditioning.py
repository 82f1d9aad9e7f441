"""A trained generator follows its own bright field, and sees nothing where nothing is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, laplace

from napari_virtualstain.datasets.pairs import PairedField, pair_up
from napari_virtualstain.generators.registry import GENERATORS, build_generator
from napari_virtualstain.inference.z_window import ZWindows, blend_windows
from napari_virtualstain.intensity import Rule
from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.training.painting import fit
from napari_virtualstain.training.settings import LoopSettings

EDGE = {2: (96, 96), 3: (8, 40, 40)}
CELLS = {2: 12, 3: 5}
RADIUS = {2: (4.0, 4.0), 3: (1.5, 4.0, 4.0)}
GAIN = 40.0
STEPS = {2: 120, 3: 60}
STEPS_OF_A_WINDOW = 100
"""Of a few planes, which take less time."""
STEPS_OF_A_WALK = 300
"""Of what draws: many noise levels are to be learnt."""
STEPS_OF_A_BRIDGE = 150
"""Of bbdm, which begins with a first prediction; 100 would do."""


def scene(ndim, seed, *, cells=True):
    """Return planes and stains of round cells, (P, *S) and (2, *S), in grey values."""
    rng = np.random.default_rng(seed)
    shape = EDGE[ndim]
    body = np.zeros(shape)
    grid = np.indices(shape)
    for _ in range(CELLS[ndim] if cells else 0):
        place = [rng.uniform(0, n) for n in shape]
        away = sum(((g - p) / r) ** 2 for g, p, r in zip(grid, place, RADIUS[ndim], strict=True))
        body = np.maximum(body, np.exp(-away / 2))
    light = np.stack([-laplace(gaussian_filter(body, s)) for s in (0.5, 1.0, 2.0)])
    light = 1000 + 20000 * light + rng.normal(0, 4, light.shape)
    stains = np.stack([100 + GAIN * (body > 0.5), 50 + GAIN * body])
    return light.astype(np.float32), stains.astype(np.float32)


ONCE = [
    # In one process, where several share the tests: each generator is trained once.
    pytest.param(name, id=name, marks=pytest.mark.xdist_group(f"trained {name}"))
    for name in sorted(GENERATORS)
]


@pytest.fixture(scope="module", params=ONCE)
def trained(request, tmp_path_factory):
    """A tiny preset that learnt for a second or two, and the fields that taught it."""
    spec = GENERATORS[request.param]
    fields = [PairedField(f"field {n}", *scene(spec.ndim[0], n)) for n in range(6)]
    pairs = pair_up(
        fields, input_rule=Rule(), output_rule=Rule(clip_sd=None), stain_names=("a", "b")
    )
    generator = build_generator(spec.name, in_channels=3, out_channels=2, preset="tiny")
    small = {"critic_width": 4, "critic_steps": 1}
    method = tuple(
        f"{name}={value}"
        for name, value in small.items()
        if name in generator.learning.model_fields
    )
    steps = STEPS_OF_A_WINDOW if generator.window else STEPS[generator.ndim]
    if spec.stochastic:
        steps = STEPS_OF_A_BRIDGE if spec.name == "bbdm" else STEPS_OF_A_WALK
    settings = LoopSettings(
        steps=steps, batch=4, patch=24, patch_z=8, learning_rate=1e-2,
        validate_every=1000, method=method, ema=0.95,
    )  # fmt: skip
    fit(
        generator, pairs, settings, folder=tmp_path_factory.mktemp("training"),
        stain_names=("a", "b"),
    )  # fmt: skip
    return generator, pairs


def predict(generator, pairs, planes):
    """Stain grey values as a job would: normalised by themselves, unless they are nearly empty."""
    given = np.stack(
        [
            Rule().fit(_statistics(plane), what="plane", typical_contrast=contrast).apply(plane)
            for plane, contrast in zip(planes, pairs.typical_contrast, strict=True)
        ]
    )
    stains = _through(generator, given)
    return np.stack([n.invert(s) for n, s in zip(pairs.outputs, stains, strict=True)])


def _through(generator, given):
    """Predict (P, *S); a stack that is deeper than what the network takes goes window by window."""
    if generator.window is None:
        return generator.predict(given[None])[0]
    windows = ZWindows(depth=given.shape[1], window=generator.window)
    planes = blend_windows(lambda z: generator.predict(given[None, :, z])[0], windows)
    return np.stack([plane for _, plane in planes], axis=1)


def _statistics(plane):
    from napari_virtualstain.intensity import StatisticsAccumulator

    gather = StatisticsAccumulator()
    gather.add(plane)
    return gather.result()


def test_with_the_inputs_exchanged_each_stain_follows_its_own_input(trained):
    generator, pairs = trained
    (light_a, truth_a), (light_b, truth_b) = (scene(generator.ndim, seed) for seed in (100, 101))
    stain_a, stain_b = (predict(generator, pairs, light) for light in (light_a, light_b))
    for channel in range(2):
        own = (
            pearson(stain_a[channel], truth_a[channel]),
            pearson(stain_b[channel], truth_b[channel]),
        )
        other = (
            pearson(stain_a[channel], truth_b[channel]),
            pearson(stain_b[channel], truth_a[channel]),
        )
        assert min(own) - max(other) > 0.3, (own, other)


def test_on_a_field_without_cells_there_is_at_most_a_hundredth_of_the_foreground(trained):
    generator, pairs = trained
    foreground = []
    for seed, cells in ((100, True), (101, True), (102, True), (103, False)):
        light, _ = scene(generator.ndim, seed, cells=cells)
        stain = predict(generator, pairs, light)[1]
        foreground.append(int((stain > 50 + GAIN / 2).sum()))
    *seen, empty = foreground
    assert empty <= 0.01 * np.median(seen), foreground
    assert np.median(seen) > 50
