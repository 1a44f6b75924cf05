"""The difference of two views: the derived events, in the order in which they make sense.

What opens comes from the outside in (room, session, track), what closes from the inside out, so
that a consumer never hears of something inside what it believes closed. The implied one of two
comes first. An event's kind is its type without `rollcall.`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from workers.room.announcements import announcements
from workers.room.callback import Callback
from workers.room.evictions import Eviction
from workers.room.view import SessionView, TrackKey, TrackView, View


class Event(NamedTuple):
    """A change of belief, or an announcement. `at` is when it happened, in event time."""

    kind: str
    subject: str
    at: int
    data: dict[str, Any]


def diff(before: View, after: View, cause: Callback) -> list[Event]:
    """List what changed between two views of the same part of a room.

    Args:
        before: what was believed.
        after: what is believed now.
        cause: the callback between the two; announcements are taken from it.
    """
    changes = [
        *_opened(before, after),
        *_joined(before, after),
        *_published(before, after),
        *_switched(before, after),
        *_announced(before, after, cause),
        *_unpublished(before, after),
        *_left(before, after),
        *_evicted(before, after, cause),
        *_closed(before, after),
    ]
    place = {"room_sid": after.room_sid, "room_name": after.room_name}
    return [change._replace(data=place | change.data) for change in changes]


def _opened(before: View, after: View) -> Iterator[Event]:
    if after.room and not before.room:
        data = {"room_type": after.room_type, "inferred": after.room.inferred}
        yield Event("room.opened", after.room_sid, after.room.start, data)


def _joined(before: View, after: View) -> Iterator[Event]:
    for sid, session in _by_start(after.sessions):
        if sid not in before.sessions:
            data = {"identity": session.identity, "inferred": session.inferred}
            yield Event("participant.joined", sid, session.start, data)


def _published(before: View, after: View) -> Iterator[Event]:
    for key, track in _tracks_by_start(after):
        if key not in before.tracks:
            data = {**_track_data(key, track), "name": track.name, "inferred": track.inferred}
            yield Event("track.published", key.track_sid, track.start, data)


def _switched(before: View, after: View) -> Iterator[Event]:
    for key, track in _tracks_by_start(after):
        was = before.tracks.get(key)
        if not track.unpublished and track.enabled != (was is None or was.enabled):
            kind = "track.enabled" if track.enabled else "track.disabled"
            yield Event(kind, key.track_sid, track.switched_at, _track_data(key, track))


def _announced(before: View, after: View, cause: Callback) -> Iterator[Event]:
    if after.told is not before.told:
        news = after.told - before.told
        for one in announcements(cause):
            if one.key in news:
                yield Event(one.kind, one.subject, cause.at, one.data)


def _unpublished(before: View, after: View) -> Iterator[Event]:
    for key, track in _tracks_by_start(after):
        was = before.tracks.get(key)
        if track.unpublished and not (was and was.unpublished):
            data = {**_track_data(key, track), "name": track.name, "cause": track.cause}
            yield Event("track.unpublished", key.track_sid, track.end, data)


def _left(before: View, after: View) -> Iterator[Event]:
    for sid, session in _by_start(after.sessions):
        was = before.sessions.get(sid)
        if session.left and not (was and was.left):
            data = {
                "identity": session.identity,
                "duration_seconds": session.duration_seconds,
                "cause": session.cause,
            }
            yield Event("participant.left", sid, session.end, data)


def _evicted(before: View, after: View, cause: Callback) -> Iterator[Event]:
    for sid, eviction in before.evictions.items():
        if after.evictions.get(sid) != eviction:
            # It is withdrawn because of what was heard now, whenever it was believed to happen.
            data = _eviction_data(eviction)
            yield Event("participant.eviction-retracted", sid, cause.at, data)
    for sid, eviction in after.evictions.items():
        if before.evictions.get(sid) != eviction:
            yield Event("participant.evicted", sid, eviction.at, _eviction_data(eviction))


def _closed(before: View, after: View) -> Iterator[Event]:
    if after.room and after.room.closed and not (before.room and before.room.closed):
        data = {
            "room_type": after.room_type,
            "duration_seconds": after.room.duration_seconds,
            "end": "room-ended",
        }
        yield Event("room.closed", after.room_sid, after.room.end, data)


def _by_start(sessions: dict[str, SessionView]) -> list[tuple[str, SessionView]]:
    return sorted(sessions.items(), key=lambda one: (one[1].start, one[0]))


def _tracks_by_start(view: View) -> list[tuple[TrackKey, TrackView]]:
    return sorted(view.tracks.items(), key=lambda one: (one[1].start, one[0]))


def _track_data(key: TrackKey, track: TrackView) -> dict[str, Any]:
    return {
        "participant_sid": key.participant_sid,
        "identity": track.identity,
        "kind": track.kind,
    }


def _eviction_data(eviction: Eviction) -> dict[str, Any]:
    return {
        "identity": eviction.identity,
        "evicted_sid": eviction.evicted_sid,
        "survivor_sid": eviction.survivor_sid,
        "gap_ms": eviction.gap_ms,
        "evidence": list(eviction.evidence),
    }
