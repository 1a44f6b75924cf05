"""Evictions: which sessions of one identity were thrown out by which.

Twilio disconnects an existing participant when another joins under the same identity, and tells
only the evicted client so (error 53205, https://www.twilio.com/docs/api/errors/53205). A callback
gives no reason, so an eviction is inferred from times that meet. Only event time counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

from workers.room.bounds import OUTLIVES_BY, ROOM_END_WITHIN, Bounds
from workers.room.facts import End, Session


@dataclass(frozen=True, slots=True)
class Eviction:
    """That one session was evicted by another; all but the survivor are remarks."""

    evicted_sid: str
    survivor_sid: str
    identity: str = field(compare=False, default="")
    at: int = field(compare=False, default=0)
    gap_ms: int = field(compare=False, default=0)
    # The ids of the callbacks that it follows from: the end of the one, the start of the other.
    evidence: tuple[str, ...] = field(compare=False, default=())


def evictions(
    identity: str, sessions: Iterable[tuple[str, Session]], room_ended: End | None, bounds: Bounds
) -> dict[str, Eviction]:
    """Work out who evicted whom among all sessions of one identity in one room.

    O was evicted by N when O started before N (a tie goes by SID), O's end is told and meets N's
    start within the bounds, N was still there just after, and it was not the room's end that ended
    O. Of several N it is the one that started earliest.

    Returns:
        evictions by the SID of the evicted session.
    """
    by_start = sorted((session.start, sid, session) for sid, session in sessions)
    if len(by_start) < 2:
        return {}
    found = {}
    for start, sid, session in by_start:
        end = session.ended
        if end is None or (room_ended and abs(room_ended.at - end.at) <= ROOM_END_WITHIN):
            continue
        earliest = max((start, sid), (end.at - bounds.after, ""))
        for index in range(bisect_left(by_start, earliest, key=_start_and_sid), len(by_start)):
            newer_start, newer_sid, newer_session = by_start[index]
            if newer_start > end.at + bounds.before:
                break
            if newer_sid != sid and _outlives(newer_session, end.at + OUTLIVES_BY):
                found[sid] = Eviction(
                    evicted_sid=sid,
                    survivor_sid=newer_sid,
                    identity=identity,
                    at=end.at,
                    gap_ms=(end.at - newer_start) // 1000,
                    evidence=(end.id.hex(), _start_evidence(newer_session)),
                )
                break
    return found


def _start_and_sid(entry: tuple[int, str, Session]) -> tuple[int, str]:
    return entry[:2]


def _outlives(session: Session, at: int) -> bool:
    return session.ended is None or session.ended.at > at


def _start_evidence(session: Session) -> str:
    """The id of the callback that the start of a session was taken from."""
    if session.connected:
        return session.connected.id.hex()
    if session.ended and session.start < session.first.at:
        return session.ended.id.hex()
    return session.first.id.hex()
