"""A room as one would keep it without Rollcall: who and what is there, changed by each callback.

Right as long as callbacks come in order, which is what most receivers rely on. Knows no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

Room = dict[str, Any]
Params = Mapping[str, str]

# Twilio takes up to 15 s to notice that the older of two sessions is gone.
_TAKEOVER = timedelta(seconds=15)


class Event(NamedTuple):
    """What changed; named as Rollcall names it, without `rollcall.`."""

    type: str
    subject: str
    time: str
    data: dict[str, Any]


def new_room() -> Room:
    """Make a room that nothing is known of."""
    return {"open": False, "closed": False, "sessions": {}, "tracks": {}}


def apply(room: Room, params: Params) -> list[Event]:
    """Change a room by one callback; return what changed. What is known already changes nothing."""
    step = _STEPS.get(params["StatusCallbackEvent"])
    if step is None or room["closed"]:
        return []
    return [*_opened(room, params), *step(room, params)]


def _opened(room: Room, params: Params) -> Iterator[Event]:
    if not room["open"]:
        room["open"] = True
        yield Event("room.opened", params["RoomSid"], params["Timestamp"], {})


def _created(_room: Room, _params: Params) -> Iterator[Event]:
    yield from ()


def _connected(room: Room, params: Params) -> Iterator[Event]:
    sid, identity = params["ParticipantSid"], params.get("ParticipantIdentity")
    if sid not in room["sessions"]:
        start = params["Timestamp"]
        room["sessions"][sid] = {"identity": identity, "start": start, "left": False}
        yield Event("participant.joined", sid, start, {"identity": identity})


def _disconnected(room: Room, params: Params) -> Iterator[Event]:
    sid, at = params["ParticipantSid"], params["Timestamp"]
    session = room["sessions"].get(sid)
    if session is None or session["left"]:
        return
    yield from _gone(room, sid, at)
    survivor = _survivor(room, session, at)
    if survivor:
        data = {"identity": session["identity"], "survivor_sid": survivor}
        yield Event("participant.evicted", sid, at, data)


def _gone(room: Room, sid: str, at: str) -> Iterator[Event]:
    """End a session, and before it the tracks that it still publishes: Twilio tells nothing."""
    for track_sid, track in [*room["tracks"].items()]:
        if track["participant_sid"] == sid:
            yield _unpublished(room, track_sid, at)
    session = room["sessions"][sid]
    session["left"] = True
    yield Event("participant.left", sid, at, {"identity": session["identity"]})


def _survivor(room: Room, gone: Mapping[str, Any], at: str) -> str | None:
    """Who threw a session out: the same person, come anew shortly before the session's end."""
    for sid, session in room["sessions"].items():
        if (
            session["identity"] == gone["identity"]
            and not session["left"]
            and session["start"] > gone["start"]
            and _time(at) - _time(session["start"]) <= _TAKEOVER
        ):
            return str(sid)
    return None


def _added(room: Room, params: Params) -> Iterator[Event]:
    sid, participant_sid = params["TrackSid"], params["ParticipantSid"]
    if sid not in room["tracks"] and not room["sessions"].get(participant_sid, {}).get("left"):
        kind, name = params.get("TrackKind"), params.get("TrackName")
        track = {"participant_sid": participant_sid, "kind": kind, "name": name, "enabled": True}
        room["tracks"][sid] = track
        yield Event("track.published", sid, params["Timestamp"], track)


def _removed(room: Room, params: Params) -> Iterator[Event]:
    if params["TrackSid"] in room["tracks"]:
        yield _unpublished(room, params["TrackSid"], params["Timestamp"])


def _unpublished(room: Room, sid: str, at: str) -> Event:
    return Event("track.unpublished", sid, at, room["tracks"].pop(sid))


def _enabled(room: Room, params: Params) -> Iterator[Event]:
    yield from _switched(room, params, enabled=True)


def _disabled(room: Room, params: Params) -> Iterator[Event]:
    yield from _switched(room, params, enabled=False)


def _switched(room: Room, params: Params, *, enabled: bool) -> Iterator[Event]:
    track = room["tracks"].get(params["TrackSid"])
    if track and track["enabled"] != enabled:
        track["enabled"] = enabled
        kind = "track.enabled" if enabled else "track.disabled"
        yield Event(kind, params["TrackSid"], params["Timestamp"], {"kind": track["kind"]})


def _ended(room: Room, params: Params) -> Iterator[Event]:
    at = params["Timestamp"]
    for sid, session in room["sessions"].items():
        if not session["left"]:
            yield from _gone(room, sid, at)
    room["closed"] = True
    yield Event("room.closed", params["RoomSid"], at, {})


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


_STEPS = {
    "room-created": _created,
    "room-ended": _ended,
    "participant-connected": _connected,
    "participant-disconnected": _disconnected,
    "track-added": _added,
    "track-removed": _removed,
    "track-enabled": _enabled,
    "track-disabled": _disabled,
}
