"""One chain of records, followed number by number. Pure.

A room has one, and another one where it was heard of again when nothing was left of it. Whatever
else somebody has written beside them is followed as well, so that it can be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Strand:
    """A chain, as far as it was followed."""

    def __init__(self, place: str = "", begun_ms: int = 0) -> None:
        """Begin one.

        Args:
            place: where its first record was found.
            begun_ms: when that was written, in milliseconds since 1970.
        """
        self.place = place
        self.begun_ms = self.ended_ms = begun_ms
        # The numbers of the first and the last of its records; 0 where there is none yet.
        self.first = self.last = 0
        # Of the last number the hashes, each with its place.
        self.hashes: Mapping[str, str] = {}
        # The same of the number at which the room's chain ends in Redis.
        self.at_head: Mapping[str, str] = {}
        self.closed = False
        # Ranges of numbers after the last whole record that altered ones claim, in order.
        self._claimed: list[tuple[int, int]] = []

    def claim(self, n: int) -> None:
        """Take note of an altered record that has the next number."""
        least, most = self._claimed.pop() if self._claimed else (n, n - 1)
        if most == n - 1:
            self._claimed.append((least, n))
        else:
            self._claimed += [(least, most), (n, n)]

    def is_broken_before(self, n: int) -> bool:
        """Whether it is unknown what record `n` of it would have to follow."""
        return self.last < n - 1

    def holes(self, n: int) -> Iterator[tuple[int, int]]:
        """Find the numbers between its last record and `n` that no record has, in ranges."""
        least = self.last + 1
        for first, last in (*self._claimed, (n, n)):
            if least < first:
                yield least, first - 1
            least = last + 1

    def take(self, n: int, hashes: Mapping[str, str], closed_ms: int | None) -> None:
        """Take all its records of a number.

        Args:
            n: the number.
            hashes: each with its place.
            closed_ms: when the closing one of them was written; None where none is.
        """
        self.first = self.first or n
        self.last, self.hashes, self._claimed = n, hashes, []
        self.closed = closed_ms is not None
        self.ended_ms = closed_ms or self.ended_ms

    def end(self) -> None:
        """Take altered records that continue it for its end."""
        if self._claimed and self._claimed[0][0] == self.last + 1:
            self.last, self.closed, self.hashes = self._claimed[0][1], False, {}
