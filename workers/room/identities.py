"""Identities: the person, over all the sessions that came under one identity.

A person who is evicted, refreshes the page or reconnects has another session at once, and has not
left. So somebody departs only when nobody was back under the identity for as long as the linger.
All waits count from when something was heard: a recording played today concludes the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from workers.room.bounds import CONTESTED_AFTER, GHOST_AFTER, LONGEST_SESSION, Bounds
from workers.room.facts import Facts, Session
from workers.room.once import Once


def _remark(default: Any = None) -> Any:
    return field(default=default, compare=False)


@dataclass(frozen=True, slots=True)
class IdentityView:
    """What is believed of one person."""

    here: bool
    # Two sessions or more have been connected at once for a while.
    contested: bool = False
    first_sid: str = _remark("")
    first_start: int = _remark(0)
    first_inferred: bool = _remark()
    # The session that ended last, where all have ended.
    last_sid: str = _remark("")
    left_at: int = _remark(0)
    # Those connected, oldest first.
    connected: tuple[str, ...] = _remark(())
    # Sessions that are likely to be nobody's any more, oldest first.
    ghosts: tuple[str, ...] = _remark(())
    ghost_since: int | None = _remark()


class _Person(NamedTuple):
    """What can be said of somebody's sessions at any time."""

    first_sid: str
    first: Session
    # The last to end of those that have ended, and when.
    last_sid: str
    last_end: int
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
    person = _of(facts, identity)
    about = (person.first_sid, person.first.start, person.first.connected is None)
    if facts.end is not None:
        return IdentityView(False, False, *about, *_left_with_the_room(facts, person))
    if not person.connected:
        here = now < person.gone + bounds.linger
        return IdentityView(here, False, *about, person.last_sid, person.last_end)
    ghosts = [one for one, at in zip(person.connected, person.ghost_at, strict=True) if now >= at]
    return IdentityView(
        here=True,
        contested=len(person.connected) > 1 and now >= person.contested_at,
        first_sid=about[0],
        first_start=about[1],
        first_inferred=about[2],
        connected=tuple(sid for sid, _ in person.connected),
        ghosts=tuple(sid for sid, _ in ghosts),
        ghost_since=ghosts[0][1].start if ghosts else None,
    )


def identity_waits(facts: Facts, identity: str, bounds: Bounds) -> Iterator[int]:
    """Tell when the view of a person changes by time alone, in no order and past moments too."""
    person = _of(facts, identity)
    if not person.connected:
        yield person.gone + bounds.linger
    if len(person.connected) > 1:
        yield person.contested_at
    yield from person.ghost_at


def _of(facts: Facts, identity: str) -> _Person:
    sids = facts.people[identity]
    return _person(Once((facts.sessions[sid] for sid in sids), sids))


# As many people as a worker's next batches are likely to be about.
@lru_cache(maxsize=256)
def _person(once: Once) -> _Person:
    (sids,) = once.about
    sessions = list(zip(sids, once.of, strict=True))
    first_sid, first = min(sessions, key=_by_start)
    ends = [(one.ended.at, sid) for sid, one in sessions if one.ended]
    last_end, last_sid = max(ends, default=(0, ""))
    connected = sorted((one for one in sessions if one[1].ended is None), key=_by_start)
    return _Person(
        first_sid=first_sid,
        first=first,
        last_sid=last_sid,
        last_end=last_end,
        connected=tuple(connected),
        gone=0 if connected else _gone(once.of),
        contested_at=_contested_at(connected) if len(connected) > 1 else 0,
        ghost_at=tuple(_ghost_at(session, once.of) for _, session in connected),
    )


def _by_start(one: tuple[str, Session]) -> tuple[int, str]:
    return one[1].start, one[0]


def _gone(sessions: tuple[Session, ...]) -> int:
    """Since when nobody was heard to be there, of sessions that have all ended.

    A session of which nothing was heard before its end was never there as far as anybody knew. To
    hear of it later brings nobody back.
    """
    ends = [(session.end_heard or 0, session.heard) for session in sessions]
    known = [end for end, heard in ends if end > heard]
    return max(known) if known else min(end for end, _ in ends)


def _contested_at(connected: list[tuple[str, Session]]) -> int:
    """Since when two of these have been known, and a while more."""
    return sorted(session.heard for _, session in connected)[1] + CONTESTED_AFTER


def _ghost_at(session: Session, sessions: tuple[Session, ...]) -> int:
    """When a session that is connected is taken for nobody's.

    Somebody who came anew is elsewhere by now, and the old session only waits for a time-out. And
    no session is longer than the longest room.
    """
    newer = [max(one.heard, session.heard) for one in sessions if one.start > session.start]
    if session.overtaken is not None:
        newer.append(session.overtaken)
    return min([session.heard + LONGEST_SESSION, *(heard + GHOST_AFTER for heard in newer)])


def _left_with_the_room(facts: Facts, person: _Person) -> tuple[str, int]:
    """The session that ended last, and when; one that has not ended does so with the room."""
    ends = [(facts.until, sid) for sid, _ in person.connected]
    if person.last_sid:
        ends.append((person.last_end, person.last_sid))
    at, sid = max(ends)
    return sid, at
