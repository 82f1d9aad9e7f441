"""How is a number said? With what is counted, or in the unit that people would take."""

from __future__ import annotations

__all__ = ["duration", "plural"]


def plural(n: int, word: str) -> str:
    """Return a number and a word.

    Examples
    --------
    >>> plural(1, "image"), plural(0, "image")
    ('1 image', '0 images')
    """
    return f"{n} {word}{'s' * (n != 1)}"


def duration(seconds: float) -> str:
    """Return a time in the unit in which people would say it.

    Examples
    --------
    >>> duration(12.3), duration(600), duration(9000)
    ('12 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
