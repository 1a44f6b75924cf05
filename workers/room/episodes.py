"""Episodes: evictions of one person that belong together, until it has been calm for a while.

The alerts are about the episode under way and forget those before. An episode in which two windows
keep throwing each other out is a storm: each comes back by itself as soon as it is thrown out
(twilio-video.js#1512), so it goes on until somebody closes one of them. What is let go of while an
episode lasts is carried on in numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise

from workers.room.bounds import (
    AGAIN_WITHIN,
    CALM_AFTER,
    STORM_EVICTIONS,
    STORM_TOLD_EVERY,
    STORM_WITHIN,
)
from workers.room.evictions import Eviction
from workers.room.facts import Carried
from workers.room.value import Value


class Storm(Value):
    """What is told of a storm."""

    times: int
    since: int
    last: Eviction


class Episode(Value):
    """An episode that has not calmed down."""

    severity: str
    # Those of a storm are counted there, but for the first of them.
    times: int
    since: int
    last: Eviction
    storm: Storm | None


def episode(evicted: Sequence[Eviction], carried: Carried | None, now: int) -> Episode | None:
    """Work out what is under way.

    Args:
        evicted: of one person, in the order in which they happened.
        carried: what is known of those that were let go.
        now: a moment of arrival time.
    """
    if not evicted:
        return None
    members = _members(evicted)
    if now >= members[-1].heard + CALM_AFTER:
        return None
    before = carried if carried and _goes_on(carried, members, evicted) else None
    of_it = {one.evicted_sid for one in members}
    stormy = [one for one in _stormy(evicted, carried) if one.evicted_sid in of_it]
    plain = len(members) - len(stormy) + (before.plain if before else 0)
    many = len(stormy) + (before.stormy if before else 0)
    return Episode(
        severity=_severity(evicted, carried, members, stormy=bool(many)),
        times=plain + min(many, STORM_EVICTIONS),
        since=min([one.at for one in members] + ([before.since] if before else [])),
        last=max(members, key=_when),
        storm=_storm(stormy, before, now),
    )


def episode_waits(evicted: Sequence[Eviction], carried: Carried | None) -> Iterator[int]:
    """Tell when an episode changes by time alone, past moments too."""
    if evicted:
        yield max(one.heard for one in evicted) + CALM_AFTER
    for one in _stormy(evicted, carried):
        # The end of the second in which it was heard.
        yield (one.heard // STORM_TOLD_EVERY + 1) * STORM_TOLD_EVERY


def carry(carried: Carried | None, gone: Eviction, evicted: Iterable[Eviction]) -> Carried:
    """Carry on what is let go of.

    Args:
        carried: what is carried already.
        gone: the eviction that is let go, of those in `evicted`; mostly the first of them.
        evicted: all that are known, in the order in which they happened.
    """
    goes_on = carried is not None and gone.heard - carried.heard <= CALM_AFTER
    known = carried if carried and goes_on else None
    # Whether the first is part of a storm, those next to it tell.
    near = [*islice(evicted, STORM_EVICTIONS)]
    stormy = gone in _stormy(near if near[0] is gone else [*evicted], carried)
    times = sorted((*(carried.times if carried else ()), gone.at))[1 - STORM_EVICTIONS :]
    storm_since = known.storm_since if known else None
    if stormy and storm_since is None:
        storm_since = gone.at
    return Carried(
        plain=(known.plain if known else 0) + (not stormy),
        stormy=(known.stormy if known else 0) + stormy,
        since=min(known.since, gone.at) if known else gone.at,
        storm_since=storm_since,
        heard=max(known.heard, gone.heard) if known else gone.heard,
        times=tuple(times),
    )


def _members(evicted: Sequence[Eviction]) -> list[Eviction]:
    """Those of the last episode, in the order in which they were heard of."""
    by_heard = sorted(evicted, key=_heard)
    members = by_heard[-1:]
    for one in reversed(by_heard[:-1]):
        if members[-1].heard - one.heard > CALM_AFTER:
            break
        members.append(one)
    return members[::-1]


def _goes_on(carried: Carried, members: list[Eviction], evicted: Sequence[Eviction]) -> bool:
    return len(members) == len(evicted) and members[0].heard - carried.heard <= CALM_AFTER


def _severity(
    evicted: Sequence[Eviction],
    carried: Carried | None,
    members: Sequence[Eviction],
    *,
    stormy: bool,
) -> str:
    if stormy:
        return "critical"
    times = sorted((*(carried.times if carried else ()), *(one.at for one in evicted)))
    of_it = {one.at for one in members}
    again = (
        second in of_it and second - first <= AGAIN_WITHIN for first, second in pairwise(times)
    )
    return "warning" if any(again) else "info"


def _storm(stormy: Sequence[Eviction], before: Carried | None, now: int) -> Storm | None:
    """What is told of a storm anew with each second, and of the second under way nothing yet."""
    if not stormy:
        return None
    carried = before.stormy if before else 0
    # Those that made it a storm are told at once.
    first = sorted(one.heard for one in stormy)[:STORM_EVICTIONS] if not carried else [0]
    second = now // STORM_TOLD_EVERY * STORM_TOLD_EVERY
    told = [one for one in stormy if one.heard <= first[-1] or one.heard < second]
    since = min(one.at for one in told or stormy)
    if before and before.storm_since is not None:
        since = min(since, before.storm_since)
    return Storm(carried + len(told), since, max(told or stormy, key=_when))


def _stormy(evicted: Sequence[Eviction], carried: Carried | None) -> list[Eviction]:
    """Those that are part of a storm."""
    times = carried.times if carried else ()
    if len(times) + len(evicted) < STORM_EVICTIONS:
        return []
    # What is let go first need not have happened first.
    places = [(at, -1) for at in times] + [(one.at, place) for place, one in enumerate(evicted)]
    places.sort()
    within = {
        place
        for index, (first, _) in enumerate(places[: 1 - STORM_EVICTIONS])
        if places[index + STORM_EVICTIONS - 1][0] - first <= STORM_WITHIN
        for _, place in places[index : index + STORM_EVICTIONS]
    }
    return [one for place, one in enumerate(evicted) if place in within]


def _heard(eviction: Eviction) -> tuple[int, int, str]:
    return eviction.heard, eviction.at, eviction.evicted_sid


def _when(eviction: Eviction) -> tuple[int, str]:
    return eviction.at, eviction.evicted_sid
