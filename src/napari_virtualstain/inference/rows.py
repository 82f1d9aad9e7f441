"""Rows of an intermediate image that are still needed, in pieces as they were computed.

"Rows" are positions along the axis that is streamed, whichever it is. Nothing
is copied that can be looked at; what is left over of a piece is copied out once
it is small, or its storage would stay as long as one row of it is needed.
"""

from __future__ import annotations

from collections import deque

import torch

__all__ = ["Rows"]


class Rows:
    """A window of rows ``[low, high)`` that moves down an image.

    Parameters
    ----------
    dim
        Dimension of the tensors along which it moves.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._pieces: deque[tuple[int, torch.Tensor]] = deque()  # first row, rows
        self._tail: torch.Tensor | None = None
        self.low = 0
        self.high = 0

    @property
    def nbytes(self) -> int:
        """Bytes that are held, storage of leftovers included."""
        return sum(piece.nbytes for _, piece in self._pieces)

    def append(self, rows: torch.Tensor) -> None:
        """Take rows that follow on the last."""
        self._pieces.append((self.high, rows))
        self.high += rows.shape[self._dim]

    def view(self, low: int, high: int) -> torch.Tensor:
        """Return rows, without copying if they are one piece."""
        parts = [piece.narrow(self._dim, a, n) for piece, a, n in self._parts(low, high)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=self._dim)

    def copy_into(self, target: torch.Tensor, low: int, high: int) -> None:
        """Copy rows to where they are wanted."""
        at = 0
        for piece, first, count in self._parts(low, high):
            target.narrow(self._dim, at, count).copy_(piece.narrow(self._dim, first, count))
            at += count

    def join(self, rows: torch.Tensor, low: int) -> None:
        """Take rows that begin with copies of those from ``low`` on, which they replace."""
        self._pieces = deque([(low, rows)])
        self.low = low
        self.high = low + rows.shape[self._dim]

    def drop_before(self, low: int) -> None:
        """Let go of the rows above ``low``."""
        self.low = max(self.low, min(low, self.high))
        while self._pieces and self._end(self._pieces[0]) <= self.low:
            self._pieces.popleft()
        if self._pieces:
            first, piece = self._pieces[0]
            left = self._end(self._pieces[0]) - self.low
            if 2 * left < piece.shape[self._dim]:
                kept = piece.narrow(self._dim, self.low - first, left)
                self._pieces[0] = (self.low, self._kept(kept))

    def _kept(self, rows: torch.Tensor) -> torch.Tensor:
        """Copy rows to where the last ones that were left over lay.

        A new place every time would come to lie between large blocks, and keep the allocator
        from joining them.
        """
        tail = self._tail
        if tail is None or tail.shape != rows.shape or self._is_held(tail):
            self._tail = rows.clone(memory_format=torch.preserve_format)
            return self._tail
        return tail.copy_(rows)

    def _is_held(self, tail: torch.Tensor) -> bool:
        return any(piece is tail for _, piece in list(self._pieces)[1:]) or (
            bool(self._pieces) and self._pieces[0][1] is tail
        )

    def _end(self, entry: tuple[int, torch.Tensor]) -> int:
        return entry[0] + entry[1].shape[self._dim]

    def _parts(self, low: int, high: int) -> list[tuple[torch.Tensor, int, int]]:
        """Return (piece, first row in it, count) of each piece that rows lie in."""
        found = []
        for entry in self._pieces:
            a, b = max(low, entry[0]), min(high, self._end(entry))
            if a < b:
                found.append((entry[1], a - entry[0], b - a))
        if sum(count for *_, count in found) != high - low:
            raise RuntimeError(f"Rows {low} to {high} are not there: {self.low} to {self.high}.")
        return found
