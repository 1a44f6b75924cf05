"""Sequence numbers: which were heard, and which are missing between them.

In every recording they run 0, 1, 2 … through a room without a hole, though nothing promises it
(https://www.twilio.com/docs/video/api/status-callbacks says that they are not the order). So a hole
between two numbers is a callback that was not heard; before the least and after the greatest one
nothing can be seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from workers.room.facts import Range
from workers.room.value import replace

Holes = tuple[tuple[int, int], ...]

# A room of 24 h that loses one callback in a hundred has fewer. Beyond it no number is taken that
# would make one more: facts stay bounded, and nothing wrong is said.
_MOST_RANGES = 512


# A hundred callbacks a second for a whole day. What is more is nonsense, and so would be the hole.
_GREATEST = 10_000_000
# Holes are told together, once a second.
_TOLD_EVERY = 1_000_000


def with_number(ranges: tuple[Range, ...], number: int, heard: int) -> tuple[Range, ...]:
    """Add a number, joining ranges that it makes adjacent; -1 stands for none."""
    if number < 0 or number > _GREATEST:
        return ranges
    if ranges and ranges[-1].most + 1 == number:
        last = ranges[-1]
        return (*ranges[:-1], Range(last.least, number, min(last.heard, heard)))
    new = Range(number, number, heard)
    kept: list[Range] = []
    for one in ranges:
        if one.least <= number <= one.most:
            return ranges if one.heard <= heard else _replaced(ranges, one, heard)
        if one.most == number - 1 or one.least == number + 1:
            new = Range(
                min(one.least, new.least), max(one.most, new.most), min(one.heard, new.heard)
            )
        else:
            kept.append(one)
    if len(kept) >= _MOST_RANGES:
        return ranges
    return tuple(sorted([*kept, new]))


def _replaced(ranges: tuple[Range, ...], old: Range, heard: int) -> tuple[Range, ...]:
    return tuple(replace(one, heard=heard) if one is old else one for one in ranges)


def holes(ranges: tuple[Range, ...]) -> list[tuple[int, int, int]]:
    """List the holes: least and greatest missing number, and since when the hole can be seen."""
    if len(ranges) < 2:
        return []
    below = accumulate((one.heard for one in ranges), min)
    above = [*accumulate((one.heard for one in reversed(ranges)), min)][::-1]
    return [
        (one.most + 1, following.least - 1, max(heard, above[index + 1]))
        for index, (one, following, heard) in enumerate(
            zip(ranges, ranges[1:], below, strict=False)
        )
    ]


def missing(ranges: tuple[Range, ...], now: int, patience: int) -> Holes:
    """List the holes that have been open for as long as patience lasts."""
    if len(ranges) < 2:
        return ()
    return tuple(
        (least, most) for least, most, seen in holes(ranges) if now >= missed_at(seen, patience)
    )


def missed_at(seen: int, patience: int) -> int:
    """When a hole that can be seen since a moment is told."""
    return -(-(seen + patience) // _TOLD_EVERY) * _TOLD_EVERY


def without(some: Holes, others: Holes) -> Holes:
    """Take the numbers of `others` out of `some`."""
    left = list(some)
    for least, most in others:
        left = [piece for one in left for piece in _cut(one, least, most)]
    return tuple(left)


def _cut(one: tuple[int, int], least: int, most: int) -> list[tuple[int, int]]:
    if most < one[0] or least > one[1]:
        return [one]
    return [piece for piece in ((one[0], least - 1), (most + 1, one[1])) if piece[0] <= piece[1]]


def joined(some: Holes, others: Holes) -> Holes:
    """Put the numbers of both together."""
    whole: list[tuple[int, int]] = []
    for least, most in sorted([*some, *others]):
        if whole and least <= whole[-1][1] + 1:
            whole[-1] = (whole[-1][0], max(whole[-1][1], most))
        else:
            whole.append((least, most))
    return tuple(whole)


def count(some: Iterable[tuple[int, int]]) -> int:
    """How many numbers these are."""
    return sum(most - least + 1 for least, most in some)
