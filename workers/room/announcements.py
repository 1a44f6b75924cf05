"""Announcements: what is passed on once and concluded nothing from.

Recordings, compositions and the unknown change no belief about who is in the room. They are a set
that only grows: each is known by a text that the callback and the derived event both give.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from workers.room.callback import Callback
from workers.room.value import Value

RECORDINGS = {
    "recording-started": "recording.started",
    "recording-completed": "recording.completed",
    "recording-failed": "recording.failed",
}
COMPOSITIONS = {
    "composition-enqueued": "composition.enqueued",
    "composition-hook-failed": "composition.hook-failed",
    "composition-started": "composition.started",
    "composition-progress": "composition.progress",
    "composition-available": "composition.available",
    "composition-failed": "composition.failed",
}
UNRECOGNISED = "callback.unrecognised"
# What the other modules of the heart conclude from; listed here to know the unknown.
CONCLUSIVE = frozenset(
    {
        "room-created",
        "room-ended",
        "participant-connected",
        "participant-disconnected",
        "track-added",
        "track-removed",
        "track-enabled",
        "track-disabled",
    }
)
KNOWN_EVENTS = CONCLUSIVE | RECORDINGS.keys() | COMPOSITIONS.keys()

# Parameters that say what the others are about; an event has places of its own for these.
_PLACES = frozenset({"event", "account_sid", "room_sid", "room_name", "room_type", "timestamp"})


class Announcement(Value):
    """Something to pass on: the kind of event, what it is about, and what was told."""

    kind: str
    subject: str
    data: dict[str, Any]

    @property
    def key(self) -> str:
        """The digest that this announcement is remembered by."""
        return key_of(self.kind, self.subject, self.data)


def announcements(callback: Callback) -> tuple[Announcement, ...]:
    """Return what a callback gives to pass on; nothing for most of them."""
    if callback.event in CONCLUSIVE:
        return _unrecognised(callback) if callback.strange else ()
    if callback.event in RECORDINGS:
        told = _recording(callback)
    elif callback.event in COMPOSITIONS:
        told = _composition(callback)
    else:
        return _unrecognised(callback)
    return (told, *_unrecognised(callback)) if callback.strange else (told,)


def key_of(kind: str, subject: str, data: Mapping[str, Any]) -> str:
    """Return the digest by which a published announcement is known again.

    Progress is told many times, each by its percentage. An unknown event is known by its callback;
    an unknown parameter once an event and room, since Twilio would send it with every callback.
    """
    return sha256(_text(kind, subject, data).encode(errors="surrogatepass")).hexdigest()[:16]


def _text(kind: str, subject: str, data: Mapping[str, Any]) -> str:
    if kind == "composition.progress":
        return f"{kind} {subject} {data['percentage_done']}"
    if kind != UNRECOGNISED:
        return f"{kind} {subject}"
    if data["known_event"]:
        return f"{kind} {data['event']} {json.dumps(sorted(data['params']))}"
    return f"{kind} {data['event']} {data['callback_id']}"


def _recording(callback: Callback) -> Announcement:
    data = _told(callback)
    data["identity"] = data.pop("participant_identity", None)
    data["track_sid"] = data.pop("source_sid", None)
    data.setdefault("participant_sid", None)
    return Announcement(RECORDINGS[callback.event], str(data["recording_sid"]), data)


def _composition(callback: Callback) -> Announcement:
    data = _told(callback)
    if callback.event == "composition-progress":
        data.setdefault("percentage_done", None)
    # A hook that failed has not made a composition that could be named.
    subject = data["hook_sid" if callback.event == "composition-hook-failed" else "composition_sid"]
    return Announcement(COMPOSITIONS[callback.event], str(subject), data)


def _unrecognised(callback: Callback) -> tuple[Announcement, ...]:
    known = callback.event in KNOWN_EVENTS
    data = {
        "event": callback.event,
        "params": dict(sorted(callback.strange.items())),
        "known_event": known,
        "callback_id": callback.id.hex(),
    }
    return (Announcement(UNRECOGNISED, callback.room_sid, data),)


def _told(callback: Callback) -> dict[str, Any]:
    # In order, whatever order they came in: the audit does not keep that, and ids follow from it.
    return {name: said for name, said in sorted(callback.said.items()) if name not in _PLACES}
