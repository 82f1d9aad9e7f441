"""What is a feature about? Its compartment, its type and its channel, read from its name."""

from __future__ import annotations

from typing import NamedTuple

from napari_virtualstain.objects.measure import SHAPE_COLUMNS

__all__ = ["FeatureGroup", "group_of"]

_COMPARTMENTS = ("nucleus", "cell")


class FeatureGroup(NamedTuple):
    """Where, what, and of which stain.

    Parameters
    ----------
    compartment
        ``"nucleus"``, ``"cell"``, or ``"field"`` of what is of no object.
    kind
        ``"count"``, ``"shape"`` or ``"intensity"``.
    channel
        ``""`` of what is of no stain.
    """

    compartment: str
    kind: str
    channel: str

    def __str__(self) -> str:
        return " ".join(part for part in (self.compartment, self.kind, self.channel) if part)


def group_of(name: str) -> FeatureGroup:
    """Return the group of a feature as `virtualstain measure` names it.

    Examples
    --------
    >>> str(group_of("median_nucleus_mean_DNA")), str(group_of("median_cell_solidity"))
    ('nucleus intensity DNA', 'cell shape')
    >>> str(group_of("count"))
    'field count'
    """
    compartment, _, rest = name.removeprefix("median_").partition("_")
    if compartment not in _COMPARTMENTS:
        return FeatureGroup("field", "count", "")
    if rest in SHAPE_COLUMNS:
        return FeatureGroup(compartment, "shape", "")
    return FeatureGroup(compartment, "intensity", rest.partition("_")[2])
