"""What is a network told of an image? Names of classes become the numbers that it knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.errors import SettingsError, unknown_name
from napari_virtualstain.generators.card import LabelKind

__all__ = ["UNKNOWN_LABEL", "find_kinds", "number_labels", "read_stated"]

UNKNOWN_LABEL = -1
"""Number of what is not known; as `nets.guided_unet.UNKNOWN`."""


def find_kinds(names: Sequence[str], fields: Iterable[PairedField]) -> tuple[LabelKind, ...]:
    """Return the classes of each label that fields have, in alphabetical order.

    Parameters
    ----------
    names
        Of the labels.
    fields
        That teach, labelled in this order.

    Raises
    ------
    SettingsError
        If a label has fewer than two classes, of which nothing is learnt.
    """
    columns = list(zip(*(field.labels for field in fields), strict=True))
    kinds = []
    for name, column in zip(names, columns, strict=True):
        classes = sorted({label for label in column if label is not None})
        if len(classes) < 2:
            raise SettingsError(
                f"All fields that teach have the same {name} ({', '.join(classes) or 'none'}), "
                f"from which nothing is learnt. Leave {name} out of --condition, or add fields."
            )
        kinds.append(LabelKind(name=name, classes=tuple(classes)))
    return tuple(kinds)


def number_labels(kinds: Sequence[LabelKind], labels: Sequence[str | None]) -> tuple[int, ...]:
    """Return the number of each label of an image; -1 where it is not known, or of no class."""
    return tuple(
        kind.classes.index(label) if label in kind.classes else UNKNOWN_LABEL
        for kind, label in zip(kinds, labels, strict=True)
    )


def read_stated(kinds: Sequence[LabelKind], stated: Iterable[str], model: str) -> tuple[int, ...]:
    """Return the numbers of labels that are stated as ``NAME=CLASS``; -1 for all others.

    Parameters
    ----------
    kinds
        What the model can be told.
    stated
        For example ``treatment=taxol``.
    model
        Its name, for messages.

    Raises
    ------
    SettingsError
        If the model takes no labels, or a text states none.
    UnknownNameError
        If there is no such label or class: the model never saw it.

    Examples
    --------
    >>> kind = LabelKind(name="treatment", classes=("dmso", "taxol"))
    >>> read_stated([kind], ["treatment=taxol"], "m"), read_stated([kind], [], "m")
    ((1,), (-1,))
    """
    told: dict[str, str] = {}
    names = [kind.name for kind in kinds]
    for text in stated:
        if not kinds:
            raise SettingsError(
                f"The model {model!r} is told nothing of an image but its planes. "
                "Leave out --told, or choose a model that was trained with --condition."
            )
        name, sign, label = (part.strip() for part in text.partition("="))
        if not (name and sign and label):
            raise SettingsError(
                f"--told takes NAME=CLASS, not {text!r}. Write for example "
                f"--told {names[0]}={kinds[0].classes[0]}."
            )
        if name not in names:
            raise unknown_name(f"label of {model}", name, names)
        kind = kinds[names.index(name)]
        if label not in kind.classes:
            then = f"Choose one of these, or leave {name} out: a new one is best left unknown."
            raise unknown_name(f"{name} of {model}", label, kind.classes, then=then)
        told[name] = label
    return number_labels(kinds, [told.get(name) for name in names])
