"""To which input pixels does a predicted pixel react? Derivatives of one value of a stain.

=====================  ============================================================================
map                    what it is
=====================  ============================================================================
`input_gradient`       d value / d planes: Simonyan et al. 2014, arXiv:1312.6034. How it falls off
                       around the pixel is the effective receptive field of Luo et al. 2016,
                       arXiv:1701.04128, here of this pixel in this picture
`smooth_gradient`      its mean over pictures with Gaussian noise: SmoothGrad, Smilkov et al. 2017,
                       arXiv:1706.03825
`integrated_gradient`  its mean along the way from a baseline, times the way: Sundararajan et al.
                       2017, arXiv:1703.01365. The sum is the difference of the two values
=====================  ============================================================================

Planes are normalised (P, Y, X), values normalised stains, so that a gradient of 1 is one standard
deviation of the stain for one of the bright field.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from napari_virtualstain.explain.probe import Pixel, Planes, Probe

__all__ = ["Told", "flat_baseline", "input_gradient", "integrated_gradient", "radius_of",
           "smooth_gradient"]  # fmt: skip

Told = Callable[[int, int], None]


def input_gradient(probe: Probe, planes: Planes, at: Pixel) -> Planes:
    """Return how the value of a pixel changes with each input pixel: (P, Y, X), signed.

    Parameters
    ----------
    probe
        Stain of a network.
    planes
        A crop that holds all that the pixel depends on.
    at
        The pixel, in the crop.
    """
    given = probe.tensor(planes).requires_grad_()
    (gradient,) = torch.autograd.grad(probe.asked(at)(given), given)
    found: Planes = gradient[0].float().cpu().numpy()
    return found


def smooth_gradient(
    probe: Probe,
    planes: Planes,
    at: Pixel,
    *,
    samples: int = 16,
    noise: float = 0.15,
    seed: int = 0,
    on_step: Told | None = None,
) -> Planes:
    """Return the mean input gradient of noisy pictures: (P, Y, X), signed.

    Parameters
    ----------
    probe, planes, at
        See `input_gradient`.
    samples
        Noisy pictures.
    noise
        Standard deviation, over the range of each plane in the crop.
    seed
        Of the noise.
    on_step
        Told of pictures done.
    """
    random = np.random.default_rng(seed)
    spread = noise * np.ptp(planes, axis=(1, 2), keepdims=True)
    total = np.zeros(planes.shape, np.float64)
    for done in range(samples):
        noisy = planes + spread * random.standard_normal(planes.shape)
        total += input_gradient(probe, noisy.astype(np.float32), at)
        if on_step is not None:
            on_step(done + 1, samples)
    mean: Planes = (total / samples).astype(np.float32)
    return mean


def flat_baseline(planes: Planes) -> Planes:
    """Return a featureless picture: each plane has its mean everywhere."""
    mean = planes.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    return np.broadcast_to(mean, planes.shape).astype(np.float32)


def integrated_gradient(
    probe: Probe,
    planes: Planes,
    at: Pixel,
    *,
    steps: int = 32,
    baseline: Planes | None = None,
    on_step: Told | None = None,
) -> tuple[Planes, float]:
    """Return what each input pixel adds to the value: (P, Y, X), signed, and what is missing.

    Parameters
    ----------
    probe, planes, at
        See `input_gradient`.
    steps
        Of the integral, at the middle of each.
    baseline
        Picture that shows nothing; `flat_baseline` if `None`.
    on_step
        Told of steps done.

    Returns
    -------
    tuple
        The map, and how far its sum is from the difference of the values of picture and baseline:
        0 is complete. Kinks of the network, between which the mean is taken, keep it from 0.
    """
    start = flat_baseline(planes) if baseline is None else baseline
    way = planes - start
    total = np.zeros(planes.shape, np.float64)
    for done in range(steps):
        total += input_gradient(probe, start + np.float32((done + 0.5) / steps) * way, at)
        if on_step is not None:
            on_step(done + 1, steps)
    found = (total / steps * way).astype(np.float32)
    wanted = probe.value(planes, at) - probe.value(start, at)
    return found, abs(float(found.sum(dtype=np.float64)) - wanted)


def radius_of(values: NDArray[np.float32], at: Pixel, share: float) -> float:
    """Return how far around a pixel a share of a map lies, in pixels.

    Parameters
    ----------
    values
        (Y, X), not negative.
    at
        The pixel.
    share
        0 to 1.

    Examples
    --------
    >>> line = np.array([[1.0, 2.0, 4.0, 2.0, 1.0]], np.float32)
    >>> radius_of(line, (0, 2), 0.8)
    1.0
    """
    y, x = np.indices(values.shape)
    far = np.hypot(y - at[0], x - at[1]).ravel()
    order = np.argsort(far, kind="stable")
    held = np.cumsum(values.ravel()[order], dtype=np.float64)
    if not held[-1] > 0:
        return float("nan")
    return float(far[order][np.searchsorted(held, share * held[-1] * (1 - 1e-12))])
