"""The tables of events and alerts, held to the heart: it makes what they document, all of it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from rooms import (
    ARRIVED,
    CAMERA,
    LAPTOP,
    PHONE,
    TABLET,
    Params,
    callback,
    concluded,
    connected,
    created,
    disconnected,
    ended,
    facts_of,
    track,
)
from strategies import ACCOUNT, histories, sid
from timed import BOUNDS, HOUR, Timed, Told, tell

from schemas.alerts import ALERT_DATA, ALERTS
from schemas.callbacks import PARAMETERS
from schemas.events import ALERT_EVENTS, DERIVED_EVENTS, PLACE, TYPE_PREFIX
from workers.room.conclude import set_aside
from workers.room.conditions import SEVERITIES
from workers.room.diff import Event
from workers.room.facts import NOTHING
from workers.room.stall import stalled

RECORDING = {"RecordingSid": sid("RT", 1)}
COMPOSITION = {"CompositionSid": sid("CJ", 1)}
# One story in which each documented thing happens, a second after the other.
STORY = [
    created() | {"SequenceNumber": "0"},
    connected(PHONE, 0) | {"SequenceNumber": "9"},
    track("added", PHONE, 0),
    track("disabled", PHONE, 10),
    track("enabled", PHONE, 20),
    connected(TABLET, 65_000),
    disconnected(PHONE, 65_100),
    connected(LAPTOP, 60_000),
    *(
        one
        for number in (1, 2, 3)
        for one in (
            connected(sid("PA", 10 + number), 70_000 + number),
            disconnected(LAPTOP if number == 1 else sid("PA", 9 + number), 70_100 + number),
        )
    ),
    connected(sid("PA", 20), 80_000, identity="Robin"),
    connected(sid("PA", 21), 80_000, identity="Kim"),
    *(callback(f"recording-{what}", 0, **RECORDING) for what in ("started", "completed", "failed")),
    *(
        callback(f"composition-{what}", 0, **COMPOSITION)
        for what in ("enqueued", "started", "progress", "available", "failed")
    ),
    callback("composition-hook-failed", 0, HookSid=sid("HK", 1)),
    callback("room-painted", 0),
    callback("room-painted", 1, SequenceNumber="4"),
    disconnected(TABLET, 85_000),
    ended(90_000) | {"RoomStatus": "failed"},
]
# Long enough that time does what it does by itself before the next callback.
PAUSES = {"room-ended": 400, "room-painted": 200}
# Besides what the table names, these pass on whatever else the callback tells.
TELLING = ("rollcall.recording.", "rollcall.composition.")
TELLABLE = {attribute for attribute, _ in PARAMETERS.values()}
PLACES_OF_AN_EVENT = {"event", "account_sid", "room_type", "timestamp"}


def told() -> Told:
    gaps = [PAUSES.get(one["StatusCallbackEvent"], 1) * 1_000_000 for one in STORY]
    return tell(Timed(STORY, gaps).callbacks(), until=HOUR)


def check_documented(events: Iterable[Event]) -> None:
    for event in events:
        type_ = TYPE_PREFIX + event.kind
        row = DERIVED_EVENTS[type_]
        documented = {*PLACE, *row.data}
        assert documented <= event.data.keys(), type_
        if type_.startswith(TELLING):
            assert event.data.keys() - documented <= TELLABLE - PLACES_OF_AN_EVENT
        else:
            assert event.data.keys() == documented, type_
        assert event.subject.startswith(row.subject), type_


def check_documented_alerts(alerts: Iterable[Event]) -> None:
    for alert in alerts:
        assert TYPE_PREFIX + alert.kind in ALERT_EVENTS
        assert set(ALERT_DATA) <= alert.data.keys()
        assert alert.data["alert"] in ALERTS
        assert alert.data["severity"] in SEVERITIES
        assert alert.data["summary"].endswith(".")
        assert alert.data["room_sid"] in alert.data["dedup_key"]


def test_the_heart_makes_every_documented_event_and_no_other() -> None:
    events = told().events
    check_documented(events)
    assert {TYPE_PREFIX + event.kind for event in events} == DERIVED_EVENTS.keys()


@given(histories)
def test_whatever_happens_the_events_are_as_documented(history: list[Params]) -> None:
    events, alerts = concluded(history, people=True)
    check_documented(events)
    check_documented_alerts(alerts)


@pytest.mark.parametrize("what", ["started", "completed", "failed"])
def test_a_recording_passes_on_all_that_its_callback_tells(what: str) -> None:
    everything = {
        "ParticipantSid": PHONE,
        "SourceSid": CAMERA,
        "ParticipantIdentity": "Dana ",
        "TrackName": "camera",
        "RecordingUri": "/v1/Recordings/RT1",
        "MediaUri": "/v1/Recordings/RT1/Media",
        "MediaExternalLocation": "s3://media",
        "Duration": "62",
        "Size": "1024",
        "Container": "mkv",
        "Codec": "vp8",
        "Type": "video",
        "OffsetFromTwilioVideoEpoch": "249293007297",
        "FailedOperation": "RecordingUpload",
    }
    (event,), _ = concluded([callback(f"recording-{what}", 0, **RECORDING, **everything)])
    assert event.data == {
        "room_sid": event.data["room_sid"],
        "room_name": "Room 1",
        "recording_sid": sid("RT", 1),
        "participant_sid": PHONE,
        "track_sid": CAMERA,
        "identity": "Dana ",
        "track_name": "camera",
        "recording_uri": "/v1/Recordings/RT1",
        "media_uri": "/v1/Recordings/RT1/Media",
        "media_external_location": "s3://media",
        "duration": 62,
        "size": 1024,
        "container": "mkv",
        "codec": "vp8",
        "type": "video",
        "offset_from_twilio_video_epoch": 249293007297,
        "failed_operation": "RecordingUpload",
    }


@pytest.mark.parametrize("what", ["enqueued", "started", "progress", "available", "failed"])
def test_a_composition_passes_on_all_that_its_callback_tells(what: str) -> None:
    everything = {
        "HookSid": sid("HK", 1),
        "HookUri": "/v1/CompositionHooks/HK1",
        "HookFriendlyName": "nightly",
        "CompositionUri": "/v1/Compositions/CJ1",
        "MediaUri": "/v1/Compositions/CJ1/Media",
        "MediaExternalLocation": "s3://media",
        "Duration": "62",
        "Size": "1024",
        "PercentageDone": "40",
        "SecondsRemaining": "9",
        "FailedOperation": "Compose",
        "ErrorMessage": "no media",
    }
    (event,), _ = concluded([callback(f"composition-{what}", 0, **COMPOSITION, **everything)])
    assert event.subject == sid("CJ", 1)
    told = {name: value for name, value in event.data.items() if name not in PLACE}
    assert told == {
        "composition_sid": sid("CJ", 1),
        "hook_sid": sid("HK", 1),
        "hook_uri": "/v1/CompositionHooks/HK1",
        "hook_friendly_name": "nightly",
        "composition_uri": "/v1/Compositions/CJ1",
        "media_uri": "/v1/Compositions/CJ1/Media",
        "media_external_location": "s3://media",
        "duration": 62,
        "size": 1024,
        "percentage_done": 40,
        "seconds_remaining": 9,
        "failed_operation": "Compose",
        "error_message": "no media",
    }


def test_every_documented_alert_is_raised_grows_worse_and_is_resolved_as_documented() -> None:
    alerts = told().alerts
    alerts += set_aside(facts_of([created()]), "key", ARRIVED, BOUNDS).alerts
    alerts += stalled(NOTHING, ARRIVED, ARRIVED + 1, BOUNDS).alerts
    check_documented_alerts(alerts)
    assert {TYPE_PREFIX + alert.kind for alert in alerts} == ALERT_EVENTS.keys()
    assert {alert.data["alert"] for alert in alerts} == ALERTS.keys()


def test_an_unknown_event_of_no_room_is_about_its_account() -> None:
    (event,), _ = concluded([{"AccountSid": ACCOUNT, "StatusCallbackEvent": "video-retired"}])
    assert event.subject == ACCOUNT
    assert event.data.keys() == {*PLACE, *DERIVED_EVENTS["rollcall.callback.unrecognised"].data}
    assert (event.data["room_sid"], event.data["known_event"]) == (ACCOUNT, False)
