"""Which fields teach and which examine: never patches of one field on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_virtualstain.errors import SettingsError

__all__ = ["split_by_group"]


def split_by_group(
    groups: Sequence[str], *, validation: float, seed: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split items so that items of one group stay together.

    Parameters
    ----------
    groups
        Group of each item: its field, or better its well or plate.
    validation
        Share of the groups to validate on, between 0 and 1; at least one group
        is taken unless it is 0.
    seed
        Decides which.

    Returns
    -------
    tuple
        Indices for training, indices for validation, both in order.

    Raises
    ------
    SettingsError
        If no group would be left to train on.

    Examples
    --------
    >>> split_by_group(["a", "a", "b", "c"], validation=0.3, seed=0)
    ((0, 1, 2), (3,))
    """
    if not 0 <= validation < 1:
        raise SettingsError(
            f"The share of validation fields must be from 0 to below 1, got {validation}. "
            "Use for example 0.1."
        )
    names = sorted(set(groups))
    n_held = 0 if validation == 0 else max(1, round(len(names) * validation))
    if n_held >= len(names):
        raise SettingsError(
            f"{len(names)} field(s) cannot be split into training and validation. "
            "Give more fields, or use --validation 0 and judge on other images."
        )
    order = np.random.default_rng([seed, len(names)]).permutation(len(names))
    held = {names[i] for i in order[:n_held]}
    train = tuple(i for i, group in enumerate(groups) if group not in held)
    return train, tuple(i for i, group in enumerate(groups) if group in held)
