"""A GAN goes on from a U-Net that was trained by regression, and from nothing that is another network."""

from __future__ import annotations

import pytest
import torch

from napari_virtualstain.errors import ModelPackageError
from napari_virtualstain.generators.package import load_package
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.generators.start import start_from


@pytest.fixture
def model(tiny_model):
    return load_package(tiny_model)


def gan(model, **changed):
    sizes = {"in_channels": len(model.card.inputs), "out_channels": len(model.card.stains)}
    return build_generator(
        "wgan_gp", architecture={**model.card.architecture, **changed}, seed=9, **sizes
    )


def test_a_gan_starts_with_the_weights_of_a_regression(model):
    made = gan(model)
    start_from(made, model, model.card.stain_names)
    theirs = model.generator.module().state_dict()
    for name, value in made.module().state_dict().items():
        assert torch.equal(value, theirs[name]), name


def test_other_stains_are_refused(model):
    with pytest.raises(ModelPackageError, match="this training is for DNA. Name the same --stains"):
        start_from(gan(model), model, ("DNA",))


def test_another_network_is_refused_with_three_of_its_parts(model):
    with pytest.raises(ModelPackageError, match=r"parts differ, for example (\S+, ){2}\S+\. Use a"):
        start_from(gan(model, width=6), model, model.card.stain_names)
