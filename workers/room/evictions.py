"""Evictions: which sessions of one identity were thrown out by which.

Twilio disconnects an existing participant when another joins under the same identity, and tells
only the evicted client so (error 53205, https://www.twilio.com/docs/api/errors/53205). A callback
gives no reason, so an eviction is inferred from times that meet. Only event time counts.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache

from workers.room.belief import belief, remark
from workers.room.bounds import OUTLIVES_BY, ROOM_END_WITHIN, Bounds
from workers.room.facts import End, Session
from workers.room.once import Once


@belief
class Eviction:
    """That one session was evicted by another; all but the survivor are remarks."""

    evicted_sid: str
    survivor_sid: str
    identity: str = remark("")
    at: int = remark(0)
    gap_ms: int = remark(0)
    # The ids of the callbacks that it follows from: the end of the one, the start of the other.
    evidence: tuple[str, ...] = remark(())
    # Arrival of the last callback that it took to conclude this.
    heard: int = remark(0)


def evictions(
    identity: str, sessions: Sequence[tuple[str, Session]], room_ended: End | None, bounds: Bounds
) -> dict[str, Eviction]:
    """Work out who evicted whom among all sessions of one identity in one room.

    O was evicted by N when O started before N (a tie goes by SID), O's end is told and meets N's
    start within the bounds, N was still there just after, and it was not the room's end that ended
    O. Of several N it is the one that started earliest.

    Returns:
        evictions by the SID of the evicted session, in the order in which they happened.
    """
    if len(sessions) < 2:
        return {}
    sids = tuple(sid for sid, _ in sessions)
    of = Once((session for _, session in sessions), sids, identity, room_ended, bounds)
    return _evictions(of)


# What is read from Redis is new with each batch, so more would only be kept in vain.
@lru_cache(maxsize=32)
def _evictions(once: Once) -> dict[str, Eviction]:
    sids, identity, room_ended, bounds = once.about
    by_start = sorted(zip((one.start for one in once.of), sids, once.of, strict=True))
    starts = [start for start, _, _ in by_start]
    found = {}
    for index, (_, sid, session) in enumerate(by_start):
        end = session.ended
        if end is None or (room_ended and abs(room_ended.at - end.at) <= ROOM_END_WITHIN):
            continue
        # Among those that started after this one, and not too long before its end.
        first = max(index + 1, bisect_left(starts, end.at - bounds.after))
        last = bisect_right(starts, end.at + bounds.before)
        for _, newer_sid, newer in by_start[first:last]:
            if newer.ended is None or newer.ended.at > end.at + OUTLIVES_BY:
                found[sid] = _eviction(Once((session, newer), identity, sid, newer_sid))
                break
    return dict(sorted(found.items(), key=_when))


@lru_cache(maxsize=512)
def _eviction(once: Once) -> Eviction:
    session, newer = once.of
    identity, sid, newer_sid = once.about
    return Eviction(
        evicted_sid=sid,
        survivor_sid=newer_sid,
        identity=identity,
        at=session.ended.at,
        gap_ms=(session.ended.at - newer.start) // 1000,
        evidence=(session.ended.id.hex(), _start_evidence(newer)),
        heard=max(session.end_heard or 0, newer.heard),
    )


def _when(one: tuple[str, Eviction]) -> tuple[int, str]:
    return one[1].at, one[0]


def _start_evidence(session: Session) -> str:
    """The id of the callback that the start of a session was taken from."""
    if session.connected:
        return session.connected.id.hex()
    if session.ended and session.start < session.first.at:
        return session.ended.id.hex()
    return session.first.id.hex()
