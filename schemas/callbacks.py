"""Status callbacks as Twilio sends them: marshmallow schemas, one a family of events.

Sources: https://www.twilio.com/docs/video/api/status-callbacks for events and parameters, recorded
bodies where the two differ. Strict on what nothing can be concluded without (the SIDs that an event
is about, its time), lenient on all else: unknown events and parameters, new enum values and numbers
that are none are accepted and kept.
Identities and names are raw text: nothing here trims or folds them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from marshmallow import EXCLUDE, INCLUDE, Schema, ValidationError, fields

from schemas.errors import IndigestibleError, MalformedError

EVENT = "StatusCallbackEvent"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# With an offset, the last day of the year 9999 can lie beyond what UTC can say.
_LAST = datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH
_ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
# Fifteen digits hold any count and any millisecond of Twilio's, and fit every integer type that
# they cross on their way.
_COUNT = re.compile(r"\d{1,15}", re.ASCII)


def parse_sid(prefix: str) -> Callable[[str], str]:
    """Make a parser of SIDs: the prefix and 32 hex digits, kept in the case they came in."""
    pattern = re.compile(prefix + "[0-9a-fA-F]{32}", re.ASCII)

    def parse(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"Not {prefix} and 32 hex digits.")
        return value

    return parse


def parse_count(value: str) -> int:
    """Parse a decimal number of at most 15 digits."""
    if not _COUNT.fullmatch(value):
        raise ValueError("Not a whole number of at most 15 digits.")
    return int(value)


def parse_timestamp(value: str) -> int:
    """Parse ISO 8601 with an offset into microseconds since 1970 UTC.

    Room, participant and track callbacks carry 3 decimals, recordings and compositions 6.
    """
    if not _ISO_8601.fullmatch(value):
        raise ValueError("Not an ISO 8601 time with an offset.")
    try:
        since = datetime.fromisoformat(value) - _EPOCH
    except (ValueError, OverflowError):
        raise ValueError("Not a time that exists.") from None
    if not timedelta(0) <= since <= _LAST:
        raise ValueError("Before 1970, or after 9999.")
    return since // _MICROSECOND


class Parsed(fields.Field[Any]):
    """A parameter that one of the parsers above reads."""

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
_UNKNOWN_EVENT = StatusCallback()
SCHEMAS: dict[str, StatusCallback] = {
    event: schema
    for schema, events in ((family(), events) for family, events in _FAMILIES.items())
    for event in events
}

Parsers = dict[str, tuple[str, Callable[[str], Any]]]


def _parsers_of(schema: Schema) -> Parsers:
    return {
        str(parsed.data_key): (name, parsed.parse)
        for name, parsed in schema.fields.items()
        if isinstance(parsed, Parsed)
    }


_PARSERS: dict[Schema, Parsers] = {schema: _parsers_of(schema) for schema in SCHEMAS.values()}
# Every parameter that is known on any event: a familiar one on an unfamiliar event is no news.
PARAMETERS: Parsers = {
    name: parser for parsers in _PARSERS.values() for name, parser in parsers.items()
}
# The required parameters of each schema.
_INSISTED_ON: dict[Schema, Parsers] = {
    schema: {
        name: (attribute, parse)
        for name, (attribute, parse) in _parsers_of(schema).items()
        if schema.fields[attribute].required
    }
    for schema in (*SCHEMAS.values(), _UNKNOWN_EVENT)
}


# Of each schema what is insisted on, and nothing else: what it would say of the others, and of what
# it does not know, has no consequence at the door.
_STRICT: dict[Schema, Schema] = {
    schema: type(schema)(
        only=tuple(attribute for attribute, _ in parsers.values()), unknown=EXCLUDE
    )
    for schema, parsers in _INSISTED_ON.items()
}


def check(params: Mapping[str, str]) -> None:
    """Check the parameters of a callback, as the door must before it accepts one.

    Only what nothing can be concluded without is insisted on: to refuse a callback is to lose it,
    since Twilio normally does not send it again. An optional parameter that cannot be read is kept
    and reported, like an unknown one.

    Raises:
        MalformedError: names each parameter at fault, and why.
    """
    schema = SCHEMAS.get(params.get(EVENT, ""), _UNKNOWN_EVENT)
    # The schema names faults, which nearly no callback has, and costs ten times what its own
    # parsers do.
    if _holds_all(_INSISTED_ON[schema], params):
        return
    faults = _STRICT[schema].validate(params)
    if faults:
        raise MalformedError({str(name): list(why) for name, why in faults.items()})


def _holds_all(parsers: Parsers, params: Mapping[str, Any]) -> bool:
    """Whether every parameter of `parsers` is there, is text and can be read."""
    try:
        for name, (_, parse) in parsers.items():
            if not isinstance(value := params[name], str):
                return False
            parse(value)
    except (KeyError, ValueError):
        return False
    return True


_parse_room_sid = parse_sid("RM")


def room_of(params: Mapping[str, str]) -> str:
    """The room that a checked callback belongs to, which also decides its shard.

    An unknown event without a RoomSid of the usual shape belongs to the pseudo-room AccountSid.
    """
    try:
        return _parse_room_sid(params["RoomSid"])
    except (KeyError, ValueError):
        return params["AccountSid"]


class Reading(NamedTuple):
    """A callback's parameters, read."""

    # Those that are known, by the attribute names of the schemas.
    values: dict[str, Any]
    # What there is to report: parameters that are unknown or cannot be read, and all parameters of
    # an event that is unknown; as they came.
    strange: dict[str, str]


def read(params: Mapping[str, str]) -> Reading:
    """Read the parameters of a checked callback: the fast way of the drain, without validation.

    Raises:
        IndigestibleError: a required parameter is missing or cannot be read. That does not pass
            the door.
    """
    schema = SCHEMAS.get(params.get(EVENT, ""), _UNKNOWN_EVENT)
    parsers = PARAMETERS if schema is _UNKNOWN_EVENT else _PARSERS[schema]
    values: dict[str, Any] = {}
    strange: dict[str, str] = {}
    for name, value in params.items():
        if name in parsers:
            attribute, parse = parsers[name]
            try:
                values[attribute] = parse(value)
            except ValueError:
                strange[name] = value
        elif name not in PARAMETERS:
            strange[name] = value
    for name, (attribute, _) in _INSISTED_ON[schema].items():
        if attribute not in values:
            raise IndigestibleError(f"{params.get(EVENT)} without a {name} that can be read.")
    return Reading(values, dict(params) if schema is _UNKNOWN_EVENT else strange)
