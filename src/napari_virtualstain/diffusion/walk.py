"""How is a whole picture sampled? Step by step, all of it at once.

For what fits on a device: patches that a training is examined on, and batches of tiles or draws.
Pictures of any size go through `inference.stepwise`, with the same rules and the same numbering of
the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_virtualstain.diffusion.noise_schedule import StepTime
from napari_virtualstain.diffusion.step_rule import Array, StepRule, narrow

__all__ = ["walk"]


def walk(
    rule: StepRule,
    predict: Callable[[Array, StepTime], Array],
    draw: Callable[[int], Array],
    *,
    start: Array | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Array:
    """Return what a sampler makes of noise, or of the known end of a bridge.

    Parameters
    ----------
    rule
        How to step.
    predict
        The network, with all that it is conditioned on: takes x and the time, returns the
        prediction, (outputs of the rule, *x.shape).
    draw
        Takes a number, returns standard normal noise of the shape of x, float32: 0 is asked for
        the first x, ``step + 1`` for a step that adds noise.
    start
        What the noise of the first x is added to, for bridges; zeros if `None`.
    on_step
        Called with steps done and steps in all, first of all with none done. What it raises ends
        the run.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        Of the shape of x, float32.
    """
    report = on_step or (lambda _done, _total: None)
    report(0, rule.steps)
    first: Any = start if start is not None and not rule.initial_scale else draw(0)
    begin = first * 0 if start is None else start
    x = narrow(begin + rule.initial_scale * first)
    history = begin[None][: rule.memory]
    for step in range(rule.steps):
        prediction = predict(x, rule.prepare(step))
        noise = draw(step + 1) if rule.is_stochastic(step) else None
        x, history = rule.step(step, x, prediction, history, noise)
        report(step + 1, rule.steps)
    found: Array = x
    return found
