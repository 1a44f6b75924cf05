"""Audit records: what they say of a verdict and why, on which terms, and how a room is closed."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from logging_worker import LoggingWorker
from rooms import LAPTOP, PHONE, TABLET, connected, created, disconnected, ended, track
from semantics import SITUATIONS, Situation
from strategies import sid
from timed import ARRIVED, BOUNDS, HOUR, MINUTE, SECOND

from schemas.audit import digest_of
from schemas.audit_keys import SigningKey
from schemas.audit_reasons import REASONS
from schemas.audit_records import RoomRecord, Terms, basis_of
from workers.pseudonyms import Pseudonyms
from workers.scribe import Scribe, code_digest

Record = dict[str, Any]
KEY, _ = SigningKey.generated()
_STRUCTS = {one.__struct_config__.tag: one for one in get_args(RoomRecord)}
_decode = msgspec.json.Decoder(RoomRecord).decode


def check(worker: LoggingWorker) -> list[Record]:
    """Hold every record of a log to the schema; return them."""
    for line, record in zip(worker.log.splitlines(), worker.records(), strict=True):
        _decode(line)
        known = {one.name for one in msgspec.structs.fields(_STRUCTS[record["event"]])}
        assert record.keys() <= known | {"event"}
        assert digest_of(record) == record["hash"]
        for reason in record["reasons"]:
            assert {"why", *REASONS[reason["why"]].tells} == reason.keys()
    return worker.records()


def reasons(record: Record) -> list[str]:
    return [one["why"] for one in record["reasons"]]


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.title)
@pytest.mark.parametrize("hashed", [False, True])
def test_every_record_of_every_situation_is_as_the_schema_says(
    situation: Situation, hashed: bool
) -> None:
    pseudonyms = Pseudonyms("k" * 32) if hashed else None
    worker = LoggingWorker(Scribe(BOUNDS, pseudonyms=pseudonyms, key=KEY))
    worker.take([*situation.given, *situation.then])
    worker.take_entries([(b"%d-999" % (ARRIVED // 1000), {b"rubbish": b"\xff"})])
    worker.find_stalled(ARRIVED, ARRIVED + MINUTE)
    worker.look(ARRIVED + 30 * HOUR)
    records = check(worker)
    assert all(("digests" in one) == hashed for one in records if one["event"] != "room_settled")


def test_an_eviction_is_recorded_with_the_times_and_the_bounds_behind_it() -> None:
    worker = LoggingWorker()
    worker.take([created(), connected(PHONE, 0), connected(LAPTOP, 60_000)])
    worker.take([disconnected(PHONE, 60_300)])
    *_, arrival, end = check(worker)
    evicted, alert = end["reasons"]
    assert evicted == {
        "why": "evicted",
        "evicted_sid": PHONE,
        "survivor_sid": LAPTOP,
        "evicted_end": "2023-08-14T20:01:00.300Z",
        "survivor_start": "2023-08-14T20:01:00.000Z",
        "gap_ms": 300,
        "least_ms": -250,
        "most_ms": 15_000,
        "evidence": [end["callback_id"], arrival["callback_id"]],
    }
    assert alert == {
        "why": "alert",
        "alert": "duplicate-identity",
        "change": "raised",
        "severity": "info",
        "count": 1,
    }


@pytest.mark.parametrize(
    ("then", "because"),
    [
        (ended(60_900), "room-ended"),
        (connected(TABLET, 59_900), "other-survivor"),
        (disconnected(LAPTOP, 60_500), "times"),
    ],
)
def test_a_retraction_says_what_became_of_the_eviction(then: dict[str, str], because: str) -> None:
    worker = LoggingWorker()
    worker.take([connected(PHONE, 0), connected(LAPTOP, 60_000), disconnected(PHONE, 60_300)])
    worker.take([then])
    told = check(worker)[-1]["reasons"]
    assert next(one for one in told if one["why"] == "eviction-retracted") == {
        "why": "eviction-retracted",
        "evicted_sid": PHONE,
        "survivor_sid": LAPTOP,
        "because": because,
    }


def test_a_late_callback_says_by_how_much() -> None:
    worker = LoggingWorker()
    worker.take([created(60_000), connected(PHONE, 50_000)])
    assert check(worker)[1]["reasons"] == [
        {"why": "late", "by_ms": 10_000, "latest": "2023-08-14T20:01:00.000Z"}
    ]


def test_a_duplicate_and_the_unknown_say_so() -> None:
    worker = LoggingWorker()
    unknown = created() | {"StatusCallbackEvent": "room-painted", "Colour": "blue"}
    worker.take([created(), created(), unknown, connected(PHONE, 0) | {"Mood": "x", "Age": "9"}])
    assert [one["reasons"] for one in check(worker)] == [
        [],
        [{"why": "nothing-new"}],
        [{"why": "unknown-event", "name": "room-painted"}],
        [{"why": "unknown-parameters", "names": ["Age", "Mood"]}],
    ]


def test_what_is_too_late_says_what_was_let_go() -> None:
    worker = LoggingWorker()
    worker.take([created(), connected(PHONE, 0), disconnected(PHONE, 1_000)])
    worker.take([connected(TABLET, 30_000, "Robin")], ARRIVED + HOUR)
    worker.take([connected(LAPTOP, 500), track("added", PHONE, 20_000)], ARRIVED + HOUR)
    worker.take([ended(90_000)], ARRIVED + 2 * HOUR)
    worker.take([connected(PHONE, 0)], ARRIVED + 30 * HOUR)
    too_late = [one for one in check(worker) if one["event"] == "callback_too_late"]
    assert [one["reasons"][-1] for one in too_late] == [
        {
            "why": "let-go",
            "timestamp": "2023-08-14T20:00:00.500Z",
            "folded_until": "2023-08-14T20:00:01.000Z",
        },
        {"why": "listed", "participant_sid": PHONE},
        {"why": "expired"},
    ]


def test_a_timer_says_what_it_waited_for() -> None:
    worker = LoggingWorker()
    worker.take([created(), connected(PHONE, 0), connected(LAPTOP, 1)])
    worker.look(ARRIVED + 3 * SECOND)
    numbered = connected(TABLET, 5, "Robin") | {"SequenceNumber": "3"}
    worker.take([created() | {"SequenceNumber": "1"}, numbered], ARRIVED + 4 * SECOND)
    worker.look(ARRIVED + 15 * SECOND)
    ends = [disconnected(one, 20_000) for one in (PHONE, LAPTOP)]
    worker.take(ends, ARRIVED + 16 * SECOND)
    worker.look(ARRIVED + 22 * SECOND)
    worker.look(ARRIVED + 30 * HOUR)
    told = [one["reasons"] for one in check(worker) if one["event"] == "timer_elapsed"]
    contested, missed, departed, ghost, closed, settled, *_ = told
    assert contested == [
        {"why": "contested", "participant_sids": [PHONE, LAPTOP], "after_ms": 2_000}
    ]
    assert missed[0] == {"why": "missed", "missing": [[2, 2]], "gap_ms": 10_000}
    assert departed == [
        {
            "why": "departed",
            "participant_sid": LAPTOP,
            "left_at": "2023-08-14T20:00:20.000Z",
            "linger_ms": 5_000,
        }
    ]
    assert [one["why"] for one in ghost] == ["alert"]
    heard = "2023-11-14T22:13:36.000Z"
    assert closed[0] == {"why": "presumed", "heard": heard, "after_ms": 25 * 3_600_000}
    assert settled[0] == {"why": "settled", "heard": heard, "quiet_ms": 60_000}


def test_each_time_that_callbacks_are_found_waiting_is_recorded() -> None:
    worker = LoggingWorker()
    worker.find_stalled(ARRIVED, ARRIVED + MINUTE)
    worker.find_stalled(ARRIVED + SECOND, ARRIVED + 2 * MINUTE)
    first, second = check(worker)
    assert (first["due"], first["stalled_since"]) == (
        "2023-11-14T22:14:20.000Z",
        "2023-11-14T22:13:20.000Z",
    )
    assert reasons(first) == ["stalled", "alert"]
    assert (reasons(second), second["events"], second["alerts"]) == (["stalled"], [], [])


def test_a_room_that_is_settled_is_closed_with_its_totals_and_signed() -> None:
    worker = LoggingWorker(Scribe(BOUNDS, key=KEY))
    worker.take([created(), connected(PHONE, 0), connected(PHONE, 0), ended(9_000)])
    worker.take([created() | {"Timestamp": "noon"}], ARRIVED + SECOND)
    worker.look(ARRIVED + HOUR)
    *_, timer, closing = check(worker)
    assert (timer["event"], closing["event"]) == ("timer_elapsed", "room_settled")
    assert closing["prev"] == timer["hash"]
    assert closing["totals"] == {
        "events": timer["revision"],
        "alerts": 0,
        "callbacks": {"applied": 3, "duplicate": 1, "set-aside": 1},
        "records": closing["n"],
    }
    assert closing["key_id"] == KEY.public.key_id
    assert KEY.public.fits(closing["hash"], closing["signature"])
    # Nobody else's signature could be put there without the key that the hash covers.
    assert digest_of(closing | {"signature": "another"}) == closing["hash"]
    assert digest_of(closing | {"key_id": "another"}) != closing["hash"]


def test_a_room_that_changes_once_more_is_closed_once_more() -> None:
    worker = LoggingWorker()
    worker.take([created(), connected(PHONE, 0), ended(90_000)])
    worker.look(ARRIVED + 2 * MINUTE)
    worker.take([disconnected(PHONE, 80_000)], ARRIVED + 3 * MINUTE)
    worker.look(ARRIVED + HOUR)
    closing = [one for one in check(worker) if one["event"] == "room_settled"]
    assert [one["totals"]["callbacks"] for one in closing] == [{"applied": 3}, {"applied": 4}]
    assert all("signature" not in one and "key_id" not in one for one in closing)


def test_whatever_is_heard_after_the_closing_record_is_followed_by_another() -> None:
    worker = LoggingWorker(Scribe(BOUNDS, key=KEY))
    worker.take([created(), connected(PHONE, 0), ended(90_000)])
    worker.look(ARRIVED + 2 * MINUTE)
    # The roster says nothing of recordings, so it is not told again.
    recorded = {"StatusCallbackEvent": "recording-completed", "RecordingSid": sid("RT", 1)}
    worker.take([created() | recorded], ARRIVED + 3 * MINUTE)
    worker.look(ARRIVED + HOUR)
    records = check(worker)
    assert [one["event"] for one in records[-3:]] == [
        "room_settled",
        "callback_applied",
        "room_settled",
    ]
    *_, recording, closing = records
    assert closing["prev"] == recording["hash"]
    assert closing["totals"]["callbacks"] == {"applied": 4}
    assert KEY.public.fits(closing["hash"], closing["signature"])
    # Nothing more is heard, and nothing more is signed.
    worker.look(ARRIVED + 30 * HOUR)
    assert worker.records() == records


@pytest.mark.parametrize("after", [3 * MINUTE, 30 * HOUR])
def test_what_changes_nothing_after_the_closing_record_is_signed_at_once(after: int) -> None:
    worker = LoggingWorker(Scribe(BOUNDS, key=KEY))
    worker.take([created(), connected(PHONE, 0), ended(90_000)])
    worker.look(ARRIVED + after)
    worker.take([connected(PHONE, 0)], ARRIVED + after)
    records = check(worker)
    *_, closed, again, closing = records
    assert (closed["event"], closing["event"]) == ("room_settled", "room_settled")
    assert again["event"] in {"callback_duplicate", "callback_too_late"}
    assert closing["totals"]["records"] == len(records)
    assert sum(closing["totals"]["callbacks"].values()) == 4
    assert KEY.public.fits(closing["hash"], closing["signature"])


def test_the_terms_are_told_first_and_wherever_they_change() -> None:
    worker = LoggingWorker()
    worker.take([created(), connected(PHONE, 0)])
    worker.scribe = Scribe(BOUNDS._replace(linger=9 * SECOND))
    worker.take([connected(LAPTOP, 0), created() | {"RoomSid": sid("RM", 2)}])
    records = check(worker)
    assert [(one["room_sid"][-1], one["n"]) for one in records if "terms" in one] == [
        ("1", 1),
        ("1", 3),
        ("2", 1),
    ]
    for one in records:
        if "terms" in one:
            assert basis_of(msgspec.convert(one["terms"], Terms)) == one["basis"]
    terms = records[2]["terms"]
    assert terms["bounds"] == BOUNDS._replace(linger=9 * SECOND)._asdict()
    assert (terms["code"], terms["identities"]) == (code_digest(), "plain")


def test_hashed_names_say_by_which_key_and_not_the_key() -> None:
    one, another = (Scribe(BOUNDS, pseudonyms=Pseudonyms(key * 32)) for key in "ab")
    assert one.terms.identities.startswith("hashed:")
    assert one.terms.identities != another.terms.identities
    assert one.basis != another.basis
    assert "a" * 8 not in one.terms.identities
