"""Models that draw, of random weights: what they paint means nothing, but is theirs."""

from __future__ import annotations

import numpy as np
import torch

from napari_virtualstain.generators.package import save_package
from napari_virtualstain.generators.registry import GENERATORS, build_generator
from napari_virtualstain.zoo import load_generator


def package(name, tiny_model, folder, **changes):
    card = load_generator(tiny_model).card
    architecture = {**GENERATORS[name].presets["tiny"], **changes.pop("architecture", {})}
    card = card.model_copy(update={"generator": name, "architecture": architecture, **changes})
    generator = build_generator(
        name, in_channels=3, out_channels=5, architecture=architecture, seed=3
    )
    torch.manual_seed(0)
    for weights in generator.module().parameters():
        torch.nn.init.normal_(weights, std=0.1)
    planes = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    save_package(folder / name, card, generator, planes)
    return folder / name
