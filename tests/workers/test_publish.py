"""Publishing: what the heart concludes becomes CloudEvents that anybody's library accepts."""

from __future__ import annotations

import json
import re
from datetime import datetime

from cloudevents.core.bindings.http import from_structured, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as Accepted
from hypothesis import given
from rooms import (
    ARRIVED,
    BOUNDS,
    LAPTOP,
    PHONE,
    Params,
    connected,
    created,
    disconnected,
    ended,
    track,
)
from strategies import ACCOUNT, ROOM, histories

from schemas.events import CloudEvent, chain_digest
from workers.intake import callback_from
from workers.publish import publish_alert, publish_event
from workers.records import Ledger
from workers.room.conclude import conclude
from workers.room.facts import NOTHING

TAKEOVER = [
    created(),
    connected(PHONE, 1_000),
    connected(LAPTOP, 60_000),
    disconnected(PHONE, 60_300),
    ended(90_000),
]


def published(history: list[Params]) -> tuple[list[CloudEvent], list[CloudEvent], Ledger]:
    facts, ledger = NOTHING, Ledger()
    events, alerts = [], []
    for params in history:
        outcome = conclude(facts, callback_from(params, ARRIVED), BOUNDS)
        facts = outcome.facts
        for event in outcome.events:
            ledger, made = publish_event(ledger, facts, event, late=outcome.late)
            events.append(made)
        for alert in outcome.alerts:
            ledger, made = publish_alert(ledger, facts, alert)
            alerts.append(made)
    return events, alerts, ledger


def as_consumer(event: CloudEvent) -> Accepted:
    """Make the library's own event out of the fields of a stream entry, as a consumer would."""
    fields = event.fields()
    attributes: dict[str, object] = dict(zip(fields[::2], fields[1::2], strict=True))
    data = attributes.pop("data")
    attributes["time"] = datetime.fromisoformat(str(attributes["time"]))
    assert isinstance(data, bytes)
    return Accepted(attributes, json.loads(data))


def check_accepted(event: CloudEvent) -> None:
    accepted = as_consumer(event)
    # Through the standard JSON form and back nothing is lost.
    message = to_structured(accepted, JSONFormat())
    again = from_structured(message, JSONFormat())
    assert again.get_attributes() == accepted.get_attributes()
    assert again.get_data() == accepted.get_data()
    assert isinstance(accepted.get_data(), dict)


@given(histories)
def test_every_event_and_alert_is_a_cloudevent_to_the_librarys_eye(history: list[Params]) -> None:
    events, alerts, _ = published(history)
    for event in (*events, *alerts):
        check_accepted(event)
        # The library accepts longer names; the specification asks for at most twenty characters.
        assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) for name in event.extensions)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.time)
        assert event.source == f"/twilio/{ACCOUNT}/rooms/{ROOM}"
        assert event.extensions["roomsid"] == ROOM


@given(histories)
def test_no_two_events_of_a_room_have_the_same_id(history: list[Params]) -> None:
    events, alerts, _ = published(history)
    ids = [one.id for one in (*events, *alerts)]
    assert len(set(ids)) == len(ids)


def test_an_id_names_room_and_revision_and_builds_on_the_one_before() -> None:
    events, alerts, ledger = published(TAKEOVER)
    for stream, mark, number in ((events, "", "roomrevision"), (alerts, "a", "roomalert")):
        before = ""
        for count, event in enumerate(stream, start=1):
            told = (event.type, event.subject, event.time, event.data)
            digest = chain_digest(before, *told)
            assert event.id == f"{ROOM}:{mark}{count}:{digest}"
            assert event.extensions[number] == str(count)
            before = event.id
    assert (ledger.revision, ledger.last_event_id) == (len(events), events[-1].id)
    assert (ledger.alerts, ledger.last_alert_id) == (len(alerts), alerts[-1].id)
    assert len(alerts) == 2


def test_an_alert_says_since_when_in_words_a_person_reads() -> None:
    _, alerts, _ = published(TAKEOVER)
    raised, resolved = alerts
    assert json.loads(raised.data)["since"] == "2023-08-14T20:01:00.300Z"
    assert json.loads(resolved.data)["since"] == "2023-08-14T20:01:00.300Z"
    assert "late" not in raised.extensions
    assert (raised.type, resolved.type) == ("rollcall.alert.raised", "rollcall.alert.resolved")


def test_an_event_says_whether_its_cause_came_late() -> None:
    events, _, _ = published([connected(LAPTOP, 10_000), connected(PHONE, 4_999)])
    assert [one.extensions["late"] for one in events] == ["false", "false", "false", "true"]


def test_the_time_of_an_event_is_when_it_happened() -> None:
    events, _, _ = published([connected(LAPTOP, 10_000)])
    assert {one.time for one in events} == {"2023-08-14T20:00:10.000Z"}


@given(histories)
def test_a_retraction_repeats_the_data_of_the_eviction_as_it_was_published(
    history: list[Params],
) -> None:
    events, _, ledger = published(history)
    standing: dict[str, bytes] = {}
    for event in events:
        if event.type == "rollcall.participant.evicted":
            assert event.subject not in standing
            standing[event.subject] = event.data
        elif event.type == "rollcall.participant.eviction-retracted":
            assert event.data == standing.pop(event.subject)
    assert ledger.evictions.keys() == standing.keys()


def test_what_was_learned_since_an_eviction_does_not_change_its_retraction() -> None:
    known_by_its_track = [
        connected(PHONE, 0),
        track("added", LAPTOP, 60_100),
        disconnected(PHONE, 60_200),
        # The survivor is the same, the gap is not.
        connected(LAPTOP, 60_000),
        ended(60_900),
    ]
    events, _, ledger = published(known_by_its_track)
    told = [json.loads(one.data) for one in events if "evict" in one.type]
    assert [one["gap_ms"] for one in told] == [100, 100]
    assert told[0] == told[1]
    assert ledger.evictions == {}
