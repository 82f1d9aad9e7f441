"""What a batch remembers: its settings, and its images in the order in which they are stained.

A state is a value: what a run notes of an image, and what a user changes in the
list meanwhile, each give another state. `batch_file` keeps it on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.jobs.batch_item import Item, Key, PlateShape

__all__ = ["BatchState", "differing", "keys_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """A batch at one moment.

    Parameters
    ----------
    settings
        That decide what all stains look like, as plain values.
    items
        The images, in order.
    removed
        Images that were taken out of the list: a batch that finds them again leaves them out.
    paused
        Whether no further image is to be begun.
    begun
        Whether a run has begun: from then on the settings stay.
    plate
        Of an output that is one plate; `None` for a folder.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    items: tuple[Item, ...] = ()
    removed: tuple[Item, ...] = ()
    paused: bool = False
    begun: bool = False
    plate: PlateShape | None = None

    @property
    def waiting(self) -> tuple[Item, ...]:
        """The images that are still to be stained."""
        return tuple(item for item in self.items if item.state == "waiting")

    def item(self, key: Key) -> Item | None:
        """Return an image of the list, `None` if it is not there."""
        return next((item for item in self.items if item.key == key), None)

    # --- what a run notes -------------------------------------------------------------------------

    def marked(self, key: Key, **changes: Any) -> BatchState:
        """Return the state in which something else is known of one image."""
        items = tuple(replace(item, **changes) if item.key == key else item for item in self.items)
        return replace(self, items=items)

    def each(self, change: Callable[[Item], Item]) -> BatchState:
        """Return the state in which every image was changed by a function."""
        return replace(self, items=tuple(change(item) for item in self.items))

    # --- what a user changes ----------------------------------------------------------------------

    def with_items(self, new: Sequence[Item], *, again: bool = True) -> BatchState:
        """Return the state with more images behind those that are there.

        An image that is in the list stays as it is; if other time points of it are asked for,
        both are.

        Parameters
        ----------
        new
            See `batch_items.placed`.
        again
            Whether images that were removed are added too.

        Raises
        ------
        SettingsError
            If an image is in the list with other settings of its own.
        """
        gone = keys_of(self.removed)
        items = {item.key: item for item in self.items}
        for item in new:
            if again or item.key not in gone:
                old = items.get(item.key)
                items[item.key] = item if old is None else _joined(old, item)
        removed = tuple(item for item in self.removed if item.key not in items)
        return replace(self, items=tuple(items.values()), removed=removed)

    def moved(self, keys: Collection[Key], by: int) -> BatchState:
        """Return the state in which images that wait are done earlier (-1) or later (1).

        Each passes one other image that waits, and images that are done keep their places.

        Examples
        --------
        >>> state = BatchState(items=tuple(Item(input=n, scene="", out=n) for n in "abc"))
        >>> [item.input for item in state.moved({("c", "")}, -1).items]
        ['a', 'c', 'b']
        """
        items = list(self.items)
        places = [n for n, item in enumerate(items) if item.state == "waiting"]
        steps = list(range(len(places)))
        for step in steps if by < 0 else reversed(steps):
            other = step + (1 if by > 0 else -1)
            if not 0 <= other < len(places):
                continue
            here, there = places[step], places[other]
            if items[here].key in keys and items[there].key not in keys:
                items[here], items[there] = items[there], items[here]
        return replace(self, items=tuple(items))

    def without(self, keys: Collection[Key]) -> BatchState:
        """Return the state without some images; what was stained of them stays on disk."""
        gone = tuple(
            replace(item, state="waiting", sentence="") for item in self.items if item.key in keys
        )
        items = tuple(item for item in self.items if item.key not in keys)
        return replace(self, items=items, removed=(*self.removed, *gone))

    def retried(self, keys: Collection[Key] | None = None) -> BatchState:
        """Return the state in which what failed waits again; all of it, or only some images."""
        return self.each(
            lambda item: (
                replace(item, state="waiting", sentence="")
                if item.state == "failed" and (keys is None or item.key in keys)
                else item
            )
        )


def _joined(old: Item, new: Item) -> Item:
    """Return an image of the list that is asked for once more."""
    differ = [name for name, value in new.own().items() if old.own()[name] != value]
    if differ:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in differ)
        raise SettingsError(
            f"{old.name!r} is in the list already, with other settings ({options}). Remove it "
            "there first, or choose another --out."
        )
    times = tuple(sorted({*old.times, *new.times})) if old.times and new.times else ()
    if times == old.times:
        return old
    state = "waiting" if old.state == "done" else old.state
    return replace(old, times=times, state=state)


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names under which two sets of settings have other values."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def keys_of(items: Iterable[Item]) -> set[Key]:
    """Return the keys of some images."""
    return {item.key for item in items}
