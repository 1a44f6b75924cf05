"""A snapshot: what is believed of one room, in the words of the derived events.

Pure: a record in, what becomes JSON out. It must not know how records are stored, or who asks. The
names here are what others build on: this format changes only by adding.
"""

from __future__ import annotations

from typing import Any

from schemas.logs import iso_milliseconds
from workers.records import Record
from workers.room.bounds import Bounds
from workers.room.conditions import Condition, conditions
from workers.room.identities import IdentityView
from workers.room.view import RoomView, SessionView, TrackKey, TrackView, View, view

Snapshot = dict[str, Any]


def snapshot(record: Record, bounds: Bounds) -> Snapshot | None:
    """Tell what is believed of a room, and after which event; None where no room is known.

    It is believed at the moment that was last looked at, since that is what was published: what
    time alone has changed since then will be an event of its own.

    Args:
        record: all that is stored of the room.
        bounds: those of the workers.
    """
    believed = view(record.facts, bounds)
    if believed.room is None:
        return None
    return {
        "revision": record.ledger.revision,
        "last_event_id": record.ledger.last_event_id,
        "alert_revision": record.ledger.alerts,
        "last_alert_id": record.ledger.last_alert_id,
        "room": _room(believed, believed.room),
        "sessions": [
            _session(believed, sid, session) for sid, session in believed.sessions.items()
        ],
        "tracks": [_track(key, track) for key, track in believed.tracks.items()],
        "identities": [_person(name, person) for name, person in believed.identities.items()],
        "missing": [list(one) for one in believed.missing],
        "alerts": [
            _alert(believed, one, record.ledger.raised.get(one.dedup_key))
            for one in conditions(believed, bounds).values()
        ],
    }


def _room(believed: View, room: RoomView) -> Snapshot:
    return {
        "room_sid": believed.room_sid,
        "room_name": believed.room_name,
        "room_type": believed.room_type,
        "closed": room.closed,
        "inferred": room.inferred,
        "opened_at": iso_milliseconds(room.start),
        "closed_at": iso_milliseconds(room.end) if room.closed else None,
        "duration_seconds": room.duration_seconds,
        "end": room.closed_by,
    }


def _session(believed: View, participant_sid: str, session: SessionView) -> Snapshot:
    eviction = believed.evictions.get(participant_sid)
    return {
        "participant_sid": participant_sid,
        "identity": session.identity,
        "left": session.left,
        "inferred": session.inferred,
        "joined_at": iso_milliseconds(session.start),
        "left_at": iso_milliseconds(session.end) if session.left else None,
        "duration_seconds": session.duration_seconds,
        "cause": session.cause,
        "evicted_by": eviction.survivor_sid if eviction else None,
    }


def _track(key: TrackKey, track: TrackView) -> Snapshot:
    return {
        "track_sid": key.track_sid,
        "participant_sid": key.participant_sid,
        "identity": track.identity,
        "kind": track.kind,
        "name": track.name,
        "unpublished": track.unpublished,
        "enabled": track.enabled,
        "inferred": track.inferred,
        "published_at": iso_milliseconds(track.start),
        "unpublished_at": iso_milliseconds(track.end) if track.unpublished else None,
        "cause": track.cause or None,
    }


def _person(identity: str, person: IdentityView) -> Snapshot:
    return {
        "identity": identity,
        "here": person.here,
        "contested": person.contested,
        "participant_sids": list(person.connected),
    }


def _alert(believed: View, condition: Condition, raised: int | None) -> Snapshot:
    # Where nothing tells, it is since it was raised.
    since = raised if condition.since is None else condition.since
    return {
        "alert": condition.alert,
        "dedup_key": condition.dedup_key,
        "severity": condition.severity,
        "summary": condition.summary,
        "room_sid": believed.room_sid,
        "room_name": believed.room_name,
        **condition.concerned,
        "count": condition.times,
        "since": None if since is None else iso_milliseconds(since),
        "evidence": list(condition.evidence),
    }
