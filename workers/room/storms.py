"""Eviction storms: two windows of one person that keep throwing each other out.

Each comes back by itself as soon as it is thrown out (twilio-video.js#1512), so it goes on until
somebody closes one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from workers.room.bounds import CALM_AFTER, STORM_EVICTIONS, STORM_TOLD_EVERY, STORM_WITHIN
from workers.room.evictions import Eviction


class Storm(NamedTuple):
    """A storm that has not calmed down."""

    times: int
    since: int
    last: Eviction


def windows(times: Sequence[int]) -> list[int]:
    """Tell where so many evictions begin as close together as makes a storm.

    Args:
        times: of evictions, in order.
    """
    return [
        index
        for index, first in enumerate(times[: 1 - STORM_EVICTIONS])
        if times[index + STORM_EVICTIONS - 1] - first <= STORM_WITHIN
    ]


def storm(evicted: Sequence[Eviction], now: int) -> Storm | None:
    """Work out whether evictions of one person are a storm.

    Args:
        evicted: in the order in which they happened.
        now: a moment of arrival time. One that goes on is told anew once a second, so of what was
            heard within the second under way nothing is counted yet.
    """
    stormy = _stormy(evicted)
    if not stormy or now >= max(one.heard for one in stormy) + CALM_AFTER:
        return None
    began = _began(stormy)
    counted = began + (now - began) // STORM_TOLD_EVERY * STORM_TOLD_EVERY
    told = [one for one in stormy if one.heard <= began or one.heard < counted]
    return Storm(len(told), told[0].at, told[-1]) if told else None


def storm_waits(evicted: Sequence[Eviction]) -> Iterator[int]:
    """Tell when a storm changes by time alone, past moments too."""
    stormy = _stormy(evicted)
    if stormy:
        began = _began(stormy)
        for one in stormy:
            # The end of the second in which it was heard.
            yield began + ((one.heard - began) // STORM_TOLD_EVERY + 1) * STORM_TOLD_EVERY
        yield max(one.heard for one in stormy) + CALM_AFTER


def _stormy(evicted: Sequence[Eviction]) -> list[Eviction]:
    """Those that are part of a storm."""
    if len(evicted) < STORM_EVICTIONS:
        return []
    within = {
        index + offset
        for index in windows([one.at for one in evicted])
        for offset in range(STORM_EVICTIONS)
    }
    return [evicted[index] for index in sorted(within)]


def _began(stormy: Sequence[Eviction]) -> int:
    """When so many had been heard of that it was one."""
    return sorted(one.heard for one in stormy)[STORM_EVICTIONS - 1]
