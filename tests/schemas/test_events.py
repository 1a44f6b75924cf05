"""Derived events: the form of what is published, and the tables that document it."""

from __future__ import annotations

from hashlib import sha256
from itertools import product

import pytest

from schemas.alerts import ALERT_DATA, ALERTS
from schemas.events import (
    ALERT_EVENTS,
    DERIVED_EVENTS,
    PLACE,
    TYPE_PREFIX,
    CloudEvent,
    chain_digest,
    decode_entry,
    encode_data,
    source_of,
)

EVENT = CloudEvent(
    id="RM1:1:00000000",
    source="/twilio/AC1/rooms/RM1",
    type="rollcall.room.opened",
    subject="RM1",
    time="2023-08-14T20:03:25.609Z",
    data=encode_data({"room_name": "Night  Nurse \U0001f642"}),
    extensions={"roomsid": "RM1", "roomrevision": "1"},
)


def test_an_entry_holds_each_attribute_once_and_the_data() -> None:
    fields = EVENT.fields()
    assert dict(zip(fields[::2], fields[1::2], strict=True)) == {
        "specversion": "1.0",
        "id": "RM1:1:00000000",
        "source": "/twilio/AC1/rooms/RM1",
        "type": "rollcall.room.opened",
        "subject": "RM1",
        "time": "2023-08-14T20:03:25.609Z",
        "datacontenttype": "application/json",
        "data": '{"room_name":"Night  Nurse \U0001f642"}'.encode(),
        "roomsid": "RM1",
        "roomrevision": "1",
    }
    assert len(set(fields[::2])) == len(fields) / 2


def test_an_entry_is_read_as_it_was_published() -> None:
    flat = [one.encode() if isinstance(one, str) else one for one in EVENT.fields()]
    attributes, data = decode_entry(dict(zip(flat[::2], flat[1::2], strict=True)))
    assert attributes["id"] == EVENT.id
    assert "data" not in attributes
    assert data == {"room_name": "Night  Nurse \U0001f642"}


def test_the_source_names_account_and_room() -> None:
    assert source_of("AC1", "RM1") == "/twilio/AC1/rooms/RM1"


def test_the_digest_covers_the_event_before_and_all_that_is_said() -> None:
    text = b'RM1:1:aaaaaaaa\ntype\nsubject\ntime\n{"a":1}'
    told = ("RM1:1:aaaaaaaa", "type", "subject", "time", b'{"a":1}')
    assert chain_digest(*told) == sha256(text).hexdigest()[:8]
    others = ("RM1:1:aaaaaaab", "typ", "subjecu", "timf", b'{"a":2}')
    # Every combination of what stays and what differs has a digest of its own.
    digests = {chain_digest(*one) for one in product(*zip(told, others, strict=True))}
    assert len(digests) == 2**5


@pytest.mark.parametrize("type_", [*DERIVED_EVENTS, *ALERT_EVENTS])
def test_a_type_is_a_prefix_a_noun_and_a_verb(type_: str) -> None:
    prefix, noun, verb = type_.split(".")
    assert prefix + "." == TYPE_PREFIX
    assert noun.isalpha()
    assert verb.replace("-", "").isalpha()


def test_every_row_says_what_it_means_and_names_no_field_twice() -> None:
    for row in DERIVED_EVENTS.values():
        assert row.meaning
        assert len({*PLACE, *row.data}) == len(PLACE) + len(row.data)
        assert row.subject in {"RM", "PA", "MT", "RT", "CJ", "HK"}
    assert all([*ALERT_EVENTS.values(), *ALERTS.values()])
    assert len(set(ALERT_DATA)) == len(ALERT_DATA)
