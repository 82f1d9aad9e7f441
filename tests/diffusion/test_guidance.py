"""Guidance: towards a class by its gradient, and away from what is predicted without condition."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch

from napari_virtualstain.diffusion.guidance import (
    class_gradient,
    classifier_free,
    guided_clean,
    guided_mean,
)
from napari_virtualstain.errors import SettingsError


def test_the_mean_moves_by_variance_times_gradient():
    variance = np.array([0.1, 0.4])
    np.testing.assert_allclose(guided_mean(np.ones(2), variance, np.array([2, -1]), 3), [1.6, -0.2])


@pytest.mark.parametrize("level", [1e-4, 0.3, 0.99])
def test_a_led_clean_picture_is_that_of_a_led_eps(level):
    """eps' = eps - s sqrt(1 - level) gradient, arXiv:2105.05233, algorithm 2."""
    x, eps, gradient = np.random.default_rng(0).normal(size=(3, 50))
    scale = 1.7
    led = eps - scale * sqrt(1 - level) * gradient
    clean, expected = ((x - sqrt(1 - level) * noise) / sqrt(level) for noise in (eps, led))
    np.testing.assert_allclose(guided_clean(clean, gradient, level, scale), expected, rtol=1e-9)


@pytest.mark.parametrize("channels", [1, 3, 5, 8])
def test_every_channel_is_led_away_from_the_unconditional(channels):
    without, given = torch.randn(2, 2, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(classifier_free(without, given, 0), without)
    torch.testing.assert_close(classifier_free(without, given, 1), given)
    torch.testing.assert_close(classifier_free(without, given, 1.5), 1.5 * given - 0.5 * without)


def test_predictions_of_two_shapes_cannot_be_compared():
    with pytest.raises(SettingsError, match=r"got \(1, 3\) and \(1, 5\). Give both the same x."):
        classifier_free(np.zeros((1, 3)), np.zeros((1, 5)), 1.5)


def classifier(x):
    """Three classes, by the mean of the first channel and of the others' squares."""
    first, others = x[:, 0].mean((1, 2)), x[:, 1:].square().mean((1, 2, 3))
    return torch.stack([first * 0, 3 * first, 2 * others], 1)


@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode])
def test_a_step_along_the_gradient_makes_the_class_more_likely(surroundings):
    with surroundings():
        x = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(1))
        labels = torch.tensor([0, 1, 2])
        gradient = class_gradient(classifier, x, labels)
        log = torch.log_softmax(classifier(x), 1).gather(1, labels[:, None])
        moved = torch.log_softmax(classifier(x + 1e-2 * gradient), 1).gather(1, labels[:, None])
        expected = 1e-2 * gradient.square().sum((1, 2, 3))
    assert not gradient.requires_grad
    np.testing.assert_allclose((moved - log)[:, 0], expected, rtol=0.02)


def test_samples_of_a_batch_do_not_lead_each_other():
    x = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([2, 1, 0])
    together = class_gradient(classifier, x, labels)
    alone = class_gradient(classifier, x[1:2], labels[1:2])
    torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_class_that_the_classifier_does_not_know_is_refused(label):
    with pytest.raises(SettingsError, match="knows the classes 0 to 2, got .*Choose a class that"):
        class_gradient(classifier, torch.zeros(1, 2, 5, 5), torch.tensor([label]))
