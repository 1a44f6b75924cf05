"""The schemas of callbacks: strict where nothing can be concluded without, lenient elsewhere."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import ACCOUNT, ROOM, callbacks, sid

from schemas.callbacks import PARAMETERS, SCHEMAS, StatusCallback
from schemas.errors import IndigestibleError, MalformedError
from schemas.parsing import parse_count, parse_timestamp
from schemas.reading import check, read, room_of

SECOND = 1_000_000
PLACE = {"AccountSid": ACCOUNT, "RoomSid": ROOM}
PARTICIPANT = PLACE | {"ParticipantSid": sid("PA", 1)}
TRACK = PARTICIPANT | {"TrackSid": sid("MT", 1)}
RECORDING = PLACE | {"RecordingSid": sid("RT", 1)}
COMPOSITION = PLACE | {"CompositionSid": sid("CJ", 1)}
# Every event that Twilio documents, with the SIDs that it cannot do without.
EVENTS = {
    "room-created": PLACE,
    "room-ended": PLACE,
    "participant-connected": PARTICIPANT,
    "participant-disconnected": PARTICIPANT,
    "track-added": TRACK,
    "track-removed": TRACK,
    "track-enabled": TRACK,
    "track-disabled": TRACK,
    "recording-started": RECORDING,
    "recording-completed": RECORDING,
    "recording-failed": RECORDING,
    "composition-enqueued": COMPOSITION,
    "composition-hook-failed": PLACE | {"HookSid": sid("HK", 1)},
    "composition-started": COMPOSITION,
    "composition-available": COMPOSITION,
    "composition-progress": COMPOSITION,
    "composition-failed": COMPOSITION,
}
REQUIRED = [(event, name) for event, sids in EVENTS.items() for name in sids]
OPTIONAL = sorted(
    (event, str(field.data_key))
    for event, schema in SCHEMAS.items()
    for field in schema.fields.values()
    if str(field.data_key).endswith("Sid") and str(field.data_key) not in EVENTS[event]
)
PREFIXES = {
    "AccountSid": "AC",
    "RoomSid": "RM",
    "ParticipantSid": "PA",
    "TrackSid": "MT",
    "SourceSid": "MT",
    "RecordingSid": "RT",
    "CompositionSid": "CJ",
    "HookSid": "HK",
}
DEFORMED = pytest.mark.parametrize(
    "deform",
    [
        lambda _: "",
        lambda sid: sid[:-1],
        lambda sid: sid + "0",
        lambda sid: sid + "\n",
        lambda sid: " " + sid,
        lambda sid: "XX" + sid[2:],
        lambda sid: sid[:2].lower() + sid[2:],
        lambda sid: sid[:-1] + "g",
        lambda sid: sid[:-1] + "\u0661",  # a digit, but of another script
    ],
    ids=["empty", "short", "long", "newline", "blank", "prefix", "case", "letter", "digit"],
)


def least(event: str, **params: str) -> dict[str, str]:
    """Give the least that a callback of this event holds."""
    told = {"StatusCallbackEvent": event, "Timestamp": "2023-08-14T20:03:25.609Z"}
    return told | EVENTS.get(event, PLACE) | params


def at_fault(params: dict[str, Any]) -> list[str]:
    try:
        check(params)
    except MalformedError as error:
        return sorted(error.fields)
    return []


def test_every_recorded_callback_passes(recorded: list[dict[str, Any]]) -> None:
    for one in recorded:
        check(one["params"])


def test_the_recorded_parameters_are_those_of_the_recorded_bodies(
    recorded: list[dict[str, Any]],
) -> None:
    for one in recorded:
        assert list(one["params"].items()) == parse_qsl(one["body"], keep_blank_values=True)


def test_no_recorded_parameter_is_unknown(recorded: list[dict[str, Any]]) -> None:
    assert {name for one in recorded for name in one["params"]} <= PARAMETERS.keys()


def test_every_documented_event_has_a_schema_and_no_other_does() -> None:
    assert SCHEMAS.keys() == EVENTS.keys()


@pytest.mark.parametrize("event", EVENTS)
def test_the_required_parameters_are_enough(event: str) -> None:
    check(least(event))


@pytest.mark.parametrize(("event", "name"), REQUIRED)
def test_a_required_sid_that_is_missing_is_named(event: str, name: str) -> None:
    params = least(event)
    del params[name]
    assert at_fault(params) == [name]


@pytest.mark.parametrize(("event", "name"), REQUIRED)
@DEFORMED
def test_a_required_sid_that_is_malformed_is_named(event: str, name: str, deform: Any) -> None:
    assert at_fault(least(event, **{name: deform(sid(PREFIXES[name], 7))})) == [name]


@pytest.mark.parametrize(("event", "name"), OPTIONAL)
@DEFORMED
def test_an_optional_sid_that_is_malformed_is_kept_and_reported(
    event: str, name: str, deform: Any
) -> None:
    good, bad = sid(PREFIXES[name], 7), deform(sid(PREFIXES[name], 7))
    check(least(event, **{name: good}))
    assert good in read(least(event, **{name: good})).values.values()
    params = least(event, **{name: bad})
    check(params)
    assert read(params) == (read(least(event)).values, {name: bad})


@pytest.mark.parametrize("event", EVENTS)
def test_a_timestamp_that_is_missing_is_named(event: str) -> None:
    params = least(event)
    del params["Timestamp"]
    assert at_fault(params) == ["Timestamp"]


def test_every_parameter_at_fault_is_named_at_once() -> None:
    params = {"StatusCallbackEvent": "track-added", "Timestamp": "noon", "SequenceNumber": "-1"}
    assert at_fault(params) == sorted(["Timestamp", *TRACK])


@pytest.mark.parametrize("params", [{}, {"StatusCallbackEvent": "video-retired"}])
def test_even_an_unknown_event_tells_its_account(params: dict[str, str]) -> None:
    assert "AccountSid" in at_fault(params)


def test_without_an_event_it_is_no_status_callback() -> None:
    assert at_fault(PLACE) == ["StatusCallbackEvent"]


def test_what_is_not_text_is_refused() -> None:
    assert at_fault(least("room-created") | {"Timestamp": 7}) == ["Timestamp"]


# -- times ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("2023-08-14T20:03:27.368Z", 1_692_043_407_368_000),
        ("2023-08-14T20:03:27.206015Z", 1_692_043_407_206_015),
        ("2023-08-14T20:03:27.2060159Z", 1_692_043_407_206_015),
        ("2023-08-14T20:03:27Z", 1_692_043_407_000_000),
        ("2023-08-14T22:03:27.368+02:00", 1_692_043_407_368_000),
        ("2023-08-14T14:33:27.368-05:30", 1_692_043_407_368_000),
        ("1969-12-31T23:00:00-01:00", 0),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * SECOND),
        ("9999-12-31T00:00:00Z", 253_402_214_400 * SECOND),
    ],
)
def test_a_timestamp_is_read_to_the_microsecond(text: str, microseconds: int) -> None:
    assert parse_timestamp(text) == microseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "1692043407",
        "2023-08-14",
        "2023-08-14T20:03:27.368",  # without an offset it is no point in time
        "2023-08-14 20:03:27.368Z",
        "2023-08-14T20:03:27.368z",
        "2023-08-14T20:03:27,368Z",
        "2023-08-14T20:03:27.Z",
        "2023-08-14T20:03Z",
        "20230814T200327Z",
        " 2023-08-14T20:03:27.368Z",
        "2023-08-14T20:03:27.368Z\n",
        "\u0662\u0660\u0662\u0663-08-14T20:03:27.368Z",  # digits, but of another script
        "2023-08-14T20:03:27.368+0200",
        "2023-08-14T20:03:27.368+24:00",
        "2023-02-29T00:00:00Z",
        "2023-13-01T00:00:00Z",
        "2023-08-32T00:00:00Z",
        "2023-08-14T25:00:00Z",
        "2023-08-14T20:60:00Z",
        "2023-08-14T20:03:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",  # before the first moment that datetime knows
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T00:00:00.000001Z",
        "9999-12-31T23:59:59.999-23:59",  # in UTC that is the year 10000
    ],
)
def test_what_is_no_time_or_outside_1970_to_9999_is_refused(text: str) -> None:
    assert at_fault(least("room-created", Timestamp=text)) == ["Timestamp"]


# -- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("007", 7), ("184", 184), ("9" * 15, 10**15 - 1)]
)
def test_a_number_has_at_most_fifteen_digits(text: str, number: int) -> None:
    assert parse_count(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1.0", "1e3", "1_000", " 1", "1 ", "1\n", "0x1", "9" * 16, "0" * 16, "\u0661"],
)
def test_what_is_no_plain_number_is_kept_and_reported_and_loses_nothing_else(text: str) -> None:
    told = {"RoomDuration": text, "SequenceNumber": text}
    check(least("room-ended", **told))
    assert read(least("room-ended", **told)) == (read(least("room-ended")).values, told)


# -- where Twilio may change ----------------------------------------------------------------------


@pytest.mark.parametrize("event", ["room-painted", "", " room-created", "Room-Created", "__init__"])
def test_an_event_that_is_not_known_is_accepted_whatever_it_holds(event: str) -> None:
    params = {"AccountSid": ACCOUNT, "StatusCallbackEvent": event}
    check(params)
    check(params | {"RoomSid": "?", "Timestamp": "noon", "SequenceNumber": "many"})


@pytest.mark.parametrize("event", EVENTS)
def test_parameters_that_are_not_known_are_accepted(event: str) -> None:
    check(least(event) | {"Mood": "fine", "participant_sid": "?", "event": "?", "": ""})


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ("room-created", "RoomType"),
        ("room-created", "RoomStatus"),
        ("participant-connected", "ParticipantStatus"),
        ("track-added", "TrackKind"),
        ("recording-started", "Container"),
        ("recording-started", "Codec"),
        ("recording-started", "Type"),
        ("recording-failed", "FailedOperation"),
    ],
)
def test_a_value_that_twilio_does_not_use_today_is_accepted_and_kept(event: str, name: str) -> None:
    params = least(event, **{name: "Hologram "})
    check(params)
    assert "Hologram " in read(params).values.values()


def test_the_documented_values_are_written_down() -> None:
    known = {
        str(field.data_key): field.metadata["known"]
        for schema in SCHEMAS.values()
        for field in schema.fields.values()
        if "known" in field.metadata
    }
    assert known["RoomType"] == ("group", "group-small", "peer-to-peer", "go")
    assert known["TrackKind"] == ("audio", "video", "data")


def test_sids_are_kept_in_the_case_they_came_in() -> None:
    participant = "PA" + "ABCDEFabcdef0123" * 2
    params = least("participant-connected", ParticipantSid=participant)
    check(params)
    assert read(params).values["participant_sid"] == participant


@given(st.text())
def test_identities_and_names_are_kept_byte_for_byte(text: str) -> None:
    params = least("track-added", ParticipantIdentity=text, TrackName=text, RoomName=text)
    check(params)
    values = read(params).values
    assert [values[name] for name in ("participant_identity", "track_name", "room_name")] == (
        [text] * 3
    )


@pytest.mark.parametrize("identity", ["", " ", "\t", "\x1b[2J", "Visitor's Phone ", "\U0001f642"])
def test_neither_blanks_nor_control_characters_nor_emoji_are_touched(identity: str) -> None:
    params = least("participant-connected", ParticipantIdentity=identity)
    check(params)
    assert read(params).values["participant_identity"] == identity


# -- rooms ----------------------------------------------------------------------------------------


def test_a_callback_belongs_to_its_room() -> None:
    assert room_of(least("room-created")) == ROOM


@pytest.mark.parametrize("told", [{}, {"RoomSid": ""}, {"RoomSid": "?"}, {"RoomSid": ROOM + "\n"}])
def test_an_unknown_event_without_a_room_belongs_to_its_account(told: dict[str, str]) -> None:
    params = {"AccountSid": ACCOUNT, "StatusCallbackEvent": "video-retired", **told}
    check(params)
    assert room_of(params) == ACCOUNT


def test_an_unknown_event_of_a_room_belongs_to_the_room() -> None:
    assert room_of(least("room-painted")) == ROOM


# -- the fast way ---------------------------------------------------------------------------------

_TEXTS = st.sampled_from(
    ["0", "184", "9" * 15, "9" * 16, "-1", "", " ", "2023-08-14T20:03:27.206015Z", "noon"]
    + [sid(prefix, 1) for prefix in ("AC", "RM", "PA", "MT", "RT", "CJ", "HK")]
)


@st.composite
def _anything(draw: st.DrawFn) -> dict[str, str]:
    event = draw(st.sampled_from([*EVENTS, "room-painted"]))
    params = least(event)
    for name in draw(st.lists(st.sampled_from(sorted(PARAMETERS)), max_size=2)):
        params.pop(name, None)
    names = st.sampled_from([*sorted(PARAMETERS), "Mood"])
    return params | draw(st.dictionaries(names, _TEXTS | st.text(), max_size=3))


@given(
    _anything() | callbacks(),
    st.dictionaries(st.sampled_from(sorted(PARAMETERS)), st.none() | st.integers(), max_size=1),
)
def test_whatever_the_parameters_are_just_those_are_at_fault_that_marshmallow_finds_so(
    texts: dict[str, str], others: dict[str, Any]
) -> None:
    params = texts | others
    schema = SCHEMAS.get(params.get("StatusCallbackEvent", ""), StatusCallback())
    faults = schema.validate(params)
    insisted_on = (str(one.data_key) for one in schema.fields.values() if one.required)
    assert at_fault(params) == sorted(name for name in insisted_on if name in faults)


@given(_anything() | callbacks())
def test_reading_fast_gives_what_the_schema_gives_and_fails_where_it_does(
    params: dict[str, str],
) -> None:
    schema = SCHEMAS.get(params.get("StatusCallbackEvent", ""))
    if schema is None:
        return
    if at_fault(params):
        with pytest.raises(IndigestibleError):
            read(params)
        return
    faults = schema.validate(params)
    loaded = schema.load({name: value for name, value in params.items() if name not in faults})
    values, strange = read(params)
    assert values == {name: loaded[name] for name in loaded if name in schema.fields}
    unknown = params.keys() - PARAMETERS.keys()
    assert strange == {name: params[name] for name in params if name in unknown or name in faults}


@given(_anything() | callbacks())
def test_of_an_unknown_event_all_is_read_that_parses_and_all_is_reported(
    params: dict[str, str],
) -> None:
    params |= {"StatusCallbackEvent": "room-painted"}
    if at_fault(params):
        with pytest.raises(IndigestibleError):
            read(params)
        return
    values, strange = read(params)
    assert strange == params
    for name, (attribute, parse) in PARAMETERS.items():
        if name in params:
            try:
                expected = parse(params[name])
            except ValueError:
                assert attribute not in values
            else:
                assert values[attribute] == expected
    assert len(values) <= len(params)


def test_a_parameter_is_read_alike_on_every_event_that_has_it() -> None:
    for event, schema in SCHEMAS.items():
        for attribute, field in schema.fields.items():
            name = str(field.data_key)
            assert PARAMETERS[name][0] == attribute
            for text in ("7", sid("MT", 1), "2023-08-14T20:03:27Z"):
                params = least(event, **{name: text})
                if name != "StatusCallbackEvent" and not at_fault(params):
                    values, strange = read(params)
                    assert name in strange or values[attribute] == PARAMETERS[name][1](text)


def test_a_parameter_of_another_event_is_neither_read_nor_reported() -> None:
    values, strange = read(least("room-created", TrackSid=sid("MT", 1), PercentageDone="?"))
    assert (values, strange) == (read(least("room-created")).values, {})


def test_what_no_worker_can_read_says_what_is_wrong_with_it() -> None:
    with pytest.raises(IndigestibleError, match="room-created without a Timestamp that can be"):
        read(least("room-created", Timestamp="noon"))
    params = least("track-added")
    del params["TrackSid"]
    with pytest.raises(IndigestibleError, match="track-added without a TrackSid"):
        read(params)
    with pytest.raises(IndigestibleError, match="without a StatusCallbackEvent"):
        read({"AccountSid": ACCOUNT})
