"""Letting go: what becomes of sessions that ended long ago, and of a room that did.

A room can last a day and people can rejoin all the time, but facts must stay small. A session that
can hardly change any more becomes a row of the roster, or, where there are many, a number in a
tally. What comes for it later is too late: its session is unknown, and no newer than the newest
that was let go.
"""

from __future__ import annotations

from workers.room.announcements import COMPOSITIONS, CONCLUSIVE, RECORDINGS
from workers.room.bounds import (
    CALM_AFTER,
    CROWD,
    CROWD_FOLD_AFTER,
    CROWD_OF_ONE,
    FOLD_AFTER,
    FOLD_EVERY,
    Bounds,
)
from workers.room.callback import Callback
from workers.room.episodes import carry
from workers.room.evictions import Eviction, evictions
from workers.room.facts import Carried, Facts, Row, Said, Session, Tally, Track
from workers.room.value import replace

# In characters, about as many as bytes: this much leaves room for those who are connected.
_ROWS = 12_000
# A row without tracks and identity, and what each track adds.
_ROW, _TRACK = 110, 80
# As many people as a large room takes.
_PEOPLE = 64
# No session is longer than a day. Another number is nonsense, and sums must stay numbers.
_LONGEST_SECONDS = 10 * 24 * 3600
# Tracks trail their session by a moment.
_TRAILING = 5_000_000


def is_too_late(facts: Facts, callback: Callback) -> bool:
    """Tell whether a callback is about what was let go."""
    if facts.expired:
        return callback.event not in RECORDINGS and callback.event not in COMPOSITIONS
    sid = callback.text("participant_sid")
    if sid is None or callback.event not in CONCLUSIVE or sid in facts.sessions:
        return False
    return callback.at <= facts.folded_until or any(
        row.participant_sid == sid for row in facts.rows
    )


def old_at(facts: Facts, identity: str, bounds: Bounds) -> list[int]:
    """When the sessions of a person that have ended may be old enough to be let go."""
    sessions = [facts.sessions[sid] for sid in facts.people[identity]]
    ages = {False, _is_crowded(facts, identity)}
    moments = [
        _old_at(one.end_heard, crowded=crowded)
        for one in sessions
        if one.end_heard is not None
        for crowded in ages
    ]
    return moments + [one.heard + bounds.linger for one in sessions if one.heard == one.end_heard]


