"""Letting go: what becomes of sessions that ended long ago, and of a room that did.

A room can last a day and people can rejoin all the time, but facts must stay small. A session that
can hardly change any more becomes a row of the roster, or, where there are many, a number in a
tally. What comes for it later is too late: its session is unknown, and no newer than the newest
that was let go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from workers.room.announcements import CONCLUSIVE
from workers.room.bounds import (
    CALM_AFTER,
    FOLD_AFTER,
    FOLD_EVERY,
    STORM_EVICTIONS,
    STORM_WITHIN,
    Bounds,
)
from workers.room.callback import Callback
from workers.room.evictions import Eviction, evictions
from workers.room.facts import Facts, Row, Said, Session, Tally, Track

# A row with three tracks takes some 330 bytes; this many leave room for those who are connected.
_ROWS = 64
# As many people as a large room takes, come and gone five times over.
_TALLIES = 256
# Where nobody's tally is left, all are counted together.
OTHERS = ""


def is_too_late(facts: Facts, callback: Callback) -> bool:
    """Tell whether a callback is about what was let go."""
    if callback.event not in CONCLUSIVE:
        return False
    sid = callback.text("participant_sid")
    return facts.expired or (
        sid is not None and callback.at <= facts.folded_until and sid not in facts.sessions
    )


def old_at(facts: Facts, identity: str, bounds: Bounds) -> list[int]:
    """When the sessions of a person that have ended may be old enough to be let go."""
    sessions = [facts.sessions[sid] for sid in facts.people[identity]]
    moments = [_old_at(one.end_heard) for one in sessions if one.end_heard is not None]
    return moments + [one.heard + bounds.linger for one in sessions if one.heard == one.end_heard]


def _old_at(end_heard: int) -> int:
    return -(-(end_heard + FOLD_AFTER) // FOLD_EVERY) * FOLD_EVERY


def without_the_old(facts: Facts, identity: str, now: int, bounds: Bounds) -> Facts:
    """Let go of the sessions of a person that ended long ago.

    The oldest first, since the end of an older one may have been taken for the work of a newer one.
    One whose end never comes holds nobody up.
    """
    group = [(sid, facts.sessions[sid]) for sid in facts.people[identity]]
    if any(one.heard == one.end_heard and now < one.heard + bounds.linger for _, one in group):
        # Of that one alone it would look as though somebody had just left.
        return facts
    found = evictions(identity, group, facts.ended, bounds)
    for _, sid, session in sorted((session.start, sid, session) for sid, session in group):
        if session.ended is None:
            continue
        if session.end_heard is None or now < _old_at(session.end_heard):
            break
        if sid in found and not _is_calm(found[sid], found.values(), now):
            break
        facts = _without(facts, identity, sid, found.get(sid))
    return facts


def remainder(facts: Facts) -> Facts:
    """What is left of a room that ended long ago."""
    return Facts(
        room_sid=facts.room_sid,
        account_sid=facts.account_sid,
        looked=facts.looked,
        editions=facts.editions,
        expired=True,
    )


def row_of(facts: Facts, sid: str, session: Session, eviction: Eviction | None) -> Row:
    """Write a session down as the roster has it. One that has not ended does so with the room."""
    until = session.ended.at if session.ended else facts.until
    told = session.ended.duration if session.ended else None
    return Row(
        participant_sid=sid,
        identity=_text(session.identity),
        start=session.start,
        end=until,
        seconds=max(0, (until - session.start) // 1_000_000) if told is None else told,
        evicted_by=eviction.survivor_sid if eviction else None,
        tracks=tuple(_track(sid, track, until) for sid, track in sorted(session.tracks.items())),
    )


def _is_calm(eviction: Eviction, others: Iterable[Eviction], now: int) -> bool:
    """Whether no alert is raised any more because of this eviction, or of a storm it is part of."""
    near = (one for one in others if abs(one.at - eviction.at) <= STORM_WITHIN)
    return all(now >= one.heard + CALM_AFTER for one in near)


def _without(facts: Facts, identity: str, sid: str, eviction: Eviction | None) -> Facts:
    gone = facts.sessions[sid]
    row = row_of(facts, sid, gone, eviction)
    sessions = {one: session for one, session in facts.sessions.items() if one != sid}
    for one in facts.people[identity]:
        if one != sid and sessions[one].ended is None and sessions[one].start < gone.start:
            sessions[one] = _overtaken(sessions[one], gone)
    left = tuple(one for one in facts.people[identity] if one != sid)
    people = {one: sids for one, sids in facts.people.items() if one != identity or left}
    if left:
        people[identity] = left
    facts = facts._replace(
        sessions=sessions, people=people, folded_until=max(facts.folded_until, row.end)
    )
    if eviction:
        times = (*facts.evicted.get(identity, ()), eviction.at)[1 - STORM_EVICTIONS :]
        facts = facts._replace(evicted=_capped({**facts.evicted, identity: times}))
    if len(facts.rows) < _ROWS:
        return facts._replace(rows=(*facts.rows, row))
    return facts._replace(tallies=_counted(facts.tallies, row))


def _overtaken(session: Session, newer: Session) -> Session:
    """Keep in mind that its person came anew."""
    at = max(newer.heard, session.heard)
    return session._replace(overtaken=min(at, session.overtaken or at))


def _counted(tallies: Mapping[str, Tally], row: Row) -> dict[str, Tally]:
    counted = dict(tallies)
    identity = row.identity or OTHERS
    if identity not in counted and len(counted) >= _TALLIES:
        identity = OTHERS
    tally = counted.get(identity, Tally())
    counted[identity] = Tally(
        tally.sessions + 1,
        tally.evictions + (row.evicted_by is not None),
        tally.seconds + row.seconds,
    )
    return counted


def _capped(evicted: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return dict(list(evicted.items())[-_TALLIES:])


def _track(sid: str, track: Track, until: int) -> tuple[str, str | None, str | None, int, int]:
    start = track.first if track.added is None else track.added
    end = until if track.removed is None else track.removed
    return sid, _text(track.kind), _text(track.name), start, end


def _text(said: Said | None) -> str | None:
    return said.text if said else None
