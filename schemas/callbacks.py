"""Status callbacks as Twilio sends them: marshmallow schemas, one a family of events.

Sources: https://www.twilio.com/docs/video/api/status-callbacks for events and parameters, recorded
bodies where the two differ. Strict on what nothing can be concluded without (the SIDs that an event
is about, its time), lenient on all else: unknown events and parameters, new enum values and numbers
that are none are accepted and kept.
Identities and names are raw text: nothing here trims or folds them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields

from schemas.parsing import parse_count, parse_sid, parse_timestamp

EVENT = "StatusCallbackEvent"


class Parsed(fields.Field[Any]):
    """A parameter that a parser reads."""

    default_error_messages = {"type": "Not text."}  # noqa: RUF012  # marshmallow's own form

    def __init__(self, parse: Callable[[str], Any], data_key: str, **kwargs: Any) -> None:
        super().__init__(data_key=data_key, **kwargs)
        self.parse = parse

    def _validate(self, value: Any) -> None:
        """Do nothing: a parser says it all, and marshmallow would look for validators each time."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        if not isinstance(value, str):
            raise self.make_error("type")
        try:
            return self.parse(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None


def _text(data_key: str, *known: str, required: bool = False) -> Parsed:
    """Raw text; `known` documents the values that Twilio uses today and refuses no other."""
    return Parsed(str, data_key, required=required, metadata={"known": known} if known else {})


def _count(data_key: str) -> Parsed:
    return Parsed(parse_count, data_key)


def _sid(prefix: str, data_key: str, *, required: bool = True) -> Parsed:
    return Parsed(parse_sid(prefix), data_key, required=required, metadata={"sid": prefix})


class StatusCallback(Schema):
    """What every status callback carries, also one of an event that is not known here."""

    class Meta:
        unknown = INCLUDE

    event = _text(EVENT, required=True)
    account_sid = _sid("AC", "AccountSid")


class _Bound(StatusCallback):
    """A callback about a room."""

    room_sid = _sid("RM", "RoomSid")
    timestamp = Parsed(parse_timestamp, "Timestamp", required=True)
    room_name = _text("RoomName")
    room_type = _text("RoomType", "group", "group-small", "peer-to-peer", "go")


class RoomCallback(_Bound):
    """room-created, room-ended."""

    room_status = _text("RoomStatus", "in-progress", "completed", "failed")
    sequence_number = _count("SequenceNumber")
    room_duration = _count("RoomDuration")


class ParticipantCallback(RoomCallback):
    """participant-connected, participant-disconnected."""

    participant_sid = _sid("PA", "ParticipantSid")
    participant_identity = _text("ParticipantIdentity")
    participant_status = _text("ParticipantStatus", "connected", "disconnected", "reconnecting")
    # Whole seconds, rounded down (recorded: 184 for 184.762 s).
    participant_duration = _count("ParticipantDuration")


class TrackCallback(ParticipantCallback):
    """track-added, -removed, -enabled, -disabled."""

    track_sid = _sid("MT", "TrackSid")
    track_kind = _text("TrackKind", "audio", "video", "data")
    # Sent, but missing from Twilio's table.
    track_name = _text("TrackName")


class RecordingCallback(_Bound):
    """recording-started, -completed, -failed; these carry no SequenceNumber."""

    recording_sid = _sid("RT", "RecordingSid")
    participant_sid = _sid("PA", "ParticipantSid", required=False)
    participant_identity = _text("ParticipantIdentity")
    source_sid = _sid("MT", "SourceSid", required=False)
    track_name = _text("TrackName")
    recording_uri = _text("RecordingUri")
    media_uri = _text("MediaUri")
    media_external_location = _text("MediaExternalLocation")
    duration = _count("Duration")
    size = _count("Size")
    container = _text("Container", "mka", "mkv")
    # Documented in capitals, sent in small letters.
    codec = _text("Codec", "pcmu", "opus", "vp8", "h264")
    type = _text("Type", "audio", "video")
    offset_from_twilio_video_epoch = _count("OffsetFromTwilioVideoEpoch")
    failed_operation = _text(
        "FailedOperation", "RecordingStart", "RecordingComplete", "RecordingUpload"
    )


class CompositionHookCallback(_Bound):
    """composition-hook-failed: the hook could not even make a composition."""

    hook_sid = _sid("HK", "HookSid")
    hook_uri = _text("HookUri")
    hook_friendly_name = _text("HookFriendlyName")
    failed_operation = _text("FailedOperation")
    error_message = _text("ErrorMessage")


class CompositionCallback(CompositionHookCallback):
    """composition-enqueued, -started, -progress, -available, -failed."""

    hook_sid = _sid("HK", "HookSid", required=False)
    composition_sid = _sid("CJ", "CompositionSid")
    composition_uri = _text("CompositionUri")
    media_uri = _text("MediaUri")
    media_external_location = _text("MediaExternalLocation")
    duration = _count("Duration")
    size = _count("Size")
    percentage_done = _count("PercentageDone")
    seconds_remaining = _count("SecondsRemaining")


_FAMILIES: dict[type[StatusCallback], tuple[str, ...]] = {
    RoomCallback: ("room-created", "room-ended"),
    ParticipantCallback: ("participant-connected", "participant-disconnected"),
    TrackCallback: ("track-added", "track-removed", "track-enabled", "track-disabled"),
    RecordingCallback: ("recording-started", "recording-completed", "recording-failed"),
    CompositionHookCallback: ("composition-hook-failed",),
    CompositionCallback: (
        "composition-enqueued",
        "composition-started",
        "composition-progress",
        "composition-available",
        "composition-failed",
    ),
}

# Built once: making a schema costs a hundred times what using it does.
UNKNOWN_EVENT = StatusCallback()
SCHEMAS: dict[str, StatusCallback] = {
    event: schema
    for schema, events in ((family(), events) for family, events in _FAMILIES.items())
    for event in events
}

Parsers = dict[str, tuple[str, Callable[[str], Any]]]


def parsers_of(schema: Schema) -> Parsers:
    return {
        str(parsed.data_key): (name, parsed.parse)
        for name, parsed in schema.fields.items()
        if isinstance(parsed, Parsed)
    }


PARSERS: dict[Schema, Parsers] = {schema: parsers_of(schema) for schema in SCHEMAS.values()}
# Every parameter that is known on any event: a familiar one on an unfamiliar event is no news.
PARAMETERS: Parsers = {
    name: parser for parsers in PARSERS.values() for name, parser in parsers.items()
}
