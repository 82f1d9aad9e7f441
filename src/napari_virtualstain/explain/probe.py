"""What is asked of a generator? One stain, at a pixel or over a part, as it follows from planes.

A network over volumes is asked as one over planes (`inference.stack`), so that planes (P, Y, X) go
in and stains come out, whatever it is. A crop with the halo of the network holds all that a pixel
depends on, so the whole field is never needed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.explain.sanity import randomise_weights
from napari_virtualstain.inference.kernels import use_good_kernels

__all__ = ["Asked", "Pixel", "Planes", "Probe", "network_probe"]

Planes = NDArray[np.float32]
Pixel = tuple[int, int]
Asked = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """One stain of a generator.

    Parameters
    ----------
    predict
        Maps normalised planes (P, Y, X) to the normalised stain (Y, X).
    module
        The same with derivatives, (1, P, Y, X) to (1, C, Y, X); `None` where there are none.
    stain
        Which of C.
    without
        Why there are no derivatives, as the beginning of a sentence; ``""`` if there are.
    blind
        Returns the same probe with random weights, `None` where the weights cannot be reached.
    """

    predict: Callable[[Planes], NDArray[np.float32]]
    stain: int
    module: nn.Module | None = None
    without: str = ""
    blind: Callable[[int], Probe] | None = None

    def value(self, planes: Planes, at: Pixel) -> float:
        """Return the predicted value of a pixel of a crop."""
        return float(self.predict(planes)[at])

    def asked(self, at: Pixel) -> Asked:
        """Return what maps planes (1, P, Y, X) to the predicted value of a pixel.

        Raises
        ------
        SettingsError
            If the network has no derivatives.
        """
        module = self.differentiable()
        return lambda planes: module(planes)[0, self.stain, at[0], at[1]]

    def differentiable(self) -> nn.Module:
        """Return the network.

        Raises
        ------
        SettingsError
            If it has no derivatives.
        """
        if self.module is None:
            raise SettingsError(
                f"{self.without}, so that there are no gradients of it; it has planes and "
                "occlusion. Choose among these with --method."
            )
        return self.module

    def tensor(self, planes: Planes) -> torch.Tensor:
        """Return planes (P, Y, X) as (1, P, Y, X), where the network computes."""
        parameter = next(self.differentiable().parameters())
        return torch.from_numpy(np.ascontiguousarray(planes[None])).to(parameter)


def network_probe(module: nn.Module, *, stain: int, example: Planes) -> Probe:
    """Return the probe of a network that is one forward pass.

    Parameters
    ----------
    module
        Maps (1, P, Y, X) to (1, C, Y, X), for evaluation.
    stain
        Which of C.
    example
        Planes (P, Y, X), small, by which it is seen whether the network has derivatives.
    """
    weights = list(module.parameters())
    parameter = weights[0] if weights else torch.zeros(())

    def predict(planes: Planes) -> NDArray[np.float32]:
        with torch.no_grad():
            given = torch.from_numpy(np.ascontiguousarray(planes[None])).to(parameter)
            stains: NDArray[np.float32] = module(given)[0, stain].float().cpu().numpy()
        return stains

    def blind(seed: int) -> Probe:
        other = copy.deepcopy(module)
        use_good_kernels(other)  # a copied network would call the convolutions of the original
        randomise_weights(other, seed)
        return network_probe(other, stain=stain, example=example)

    probe = Probe(predict=predict, stain=stain, blind=blind if weights else None)
    given = torch.from_numpy(np.ascontiguousarray(example[None])).to(parameter)
    try:
        passes = bool(module(given.requires_grad_()).requires_grad)
    except RuntimeError:
        passes = False
    if passes:
        return replace(probe, module=module)
    return replace(probe, without="The network came as a graph that runs in another library")
