"""Derived events and alerts: CloudEvents 1.0, one stream field an attribute.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md. The tables below are the
documentation that the README shows and the tests hold every published event to. This format is
what others build on: it changes only by adding.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

TYPE_PREFIX = "rollcall."

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode

# What every `data` begins with.
PLACE = ("room_sid", "room_name")


class EventType(NamedTuple):
    """One row of the table of derived events."""

    # The prefix of the SID that the event is about.
    subject: str
    # What `data` holds beside room_sid and room_name.
    data: tuple[str, ...]
    meaning: str


_TRACK = ("participant_sid", "identity", "kind")
_EVICTION = ("identity", "evicted_sid", "survivor_sid", "classification", "gap_ms", "evidence")
_RECORDING = ("recording_sid", "participant_sid", "track_sid", "identity")

DERIVED_EVENTS: dict[str, EventType] = {
    "rollcall.room.opened": EventType(
        "RM", ("room_type", "inferred"), "the first callback about the room was heard"
    ),
    "rollcall.room.closed": EventType(
        "RM",
        ("room_type", "duration_seconds", "end"),
        "the room has ended: `room-ended`, or `presumed` after 25 h without a callback",
    ),
    "rollcall.room.settled": EventType(
        "RM",
        (
            "edition",
            "room_type",
            "start",
            "end",
            "closed_by",
            "duration_seconds",
            "sessions",
            "tallies",
            "missing",
        ),
        "the roster in exact figures, once the room is closed and quiet for 60 s; again, with a"
        " higher `edition`, if something that changes it still arrives",
    ),
    "rollcall.room.gap-found": EventType(
        "RM", ("missing",), "callbacks with these sequence numbers were waited for in vain"
    ),
    "rollcall.room.gap-closed": EventType("RM", ("missing",), "these have arrived after all"),
    "rollcall.identity.arrived": EventType(
        "PA", ("identity", "inferred"), "a person is there, in however many sessions"
    ),
    "rollcall.identity.departed": EventType(
        "PA",
        ("identity", "left_at"),
        "nobody was back under the identity within 5 s, or the room was closed",
    ),
    "rollcall.identity.contested": EventType(
        "PA",
        ("identity", "participant_sids"),
        "two sessions of a person have been connected at once for 2 s",
    ),
    "rollcall.identity.uncontested": EventType(
        "PA", ("identity", "participant_sids"), "one of them at most is left"
    ),
    "rollcall.participant.joined": EventType(
        "PA",
        ("identity", "inferred"),
        "a session began; `inferred` where no connect callback has come, only later ones",
    ),
    "rollcall.participant.left": EventType(
        "PA",
        ("identity", "duration_seconds", "cause"),
        "a session ended: `disconnected` or `room-closed`",
    ),
    "rollcall.participant.evicted": EventType(
        "PA", _EVICTION, "a session was thrown out because somebody joined under its identity"
    ),
    "rollcall.participant.eviction-retracted": EventType(
        "PA", _EVICTION, "that conclusion no longer holds; the data is that of the one withdrawn"
    ),
    "rollcall.track.published": EventType(
        "MT", (*_TRACK, "name", "inferred"), "a track was published; it starts enabled"
    ),
    "rollcall.track.unpublished": EventType(
        "MT",
        (*_TRACK, "name", "cause"),
        "a track is gone: `removed`, `participant-left` or `room-closed`",
    ),
    "rollcall.track.enabled": EventType("MT", _TRACK, "a track was unmuted or unpaused"),
    "rollcall.track.disabled": EventType("MT", _TRACK, "a track was muted or paused"),
    "rollcall.recording.started": EventType("RT", _RECORDING, "and what the callback tells"),
    "rollcall.recording.completed": EventType("RT", _RECORDING, "and what the callback tells"),
    "rollcall.recording.failed": EventType("RT", _RECORDING, "and what the callback tells"),
    "rollcall.composition.enqueued": EventType("CJ", (), "what the callback tells"),
    "rollcall.composition.started": EventType("CJ", (), "what the callback tells"),
    "rollcall.composition.progress": EventType(
        "CJ", ("percentage_done",), "and what the callback tells"
    ),
    "rollcall.composition.available": EventType("CJ", (), "what the callback tells"),
    "rollcall.composition.failed": EventType("CJ", (), "what the callback tells"),
    "rollcall.composition.hook-failed": EventType("HK", (), "what the callback tells"),
    "rollcall.callback.unrecognised": EventType(
        "RM",
        ("event", "params", "known_event", "callback_id"),
        "an event that is not known (each time), or parameters (once a room, event and names)",
    ),
}

ALERT_EVENTS: dict[str, str] = {
    "rollcall.alert.raised": "something is wrong",
    "rollcall.alert.changed": "it grew worse: its severity or its count rose",
    "rollcall.alert.resolved": "it no longer holds",
}


class CloudEvent(msgspec.Struct, frozen=True, gc=False):
    """One event, as it is published."""

    id: str
    source: str
    type: str
    subject: str
    time: str
    # JSON, encoded.
    data: bytes
    # The names of extensions are lower-case letters and digits, their values text.
    extensions: dict[str, str]

    def fields(self) -> list[str | bytes]:
        """Return the fields of the stream entry: names and values in turn."""
        flat: list[str | bytes] = ["specversion", "1.0", "id", self.id, "source", self.source]
        flat += ["type", self.type, "subject", self.subject, "time", self.time]
        flat += ["datacontenttype", "application/json", "data", self.data]
        for extension in self.extensions.items():
            flat += extension
        return flat


def source_of(account_sid: str, room_sid: str) -> str:
    """Return the `source` of all events of a room."""
    return f"/twilio/{account_sid}/rooms/{room_sid}"


def chain_digest(previous_id: str, type_: str, subject: str, time: str, data: bytes) -> str:
    """Return the last part of an event's id: 8 hex digits over it and the id of the one before.

    Should Redis lose its tail, a revision comes again, but with another id.
    """
    head = f"{previous_id}\n{type_}\n{subject}\n{time}\n"
    return sha256(head.encode() + data).hexdigest()[:8]


def encode_data(data: Mapping[str, Any]) -> bytes:
    """Encode the data of an event."""
    return _encode(data)


def decode_entry(entry: Mapping[bytes, bytes]) -> tuple[dict[str, str], dict[str, Any]]:
    """Read a stream entry: its attributes as text, and its data."""
    attributes = {name.decode(): value.decode() for name, value in entry.items() if name != b"data"}
    return attributes, _decode(entry[b"data"])
