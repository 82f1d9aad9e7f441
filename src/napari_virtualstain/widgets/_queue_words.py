"""What is said of a list of images: how far it is, how long it takes, what failed and why."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from napari_virtualstain.jobs.batch_item import Item, failures_of
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.words import duration, plural

__all__ = ["failures_as_html", "failures_as_text", "seconds_left", "summary"]

_NAMED = 6
"""Images that are named of those that failed for one reason; all are in the list."""


def seconds_left(items: Sequence[Item], share: float) -> float | None:
    """Return how long a list will still take, `None` while nothing of it is done.

    Parameters
    ----------
    items
        Of the list.
    share
        Of the image that is stained now, 0 to 1.

    Examples
    --------
    >>> done = Item(input="a", scene="", out="a", state="done", seconds=10.0)
    >>> next = Item(input="b", scene="", out="b")
    >>> seconds_left([done, next], 0.25)
    7.5
    """
    took = [item.seconds for item in items if item.state == "done" and item.seconds > 0]
    ahead = sum(item.state in ("waiting", "running") for item in items)
    if not took or not ahead:
        return None
    return sum(took) / len(took) * (ahead - share)


def summary(items: Sequence[Item], left: float | None) -> str:
    """Return how many images are in which state, and the time that is left.

    Examples
    --------
    >>> summary([Item(input="a", scene="", out="a")], 70.0)
    '1 image: 1 waiting, about 70 s left'
    """
    if not items:
        return ""
    states = [item.state for item in items]
    counts = [(states.count(state), state) for state in ("done", "failed", "running", "waiting")]
    parts = ", ".join(f"{n} {state}" for n, state in counts if n)
    time = "" if left is None else f", about {duration(left)} left"
    return f"{plural(len(items), 'image')}: {parts}{time}"


def failures_as_text(items: Sequence[Item]) -> str:
    """Return what failed and why, to be copied: every image, by its sentence."""
    lines = []
    for sentence, names in failures_of(items).items():
        lines += [f"{plural(len(names), 'image')}: {words_of(sentence)}"]
        lines += [f"  {name}" for name in names]
    return "\n".join(lines)


def failures_as_html(items: Sequence[Item]) -> str:
    """Return the same to be shown, with the first images of each sentence."""
    parts = []
    for sentence, names in failures_of(items).items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        named = escape(", ".join(names[:_NAMED]) + more, quote=False)
        said = escape(words_of(sentence), quote=False)
        parts.append(f"<p style='margin-top:0'><b>{plural(len(names), 'image')}</b>: {said}<br>")
        parts.append(f"<small>{named}</small></p>")
    return "".join(parts)
