"""Identities: the person, over all the sessions that came under one identity.

A person who is evicted, refreshes the page or reconnects has another session at once, and has not
left. So somebody departs only when nobody was back under the identity for as long as the linger.
All waits count from when something was heard: a recording played today concludes the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter

from workers.room.belief import belief, remark
from workers.room.bounds import CONTESTED_AFTER, GHOST_AFTER, LONGEST_SESSION, Bounds
from workers.room.facts import Facts, Session
from workers.room.once import Once
from workers.room.value import Value


@belief
class IdentityView:
    """What is believed of one person."""

    here: bool
    # Two sessions or more have been connected at once for a while.
    contested: bool = False
    # The session that stands for the person: the oldest that is connected, or the last to end.
    sid: str = remark("")
    start: int = remark(0)
    inferred: bool = remark()
    # When that ended, where all have ended.
    left_at: int = remark(0)
    # Those connected, oldest first.
    connected: tuple[str, ...] = remark(())
    # Sessions that are likely to be nobody's any more, oldest first.
    ghosts: tuple[str, ...] = remark(())
    ghost_since: int | None = remark()


class _Person(Value):
    """What can be said of somebody's sessions at any time."""

    # The last to end of those that have ended.
    last_sid: str
    last: Session | None
    # Oldest first.
    connected: tuple[tuple[str, Session], ...]
    # Since when nobody was heard to be there, where nobody is.
    gone: int
    # When it counts that several are connected, where several are.
    contested_at: int
    # When each of the connected is taken for nobody's, in their order.
    ghost_at: tuple[int, ...]


def identity_view(facts: Facts, identity: str, now: int, bounds: Bounds) -> IdentityView:
    """Work out what to believe of a person at a moment of arrival time."""
    person = _of(facts, identity, bounds)
    if facts.end is not None or not person.connected:
        sid, session = _last(facts, person)
        return IdentityView(
            here=facts.end is None and now < person.gone + bounds.linger,
            sid=sid,
            start=session.start,
            inferred=session.connected is None,
            left_at=session.ended.at if session.ended else facts.until,
        )
    ghosts = [one for one, at in zip(person.connected, person.ghost_at, strict=True) if now >= at]
    sid, oldest = person.connected[0]
    return IdentityView(
        here=True,
        contested=len(person.connected) > 1 and now >= person.contested_at,
        sid=sid,
        start=oldest.start,
        inferred=oldest.connected is None,
        connected=tuple(sid for sid, _ in person.connected),
        ghosts=tuple(sid for sid, _ in ghosts),
        ghost_since=ghosts[0][1].start if ghosts else None,
    )


def identity_waits(facts: Facts, identity: str, bounds: Bounds) -> Iterator[int]:
    """Tell when the view of a person changes by time alone, in no order and past moments too."""
    person = _of(facts, identity, bounds)
    if not person.connected:
        yield person.gone + bounds.linger
    if len(person.connected) > 1:
        yield person.contested_at
    yield from person.ghost_at


def _of(facts: Facts, identity: str, bounds: Bounds) -> _Person:
    sids = facts.people[identity]
    return _person(Once((facts.sessions[sid] for sid in sids), sids, bounds.linger))


# What is read from Redis is new with each batch, so more would only be kept in vain.
@lru_cache(maxsize=32)
def _person(once: Once) -> _Person:
    sids, linger = once.about
    sessions = list(zip(sids, once.of, strict=True))
    ended = [(session.ended.at, sid, session) for sid, session in sessions if session.ended]
    _, last_sid, last = max(ended, key=itemgetter(0, 1), default=(0, "", None))
    connected = sorted((one for one in sessions if one[1].ended is None), key=_by_start)
    return _Person(
        last_sid=last_sid,
        last=last,
        connected=tuple(connected),
        gone=0 if connected else _gone(once.of, linger),
        contested_at=_contested_at(connected) if len(connected) > 1 else 0,
        ghost_at=_ghosts_at([session for _, session in connected], once.of),
    )


def _by_start(one: tuple[str, Session]) -> tuple[int, str]:
    return one[1].start, one[0]


def _gone(sessions: tuple[Session, ...], linger: int) -> int:
    """Since when nobody was heard to be there, of sessions that have all ended.

    A session of which nothing was heard before its end was never there as far as anybody knew. To
    hear of it later brings nobody back; but who is not gone yet stays that much longer.
    """
    ends = sorted((session.end_heard or 0, session.heard) for session in sessions)
    known = [end for end, heard in ends if end > heard]
    gone = max(known) if known else ends[0][0]
    for end, _ in ends:
        if gone < end < gone + linger:
            gone = end
    return gone


def _contested_at(connected: list[tuple[str, Session]]) -> int:
    """Since when two of these have been known, and a while more."""
    return sorted(session.heard for _, session in connected)[1] + CONTESTED_AFTER


def _ghosts_at(connected: list[Session], sessions: tuple[Session, ...]) -> tuple[int, ...]:
    """When each of the sessions that are connected is taken for nobody's.

    Somebody who came anew is elsewhere by now, and the old session only waits for a time-out. And
    no session is longer than the longest room.
    """
    if not connected:
        return ()
    by_start = sorted((one.start, one.heard) for one in sessions)
    starts = [start for start, _ in by_start]
    # By place in that order, the earliest arrival of it and of all that are newer.
    heard = [*accumulate((heard for _, heard in reversed(by_start)), min)][::-1]
    ghosts_at = []
    for session in connected:
        newer = bisect_right(starts, session.start)
        ghosts_at.append(_ghost_at(session, heard[newer] if newer < len(heard) else None))
    return tuple(ghosts_at)


def _ghost_at(session: Session, newer: int | None) -> int:
    moments = [session.heard + LONGEST_SESSION]
    if newer is not None:
        moments.append(max(newer, session.heard) + GHOST_AFTER)
    if session.overtaken is not None:
        moments.append(session.overtaken + GHOST_AFTER)
    return min(moments)


def _last(facts: Facts, person: _Person) -> tuple[str, Session]:
    """The session that ended last; one that has not ended does so with the room."""
    ends = [(facts.until, sid, session) for sid, session in person.connected]
    if person.last and person.last.ended:
        ends.append((person.last.ended.at, person.last_sid, person.last))
    _, sid, session = max(ends, key=itemgetter(0, 1))
    return sid, session
