"""Digesting a batch: what is read of the entries, what is set aside, and how much is taken."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rooms import BOUNDS, LAPTOP, PHONE, connected, created, disconnected, ended
from strategies import ACCOUNT, ROOM, sid

from schemas.audit import digest_of
from schemas.errors import UnknownVersionError, UnreadableRecordError
from schemas.inbox import encode_params
from workers import digest, records
from workers.arrivals import Fault, read_entries
from workers.batch import Batch, Entry
from workers.digest import Digester
from workers.intake import callback_from
from workers.records import Ledger, Record
from workers.room.conclude import set_aside
from workers.room.facts import NOTHING, Facts
from workers.room.value import asdict, replace
from workers.scribe import Scribe
from workers.steps import Circumstances

SHARD = 3
BATCH_BYTES = 1 << 20
AT = 1_700_000_000_000
AROUND = Circumstances(
    SHARD, {"task_id": "t-1"}, BOUNDS, lambda: (AT + 60_000) * 1000, Scribe(BOUNDS)
)
SOON = float("inf")
OTHER_ROOM = sid("RM", 2)
UNDATED = {"AccountSid": ACCOUNT, "RoomSid": ROOM, "StatusCallbackEvent": "room-painted"}
PSEUDO_ROOM = f"shard-{SHARD}"


def entry(number: int, params: dict[str, str] | None = None, **fields: bytes) -> Entry:
    told = {} if params is None else {b"params": encode_params(params), b"token": b"t-1"}
    told |= {name.encode(): value for name, value in fields.items()}
    return b"%d-%d" % (AT + number, number), told


def digested(*entries: Entry, **stored: bytes) -> Batch:
    arrivals = read_entries(SHARD, entries)
    assert len(arrivals) == len(entries)
    known = dict.fromkeys((PSEUDO_ROOM, *(one.room_sid for one in arrivals)))
    batch, count = Digester(known | stored, AROUND).digest(arrivals, until=SOON)
    assert count == len(entries) == len(lines(batch))
    return batch


def lines(of: Batch) -> list[dict[str, Any]]:
    return [json.loads(line) for line in of.audit_lines.splitlines()]


def entries_of(published: Any) -> list[dict[str, Any]]:
    return [dict(zip(one[::2], one[1::2], strict=True)) for one in published]


def fault_of(one: Entry) -> tuple[str, Fault | None]:
    (arrival,) = read_entries(SHARD, [one])
    return arrival.room_sid, arrival.fault


# -- reading --------------------------------------------------------------------------------------


def test_an_entry_is_read_with_its_arrival_time() -> None:
    (arrival,) = read_entries(SHARD, [entry(5, created())])
    assert arrival.at == (AT + 5) * 1000
    assert arrival.callback
    assert (arrival.room_sid, arrival.callback.event) == (ROOM, "room-created")
    assert arrival.fault is None
    assert arrival.deposit
    assert arrival.deposit.token == "t-1"


def test_an_entry_that_tells_no_room_is_accounted_for_in_its_shard() -> None:
    room_sid, fault = fault_of(entry(0, rubbish=b"\xff"))
    assert room_sid == "shard-3"
    assert fault
    assert fault.reason == "indigestible"
    assert fault_of(entry(0, {})) == ("shard-3", ("indigestible", "without 'AccountSid'"))


def test_what_tells_its_room_is_accounted_for_there_even_when_it_is_unreadable() -> None:
    room_sid, fault = fault_of(entry(0, created() | {"Timestamp": "noon"}))
    assert room_sid == ROOM
    assert fault
    assert "Timestamp" in fault.detail
    place = {"AccountSid": ACCOUNT, "RoomSid": ROOM}
    room_sid, fault = fault_of(entry(0, place))
    assert room_sid == ROOM
    assert fault
    assert "StatusCallbackEvent" in fault.detail


@given(st.lists(st.sampled_from((1, 1000, BATCH_BYTES // 3, BATCH_BYTES // 2, BATCH_BYTES + 1))))
def test_a_batch_takes_as_many_entries_as_fit_and_at_least_one(sizes: list[int]) -> None:
    entries = [entry(number, x=b"x" * size) for number, size in enumerate(sizes)]
    arrivals = read_entries(SHARD, entries)
    taken = sizes[: len(arrivals)]
    assert [one.entry_id for one in arrivals] == [one[0] for one in entries[: len(taken)]]
    assert bool(arrivals) == bool(sizes)
    assert sum(taken) <= BATCH_BYTES or len(taken) == 1
    if len(taken) < len(sizes):
        assert sum(sizes[: len(taken) + 1]) > BATCH_BYTES


# -- digesting ------------------------------------------------------------------------------------


def test_a_batch_ends_when_what_it_gives_out_is_large_enough() -> None:
    # What goes in fits: a line of 100 kB comes of each, and of each of the rooms an event as large.
    large = {"Mood": "x" * 100_000}
    rooms = [sid("RM", number) for number in range(10)]
    entries = [
        entry(n, connected(PHONE, n) | {"RoomSid": room} | large) for n, room in enumerate(rooms)
    ]
    arrivals = read_entries(SHARD, entries)
    assert len(arrivals) == 10
    digester = Digester(dict.fromkeys((PSEUDO_ROOM, *rooms)), AROUND)
    batch, count = digester.digest(arrivals, until=SOON)
    size = len(batch.audit_lines) + sum(len(one["data"]) for one in entries_of(batch.events))
    assert BATCH_BYTES < size < BATCH_BYTES + 210_000
    assert (count, len(batch.rooms), batch.taken) == (6, 6, [one[0] for one in entries[:6]])


def test_rooms_that_come_mixed_are_stored_as_each_would_be_by_itself() -> None:
    rooms = [sid("RM", number) for number in range(3)]
    told = [created(), connected(PHONE, 1_000), disconnected(PHONE, 2_000), ended(3_000)]
    # The last room is heard of once, and first of all; nothing comes that belongs to no room.
    mixed = [told[0] | {"RoomSid": rooms[2]}]
    mixed += [one | {"RoomSid": room} for one in told for room in rooms[:2]]
    entries = [entry(number, one) for number, one in enumerate(mixed)]
    batch = digested(*entries)
    assert batch.rooms.keys() == {*rooms}
    for room in rooms:
        own = [one for one, params in zip(entries, mixed, strict=True) if params["RoomSid"] == room]
        assert batch.rooms[room] == digested(*own).rooms[room]


def test_a_record_is_read_for_its_first_callback_and_written_after_its_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    decode, encode = records.decode, records.encode

    def reading(stored: bytes | None) -> Record:
        done.append("read")
        return decode(stored)

    def writing(record: Record) -> bytes:
        done.append(f"write {record.facts.room_sid[-1]}")
        return encode(record)

    monkeypatch.setattr(records, "decode", reading)
    monkeypatch.setattr(records, "encode", writing)
    told = [(1, created()), (2, created()), (1, connected(PHONE, 0)), (3, created())]
    digested(*(entry(n, one | {"RoomSid": sid("RM", of)}) for n, (of, one) in enumerate(told)))
    # The first is the pseudo-room, in which all that belongs to no room would be.
    assert done == ["read", "read", "read", "write 2", "write 1", "read", "write 3"]


def test_time_runs_once_in_a_room_that_is_named_twice() -> None:
    stored = digested(entry(0, connected(PHONE, 0)), entry(1, disconnected(PHONE, 1_000)))
    later = (AT + 60_000) * 1000
    known = {PSEUDO_ROOM: None, ROOM: stored.rooms[ROOM].record}
    once = Digester(known, AROUND).elapse([ROOM], later, until=SOON)
    twice = Digester(known, AROUND).elapse([ROOM, ROOM], later, until=SOON)
    assert [one["type"] for one in entries_of(once.events)] == ["rollcall.identity.departed"]
    assert twice == once


def test_a_batch_ends_when_its_time_is_up_but_takes_at_least_one() -> None:
    arrivals = read_entries(SHARD, [entry(0, created()), entry(1, connected(PHONE, 0))])
    batch, count = Digester(dict.fromkeys((PSEUDO_ROOM, ROOM)), AROUND).digest(arrivals, until=0.0)
    assert (count, batch.taken, len(lines(batch))) == (1, [arrivals[0].entry_id], 1)


def test_only_the_rooms_that_a_batch_is_about_are_written() -> None:
    untouched = records.encode(Record(ledger=Ledger(revision=7)))
    batch = digested(entry(0, created()), **{OTHER_ROOM: untouched})
    assert batch.rooms.keys() == {ROOM}


def test_rooms_of_one_batch_have_records_and_chains_of_their_own() -> None:
    other = connected(PHONE, 0) | {"RoomSid": OTHER_ROOM}
    history = [created(), other, connected(PHONE, 5)]
    taken = digested(*(entry(number, params) for number, params in enumerate(history)))
    assert [(line["room_sid"], line["n"]) for line in lines(taken)] == [
        (ROOM, 1),
        (OTHER_ROOM, 1),
        (ROOM, 2),
    ]
    first, _, third = lines(taken)
    assert (first["prev"], third["prev"]) == ("", first["hash"])
    told = entries_of(taken.events)
    assert [one["roomrevision"] for one in told] == ["1", "1", "2", "3", "2", "3"]
    assert records.decode(taken.rooms[OTHER_ROOM].record).ledger.revision == 3


def test_an_audit_line_tells_the_circumstances_and_what_came_of_it() -> None:
    history = [created(), connected(PHONE, 0), connected(PHONE, 0)]
    taken = digested(*(entry(number, params) for number, params in enumerate(history)))
    (_, line, repeated) = lines(taken)
    assert line.pop("hash") == repeated["prev"]
    assert line == {
        "event": "callback_applied",
        "time": "2023-11-14T22:14:20.000Z",
        "room_sid": ROOM,
        "n": 2,
        "prev": lines(taken)[0]["hash"],
        "entry_id": f"{AT + 1}-1",
        "arrived": "2023-11-14T22:13:20.001Z",
        "params": history[1],
        "idempotency_token": "t-1",
        "revision": 3,
        "revision_before": 1,
        "late": False,
        "events": [one["id"] for one in entries_of(taken.events)[1:]],
        "alerts": [],
        "shard": SHARD,
        "task_id": "t-1",
        "callback_id": callback_from(history[1], 0).id.hex(),
        "reasons": [],
        "basis": AROUND.scribe.basis,
    }
    assert "terms" in lines(taken)[0]
    assert (repeated["event"], repeated["events"]) == ("callback_duplicate", [])
    assert repeated["revision_before"] == repeated["revision"] == 3


# -- what is undated or out of proportion ---------------------------------------------------------


def test_an_unknown_event_without_a_time_is_a_duplicate_when_it_comes_again() -> None:
    taken = digested(entry(0, UNDATED), entry(9_000, UNDATED))
    assert [line["event"] for line in lines(taken)] == [
        "callback_unrecognised",
        "callback_duplicate",
    ]
    (told,) = entries_of(taken.events)
    assert told["time"] == "2023-11-14T22:13:20.000Z"


def test_arrival_times_make_nothing_late() -> None:
    taken = digested(entry(0, UNDATED), entry(1, connected(PHONE, 0)), entry(2, UNDATED))
    assert [line["late"] for line in lines(taken)] == [False, False, False]


@pytest.mark.parametrize("first", [0, 1])
def test_a_duration_longer_than_time_itself_is_digested_in_any_order(first: int) -> None:
    longest = 10**15 - 1
    history = [connected(PHONE, 0), disconnected(PHONE, 5_000, duration=longest)]
    taken = digested(entry(0, history[first]), entry(1, history[1 - first]))
    assert taken.dead == []
    told = [one for one in entries_of(taken.events) if one["type"].endswith(".left")]
    assert [json.loads(one["data"])["duration_seconds"] for one in told] == [longest]


def test_a_room_that_lasted_longer_than_time_itself_was_opened_in_1970() -> None:
    taken = digested(entry(0, ended(5_000, duration=10**15 - 1)))
    assert [one["time"] for one in entries_of(taken.events)] == [
        "1970-01-01T00:00:00.000Z",
        "2023-08-14T20:00:05.000Z",
    ]


def test_a_session_that_lasted_longer_than_time_itself_began_in_1970() -> None:
    taken = digested(entry(0, disconnected(PHONE, 5_000, duration=10**15 - 1)))
    times = {one["type"]: one["time"] for one in entries_of(taken.events)}
    assert times["rollcall.participant.joined"] == "1970-01-01T00:00:00.000Z"


# -- setting aside --------------------------------------------------------------------------------


def test_what_is_set_aside_is_kept_whole_with_the_reason_and_leaves_the_facts_alone() -> None:
    bad = connected(PHONE, 0) | {"Timestamp": "noon"}
    taken = digested(entry(0, created()), entry(1, bad, extra=b"\xff"))
    (dead,) = entries_of(taken.dead)
    assert dead == {
        "entry_id": b"%d-1" % (AT + 1),
        "room_sid": ROOM,
        "reason": "indigestible",
        "detail": "participant-connected without a Timestamp that can be read.",
        "at": "2023-11-14T22:14:20.000Z",
        b"entry.params": encode_params(bad),
        b"entry.token": b"t-1",
        b"entry.extra": b"\xff",
    }
    line = lines(taken)[1]
    assert (line["event"], line["params"]) == ("callback_set_aside", bad)
    assert (line["reason"], line["detail"]) == (dead["reason"], dead["detail"])
    assert b64decode(line["entry"]["b'extra'"]) == b"\xff"
    assert line["late"] is False
    facts = records.decode(taken.rooms[ROOM].record).facts
    without = records.decode(digested(entry(0, created())).rooms[ROOM].record).facts
    noted = {name for name, value in asdict(facts).items() if value != getattr(without, name)}
    # And that something was heard, for those who wait until nothing more is.
    assert noted == {"set_aside", "heard", "looked", "due"}
    assert len(facts.set_aside) == 1


def test_what_is_set_aside_does_not_change_whose_room_it_is() -> None:
    other = created() | {"Timestamp": "noon", "AccountSid": "AC" + "f" * 32}
    taken = digested(entry(0, created()), entry(1, other))
    assert records.decode(taken.rooms[ROOM].record).facts.account_sid == ACCOUNT
    (alert,) = entries_of(taken.alerts)
    assert alert["source"] == f"/twilio/{ACCOUNT}/rooms/{ROOM}"


def test_the_same_set_aside_twice_is_kept_once_and_raised_once() -> None:
    taken = digested(entry(0, rubbish=b"1"), entry(1, rubbish=b"1"), entry(2, rubbish=b"2"))
    assert [one["entry_id"] for one in entries_of(taken.dead)] == [
        b"1700000000000-0",
        b"1700000000002-2",
    ]
    alerts = [(one["type"], json.loads(one["data"])) for one in entries_of(taken.alerts)]
    assert [(type_, data["count"]) for type_, data in alerts] == [
        ("rollcall.alert.raised", 1),
        ("rollcall.alert.changed", 2),
    ]
    assert alerts[0][1]["since"] == "2023-11-14T22:13:20.000Z"
    assert alerts[0][1]["summary"].startswith("1 callback of room shard-3 could not be digested")
    assert alerts[1][1]["summary"].startswith("2 callbacks of room shard-3")


def test_a_stranger_with_many_fields_is_kept_as_far_as_is_sensible() -> None:
    taken = digested(entry(0, **{f"field{number}": b"x" for number in range(5_000)}))
    (dead,) = entries_of(taken.dead)
    assert len([name for name in dead if isinstance(name, bytes)]) == 32


def test_a_callback_on_which_the_heart_fails_is_set_aside_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    conclude = digest.conclude

    def fail_on_the_phone(facts: Any, callback: Any, bounds: Any) -> Any:
        if callback.text("participant_sid") == PHONE:
            raise ZeroDivisionError("of the heart")
        return conclude(facts, callback, bounds)

    monkeypatch.setattr(digest, "conclude", fail_on_the_phone)
    history = [created(), connected(PHONE, 0), connected(LAPTOP, 0)]
    taken = digested(*(entry(number, params) for number, params in enumerate(history)))
    assert [line["event"] for line in lines(taken)] == [
        "callback_applied",
        "callback_set_aside",
        "callback_applied",
    ]
    (dead,) = entries_of(taken.dead)
    assert dead["detail"] == "ZeroDivisionError: of the heart"
    for line in lines(taken):
        assert line["hash"] == digest_of(line)
    assert [one["roomrevision"] for one in entries_of(taken.events)] == ["1", "2", "3"]


def test_the_shard_goes_on_even_when_the_alert_about_it_fails_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(digest, "set_aside", fail)
    taken = digested(entry(0, rubbish=b"1"), entry(1, created()))
    assert len(taken.dead) == 1
    assert taken.alerts == []
    assert [line["event"] for line in lines(taken)] == ["callback_set_aside", "callback_applied"]


def test_taking_note_of_it_leaves_a_closed_room_without_an_alert() -> None:
    taken = digested(entry(0, ended(0)), entry(1, created() | {"Timestamp": "noon"}))
    assert len(taken.dead) == 1
    assert taken.alerts == []


def test_taking_note_of_it_opens_no_room() -> None:
    outcome = set_aside(replace(NOTHING, room_sid=ROOM), "key", 5, BOUNDS)
    assert outcome.events == []
    assert outcome.facts.start is None
    (alert,) = outcome.alerts
    assert (alert.kind, alert.subject, alert.at, alert.data["since"]) == (
        "alert.raised",
        ROOM,
        5,
        None,
    )


# -- records --------------------------------------------------------------------------------------


def test_a_room_that_nothing_is_stored_of_is_new() -> None:
    assert records.decode(None) == Record()


def test_a_record_of_the_version_before_is_read_and_written_anew() -> None:
    record = Record(facts=Facts(room_sid=ROOM, looked=5))
    version, facts, ledger = msgspec.msgpack.decode(records.encode(record))
    # What version 2 did not have, is at the end of the facts.
    stored = msgspec.msgpack.encode((version - 1, facts[:-1], ledger))
    assert records.decode(stored) == record


@pytest.mark.parametrize("version", [records.VERSION - 2, records.VERSION + 1])
def test_a_record_of_another_version_is_not_read_however_its_inside_looks(version: int) -> None:
    stored = msgspec.msgpack.encode((version, {"facts": "of the future"}, [1]))
    with pytest.raises(UnknownVersionError, match=f"version {version}; this worker knows"):
        digested(entry(0, created()), **{ROOM: stored})


# The last is a text that is none.
BROKEN_TEXT = records.encode(Record(facts=Facts(room_sid=ROOM))).replace(
    ROOM.encode(), b"\xff" * 34
)


@pytest.mark.parametrize(
    "damaged", [b"", b"rubbish", msgspec.msgpack.encode((records.VERSION, 1)), BROKEN_TEXT]
)
def test_a_room_whose_record_is_damaged_is_left_alone_and_the_others_go_on(damaged: bytes) -> None:
    other = created() | {"RoomSid": OTHER_ROOM}
    taken = digested(entry(0, created()), entry(1, other), **{ROOM: damaged})
    assert taken.rooms.keys() == {PSEUDO_ROOM, OTHER_ROOM}
    (dead,) = entries_of(taken.dead)
    assert (dead["room_sid"], dead["reason"]) == (PSEUDO_ROOM, "unreadable-record")
    assert dead[b"entry.params"] == encode_params(created())
    assert ROOM in dead["detail"]
    (alert,) = entries_of(taken.alerts)
    assert alert["source"] == f"/twilio/{ACCOUNT}/rooms/{PSEUDO_ROOM}"


def test_what_belongs_to_no_room_is_accounted_for_together_however_it_is_mixed() -> None:
    rubbish = b"\xff"
    told = [entry(0, rubbish=rubbish), entry(1, created()), entry(2, rubbish=rubbish + rubbish)]
    taken = digested(*told, entry(3, connected(PHONE, 0)), **{ROOM: b"damaged"})
    assert taken.rooms.keys() == {PSEUDO_ROOM}
    assert len(taken.dead) == 4
    assert [line["n"] for line in lines(taken)] == [1, 2, 3, 4]


def test_without_its_pseudo_room_a_shard_is_left_alone() -> None:
    with pytest.raises(UnreadableRecordError):
        digested(entry(0, created()), **{PSEUDO_ROOM: b"rubbish"})
