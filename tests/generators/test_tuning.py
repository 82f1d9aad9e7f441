"""What is tuned moves, all else stays, and a tuned network is a network like any other."""

from __future__ import annotations

import pytest
import torch

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.registry import GENERATORS, build_generator
from napari_virtualstain.generators.tuning import tune_weights

PAINTS = [
    name for name, spec in GENERATORS.items() if not spec.stochastic and "tiny" in spec.presets
]


def built(name="unet"):
    return build_generator(name, in_channels=2, out_channels=3, preset="tiny", seed=0)


def step(generator):
    """Move whatever moves, a little."""
    moving = [w for w in generator.module().parameters() if w.requires_grad]
    with torch.no_grad():
        for weight in moving:
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("name", PAINTS)
@pytest.mark.parametrize("preset", ["quick", "adapter"])
def test_names_and_shapes_are_those_of_before_when_the_tuning_ends(name, preset):
    generator = built(name)
    before = {k: v.clone() for k, v in generator.module().state_dict().items()}
    tuned = tune_weights(generator, preset)
    assert 0 < tuned.moving < tuned.of * (1 if preset == "quick" else 2)
    step(generator)
    tuned.finish()
    after = generator.module().state_dict()
    assert {k: v.shape for k, v in after.items()} == {k: v.shape for k, v in before.items()}
    assert any(not torch.equal(after[k], before[k]) for k in before)


def test_an_adapter_begins_as_nothing_and_ends_as_a_change_of_its_rank():
    generator = built()
    planes = torch.randn(1, 2, 32, 32)
    module = generator.module().eval()
    before = module(planes)
    weights = {k: v.clone() for k, v in module.state_dict().items()}
    tuned = tune_weights(generator, "adapter", rank=2)
    torch.testing.assert_close(module(planes), before)
    step(generator)
    moved = module(planes)
    assert not torch.allclose(moved, before)
    tuned.finish()
    torch.testing.assert_close(module(planes), moved)
    ranks = []
    for name, weight in module.state_dict().items():
        if weight.ndim == 4 and min(weight.shape[0], weight[0].numel()) > 4:
            change = (weight - weights[name]).flatten(1)
            ranks.append(int(torch.linalg.matrix_rank(change, rtol=1e-4)))
    assert ranks
    assert min(ranks) == 2


def test_quick_moves_the_last_layer_and_the_norms_alone():
    generator = built()
    tune_weights(generator, "quick")
    moving = {name for name, w in generator.module().named_parameters() if w.requires_grad}
    convolutions = [n for n, w in generator.module().named_parameters() if w.ndim == 4]
    assert convolutions[-1] in moving
    assert not set(convolutions[:-1]) & moving


def test_full_moves_all():
    generator = built()
    tuned = tune_weights(generator, "full")
    assert tuned.moving == tuned.of
    assert all(w.requires_grad for w in generator.module().parameters())


def test_of_what_draws_all_moves_or_nothing():
    with pytest.raises(SettingsError, match="Use --preset full"):
        tune_weights(built("palette"), "quick")
    assert tune_weights(built("palette"), "full").moving
