"""Which fields teach and which examine: never patches of one field on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from napari_virtualstain.errors import SettingsError

__all__ = ["SetName", "SplitBy", "split_by_group", "split_in_sets"]

SetName = Literal["train", "validation", "test"]
"""What a field is used for."""

SplitBy = Literal["field", "well", "plate"]
"""What stays in one set as a whole."""


def split_in_sets(
    groups: Sequence[str], *, validation: float, test: float = 0.0, seed: int
) -> tuple[SetName, ...]:
    """Say for each item in which set it is, so that items of one group stay together.

    Parameters
    ----------
    groups
        Group of each item: its field, or better its well or plate.
    validation, test
        Shares of the groups, from 0 to below 1; at least one group each unless the share is 0.
    seed
        Decides which.

    Raises
    ------
    SettingsError
        If a share is out of its range, or no group would be left to train on.

    Examples
    --------
    >>> split_in_sets(["a", "a", "b", "c"], validation=0.3, test=0.3, seed=0)
    ('train', 'train', 'test', 'validation')
    """
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise SettingsError(
                f"The share of {name} fields must be from 0 to below 1, got {share}. "
                "Use for example 0.1."
            )
    names = sorted(set(groups))
    n_held, n_test = (0 if s == 0 else max(1, round(len(names) * s)) for s in (validation, test))
    if n_held + n_test >= len(names):
        parts = "training, validation and test" if test else "training and validation"
        raise SettingsError(
            f"{len(names)} field(s) cannot be split into {parts}. "
            "Give more fields, or use --validation 0 and judge on other images."
        )
    order = np.random.default_rng([seed, len(names)]).permutation(len(names))
    held = {names[i] for i in order[:n_held]}
    tested = {names[i] for i in order[n_held : n_held + n_test]}
    return tuple(
        "validation" if group in held else "test" if group in tested else "train"
        for group in groups
    )


def split_by_group(
    groups: Sequence[str], *, validation: float, seed: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split items into training and validation so that items of one group stay together.

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
    sets = split_in_sets(groups, validation=validation, seed=seed)
    train = tuple(i for i, name in enumerate(sets) if name == "train")
    return train, tuple(i for i, name in enumerate(sets) if name != "train")
