"""Folding: the view that a consumer has who heard every event of a room, and nothing else.

It is how a consumer keeps a room in any language, and what the tests hold the heart to: for every
history, folding the derived events gives the view of the facts.
"""

from __future__ import annotations

from dataclasses import replace

from workers.room.announcements import COMPOSITIONS, RECORDINGS, UNRECOGNISED, key_of
from workers.room.diff import Event
from workers.room.evictions import Eviction
from workers.room.view import RoomView, SessionView, TrackKey, TrackView, View

_ANNOUNCEMENTS = {*RECORDINGS.values(), *COMPOSITIONS.values(), UNRECOGNISED}


def fold(view: View, event: Event) -> View:
    """Apply one derived event to what is believed so far.

    Raises:
        ValueError: the event is of a kind that is not known here.
    """
    if event.kind in _ANNOUNCEMENTS:
        return replace(view, told=view.told | {key_of(event.kind, event.subject, event.data)})
    noun, _, verb = event.kind.partition(".")
    if noun == "room" and verb in {"opened", "closed"}:
        return replace(view, room=RoomView(closed=verb == "closed"))
    if noun == "track" and verb in _TRACKS:
        key = TrackKey(event.data["participant_sid"], event.subject)
        return replace(view, tracks=view.tracks | {key: _TRACKS[verb]})
    if noun == "participant" and verb in _SESSIONS:
        return replace(view, sessions=view.sessions | {event.subject: _SESSIONS[verb]})
    if event.kind == "participant.evicted":
        eviction = Eviction(event.subject, event.data["survivor_sid"])
        return replace(view, evictions=view.evictions | {event.subject: eviction})
    if event.kind == "participant.eviction-retracted":
        rest = {sid: one for sid, one in view.evictions.items() if sid != event.subject}
        return replace(view, evictions=rest)
    raise ValueError(f"not a derived event: {event.kind}")


_SESSIONS = {"joined": SessionView(left=False), "left": SessionView(left=True)}
_TRACKS = {
    "published": TrackView(unpublished=False, enabled=True),
    "enabled": TrackView(unpublished=False, enabled=True),
    "disabled": TrackView(unpublished=False, enabled=False),
    "unpublished": TrackView(unpublished=True, enabled=True),
}
