"""The difference of two views: the derived events, in the order in which they make sense.

What opens comes from the outside in (room, session, track), what closes from the inside out, so
that a consumer never hears of something inside what it believes closed. The implied one of two
comes first. An event's kind is its type without `rollcall.`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

from workers.room.announcements import announcements
from workers.room.callback import Callback
from workers.room.evictions import Eviction
from workers.room.identities import IdentityView
from workers.room.sequences import without
from workers.room.value import Value
from workers.room.view import SessionView, TrackKey, TrackView, View

Key = TypeVar("Key", str, TrackKey)
Started = TypeVar("Started", SessionView, TrackView)


class Moment(int):
    """A time in the data of an event: microseconds since 1970, to be published as text."""


class Event(Value):
    """A change of belief, or an announcement. `at` is when it happened, in event time."""

    kind: str
    subject: str
    at: int
    data: dict[str, Any]


def diff(before: View, after: View, cause: Callback | None, at: int) -> list[Event]:
    """List what changed between two views of the same part of a room.

    Args:
        before: what was believed.
        after: what is believed now.
        cause: the callback between the two, which announcements are taken from; None where it was
            time alone.
        at: when what is between the two happened: its Timestamp, or the moment that was due.
    """
    sessions, tracks = _by_start(after.sessions), _by_start(after.tracks)
    # With most callbacks nobody comes or goes, and to ask about that five times costs.
    people = bool(before.identities or after.identities)
    evictions = bool(before.evictions or after.evictions)
    changes = [
        *_opened(before, after),
        *_joined(before, sessions),
        *(_arrived(before, after) if people else ()),
        *_published(before, tracks),
        *_switched(before, tracks),
        *_announced(before, after, cause, at),
        *_unpublished(before, tracks),
        *_left(before, sessions),
        *(_evicted(before, after, at) if evictions else ()),
        *(_contested(before, after, at) if people else ()),
        *(_departed(before, after, at) if people else ()),
        *_missed(before, after, at),
        *_closed(before, after),
    ]
    return located(changes, after) if changes else changes


def located(events: list[Event], view: View) -> list[Event]:
    """Say in each event which room it is about."""
    place = {"room_sid": view.room_sid, "room_name": view.room_name}
    return [Event(one.kind, one.subject, one.at, place | one.data) for one in events]


def _opened(before: View, after: View) -> Iterator[Event]:
    if after.room and not before.room:
        data = {"room_type": after.room_type, "inferred": after.room.inferred}
        yield Event("room.opened", after.room_sid, after.room.start, data)


def _joined(before: View, sessions: list[tuple[str, SessionView]]) -> Iterator[Event]:
    for sid, session in sessions:
        if sid not in before.sessions:
            data = {"identity": session.identity, "inferred": session.inferred}
            yield Event("participant.joined", sid, session.start, data)


def _published(before: View, tracks: list[tuple[TrackKey, TrackView]]) -> Iterator[Event]:
    for key, track in tracks:
        if key not in before.tracks:
            data = {**_track_data(key, track), "name": track.name, "inferred": track.inferred}
            yield Event("track.published", key.track_sid, track.start, data)


def _switched(before: View, tracks: list[tuple[TrackKey, TrackView]]) -> Iterator[Event]:
    for key, track in tracks:
        was = before.tracks.get(key)
        if not track.unpublished and track.enabled != (was is None or was.enabled):
            kind = "track.enabled" if track.enabled else "track.disabled"
            yield Event(kind, key.track_sid, track.switched_at, _track_data(key, track))


def _announced(before: View, after: View, cause: Callback | None, at: int) -> Iterator[Event]:
    for one in announcements(cause) if cause else ():
        if one.key in after.told and one.key not in before.told:
            yield Event(one.kind, one.subject, at, one.data)


def _unpublished(before: View, tracks: list[tuple[TrackKey, TrackView]]) -> Iterator[Event]:
    for key, track in tracks:
        was = before.tracks.get(key)
        if track.unpublished and not (was and was.unpublished):
            data = {**_track_data(key, track), "name": track.name, "cause": track.cause}
            yield Event("track.unpublished", key.track_sid, track.end, data)


def _left(before: View, sessions: list[tuple[str, SessionView]]) -> Iterator[Event]:
    for sid, session in sessions:
        was = before.sessions.get(sid)
        if session.left and not (was and was.left):
            data = {
                "identity": session.identity,
                "duration_seconds": session.duration_seconds,
                "cause": session.cause,
            }
            yield Event("participant.left", sid, session.end, data)


def _evicted(before: View, after: View, at: int) -> Iterator[Event]:
    for sid, eviction in before.evictions.items():
        known = after.evictions.get(sid)
        # Most are the very same, and that is told at once.
        if known is not eviction and known != eviction:
            # It is withdrawn because of what was heard now, whenever it was believed to happen.
            data = _eviction_data(eviction)
            yield Event("participant.eviction-retracted", sid, at, data)
    for sid, eviction in after.evictions.items():
        known = before.evictions.get(sid)
        if known is not eviction and known != eviction:
            yield Event("participant.evicted", sid, eviction.at, _eviction_data(eviction))


def _arrived(before: View, after: View) -> Iterator[Event]:
    for identity, person in after.identities.items():
        was = before.identities.get(identity)
        # Somebody heard of only now may be gone again, and that implies having been here.
        if was is None or (person.here and not was.here):
            data = {"identity": identity, "inferred": person.inferred}
            yield Event("identity.arrived", person.sid, person.start, data)


def _departed(before: View, after: View, at: int) -> Iterator[Event]:
    closed = after.room is not None and after.room.closed
    for identity, person in _people(before, after):
        was = before.identities.get(identity)
        if not person.here and (was is None or was.here):
            data = {"identity": identity, "left_at": Moment(person.left_at)}
            yield Event("identity.departed", person.sid, _closing(after) if closed else at, data)


def _contested(before: View, after: View, at: int) -> Iterator[Event]:
    for identity, person in _people(before, after):
        was = before.identities.get(identity)
        if person.contested != (was is not None and was.contested):
            shown = person if person.contested or was is None else was
            kind = "identity.contested" if person.contested else "identity.uncontested"
            data = {"identity": identity, "participant_sids": list(shown.connected)}
            yield Event(kind, shown.connected[-1], at, data)


def _people(before: View, after: View) -> Iterator[tuple[str, IdentityView]]:
    """The people of the later view; and as gone, those whose only session was somebody else's."""
    yield from after.identities.items()
    for identity, person in before.identities.items():
        if identity not in after.identities:
            left_at = person.left_at or person.start
            yield identity, replace(person, here=False, contested=False, left_at=left_at)


def _missed(before: View, after: View, at: int) -> Iterator[Event]:
    if before.missing != after.missing:
        found = without(after.missing, before.missing)
        closed = without(before.missing, after.missing)
        for kind, ranges in (("room.gap-found", found), ("room.gap-closed", closed)):
            if ranges:
                yield Event(kind, after.room_sid, at, {"missing": [list(one) for one in ranges]})


def _closed(before: View, after: View) -> Iterator[Event]:
    if after.room and after.room.closed and not (before.room and before.room.closed):
        data = {
            "room_type": after.room_type,
            "duration_seconds": after.room.duration_seconds,
            "end": after.room.closed_by,
        }
        yield Event("room.closed", after.room_sid, after.room.end, data)


def _by_start(some: dict[Key, Started]) -> list[tuple[Key, Started]]:
    # Most callbacks are about one session, and one of its tracks.
    if len(some) < 2:
        return list(some.items())
    return sorted(some.items(), key=lambda one: (one[1].start, one[0]))


def _closing(view: View) -> int:
    return view.room.end if view.room else 0


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
        # The sessions overlapped or touched. Other kinds may come.
        "classification": "takeover",
        "gap_ms": eviction.gap_ms,
        "evidence": list(eviction.evidence),
    }