def _old_at(end_heard: int, *, crowded: bool) -> int:
    after = CROWD_FOLD_AFTER if crowded else FOLD_AFTER
    return -(-(end_heard + after) // FOLD_EVERY) * FOLD_EVERY


def _is_crowded(facts: Facts, identity: str) -> bool:
    """Whether so many have ended that the oldest must go sooner, in the room or of one person."""
    return (
        len(facts.sessions) - facts.connected > CROWD or len(facts.people[identity]) > CROWD_OF_ONE
    )


def without_the_old(facts: Facts, identity: str, now: int, bounds: Bounds) -> Facts:
    """Let go of the sessions of a person that ended long ago.

    The oldest first, since the end of an older one may have been taken for the work of a newer one.
    One whose end never comes holds nobody up.
    """
    group = [(sid, facts.sessions[sid]) for sid in facts.people[identity]]
    if any(one.heard == one.end_heard and now < one.heard + bounds.linger for _, one in group):
        # Of that one alone it would look as though somebody had just left.
        return facts
    found = {**evictions(identity, group, facts.ended, bounds)}
    last = max((one.heard for one in found.values()), default=0)
    ended = len(facts.sessions) - facts.connected
    gone: dict[str, Session] = {}
    for _, sid, session in sorted((session.start, sid, session) for sid, session in group):
        if session.ended is None:
            continue
        crowded = ended - len(gone) > CROWD or len(group) - len(gone) > CROWD_OF_ONE
        if session.end_heard is None or now < _old_at(session.end_heard, crowded=crowded):
            break
        if sid in found and found[sid].heard == last and now < last + CALM_AFTER:
            # An alert is raised because of this one: what it says of the last, is said of it.
            break
        facts = _tallied(facts, identity, sid, found)
        found.pop(sid, None)
        gone[sid] = session
    return _without(facts, identity, gone) if gone else facts


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
    seconds = max(0, (until - session.start) // 1_000_000) if told is None else told
    return Row(
        participant_sid=sid,
        identity=_text(session.identity),
        start=session.start,
        end=until,
        seconds=min(seconds, _LONGEST_SECONDS),
        evicted_by=eviction.survivor_sid if eviction else None,
        tracks=tuple(_track(sid, track, until) for sid, track in sorted(session.tracks.items())),
    )


def _without(facts: Facts, identity: str, gone: dict[str, Session]) -> Facts:
    """Leave sessions of a person out."""
    sessions = {sid: one for sid, one in facts.sessions.items() if sid not in gone}
    left = tuple(sid for sid in facts.people[identity] if sid not in gone)
    for sid in left:
        newer = [one for one in gone.values() if sessions[sid].start < one.start]
        if newer and sessions[sid].ended is None:
            sessions[sid] = _overtaken(sessions[sid], newer)
    people = {one: sids for one, sids in facts.people.items() if one != identity or left}
    if left:
        people[identity] = left
    return replace(facts, sessions=sessions, people=people)


def _tallied(facts: Facts, identity: str, sid: str, found: dict[str, Eviction]) -> Facts:
    """Keep of a session that is let go what the roster and the alerts need."""
    gone, eviction = facts.sessions[sid], found.get(sid)
    row = row_of(facts, sid, gone, eviction)
    over = min(_over(gone) + _TRAILING, facts.latest)
    facts = replace(facts, folded_until=max(facts.folded_until, over))
    if eviction:
        carried = carry(facts.carried.get(identity), eviction, found.values())
        facts = replace(facts, carried=_capped({**facts.carried, identity: carried}))
    if sum(map(_size, facts.rows)) + _size(row) <= _ROWS:
        return replace(facts, rows=(*facts.rows, row))
    return _counted(facts, row)


def _size(row: Row) -> int:
    return _ROW + len(row.identity or "") + _TRACK * len(row.tracks)


def _over(session: Session) -> int:
    """The greatest Timestamp of anything that was heard about a session."""
    times = [session.first.at, session.ended.at if session.ended else 0]
    for track in session.tracks.values():
        times += [track.first, track.added or 0, track.removed or 0]
        times.append(track.switched.at if track.switched else 0)
    return max(times)


def _overtaken(session: Session, newer: list[Session]) -> Session:
    """Keep in mind that its person came anew."""
    at = max(min(one.heard for one in newer), session.heard)
    return replace(session, overtaken=min(at, session.overtaken or at))


def _counted(facts: Facts, row: Row) -> Facts:
    known = facts.tallies.get(row.identity) if row.identity is not None else None
    if row.identity is not None and (known or len(facts.tallies) < _PEOPLE):
        tallies = {**facts.tallies, row.identity: _with(known or Tally(), row)}
        return replace(facts, tallies=tallies)
    return replace(facts, others=_with(facts.others, row))


def _with(tally: Tally, row: Row) -> Tally:
    evictions = tally.evictions + (row.evicted_by is not None)
    return Tally(tally.sessions + 1, evictions, tally.seconds + row.seconds)


def _capped(carried: dict[str, Carried]) -> dict[str, Carried]:
    """Forget those of whom nothing was heard for longest."""
    if len(carried) <= _PEOPLE:
        return carried
    return dict(sorted(carried.items(), key=lambda one: one[1].heard)[-_PEOPLE:])


def _track(sid: str, track: Track, until: int) -> tuple[str, str | None, str | None, int, int]:
    start = track.first if track.added is None else track.added
    end = until if track.removed is None else track.removed
    return sid, _text(track.kind), _text(track.name), start, end


def _text(said: Said | None) -> str | None:
    return said.text if said else None
