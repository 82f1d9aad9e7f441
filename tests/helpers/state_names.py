"""What a state dict is called and shaped like, as one number."""

from __future__ import annotations

import hashlib


def names_and_shapes(net) -> str:
    """Return the sha256 of the sorted lines ``name (shape)`` of a network's state dict."""
    lines = sorted(f"{name} {tuple(value.shape)}" for name, value in net.state_dict().items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
