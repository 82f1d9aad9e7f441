"""What tests of networks share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn


@pytest.fixture
def shaken() -> Callable[[nn.Module], nn.Module]:
    """Give a network weights and running statistics that are all at random, in evaluation."""

    def shake(net: nn.Module) -> nn.Module:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, value in net.state_dict().items():
                if name.endswith("running_var"):
                    value.uniform_(0.5, 2.0, generator=generator)
                elif value.is_floating_point() and value.ndim == 1:
                    value.normal_(generator=generator)
        return net.eval()

    return shake
