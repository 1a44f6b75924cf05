"""`rollcall audit replay`: what was logged comes out again, or it is said where it does not."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audits import AuditOutput
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from logging_worker import LoggingWorker
from redis import Redis
from rooms import LAPTOP, PHONE, TABLET, connected, created, disconnected, ended, track
from semantics import SITUATIONS, Situation
from strategies import sid
from timed import ARRIVED, BOUNDS, HOUR, MINUTE, SECOND, Timed, timed

from console.commands import rollcall
from ingest.inbox import Inbox
from schemas.audit import PSEUDONYM, seal
from schemas.connection import keyspace_of
from schemas.keys import shard_of
from schemas.logs import Lines
from schemas.settings import Settings
from workers.bounds import bounds_of
from workers.drain import Drain
from workers.pseudonyms import Pseudonyms
from workers.scribe import Scribe
from workers.store import Store

Params = dict[str, str]
SCRIBES = {
    "plain": lambda: Scribe(BOUNDS),
    "hashed": lambda: Scribe(BOUNDS, pseudonyms=Pseudonyms("k" * 32)),
}
IDENTICAL, DIFFERENT, NOT_ALL = 0, 1, 3
SCENE = [
    created(),
    connected(PHONE, 1_000),
    track("added", PHONE, 1_000),
    connected(LAPTOP, 60_000),
    disconnected(PHONE, 60_300),
    connected(TABLET, 90_000, "Robin"),
]


@pytest.fixture(params=SCRIBES)
def worker(request: pytest.FixtureRequest) -> LoggingWorker:
    return LoggingWorker(SCRIBES[request.param]())


@pytest.fixture
def replay(tmp_path: Path) -> Callable[..., Result]:
    def run(*logs: bytes) -> Result:
        files = [tmp_path / f"worker-{number}.log" for number in range(len(logs))]
        for file, log in zip(files, logs, strict=True):
            file.write_bytes(log)
        return CliRunner().invoke(rollcall, ["audit", "replay", *map(str, files)])

    return run


def play(worker: LoggingWorker, timed_history: Timed, sizes: list[int]) -> None:
    """Have a history digested in batches, each as late as the last of its callbacks."""
    at, entries = ARRIVED, []
    for params, gap in zip(timed_history.history, timed_history.gaps, strict=True):
        at += gap
        entries.append(worker.entry(params, at))
    for size in [*sizes, len(entries)]:
        if entries[:size]:
            worker.take_entries(entries[:size])
        entries = entries[size:]


def is_contradictory(history: list[Params]) -> bool:
    """Whether callbacks of the same moment contradict each other: the order of texts decides."""
    told: dict[tuple[str, str | None], set[str]] = {}
    for params in history:
        for name in (
            "ParticipantIdentity",
            "RoomName",
            "TrackName",
            "ParticipantDuration",
            "RoomDuration",
        ):
            if name in params:
                told.setdefault((name, params.get("Timestamp")), set()).add(params[name])
    return any(len(texts) > 1 for texts in told.values())


def resealed(records: list[dict[str, Any]]) -> bytes:
    """The log of one room, chained anew, as a forger would."""
    log, previous = b"", ""
    for record in records:
        covered = {name: said for name, said in record.items() if name != "hash"}
        previous, line = seal(covered | {"prev": previous})
        log += line
    return log


# -- identical ------------------------------------------------------------------------------------


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.title)
def test_every_situation_is_replayed_as_it_was_logged(
    situation: Situation, worker: LoggingWorker, replay: Callable[..., Result]
) -> None:
    at = ARRIVED
    if situation.given:
        worker.take(situation.given, at)
    for params, pause in zip(
        situation.then, situation.pauses or (0.1,) * len(situation.then), strict=True
    ):
        at += round(pause * 1000) * 1000
        worker.look(at - 1000)
        worker.take([params], at)
    worker.look(at + situation.watched * MINUTE)
    worker.look(at + 30 * HOUR)
    replayed = replay(worker.log)
    assert replayed.exit_code == IDENTICAL, replayed.output
    assert f"{len(worker.records())} records" in replayed.output


@given(timed(), st.lists(st.integers(1, 5), max_size=8), st.sampled_from([*SCRIBES]), st.data())
@with_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
    deadline=None,
)
def test_any_history_in_any_batches_is_replayed_as_it_was_logged(
    tmp_path: Path, history: Timed, sizes: list[int], names: str, data: st.DataObject
) -> None:
    # Pseudonyms have another order than the names, so a contest between them may end otherwise.
    assume(names == "plain" or not is_contradictory(history.history))
    worker = LoggingWorker(SCRIBES[names]())
    play(worker, history, sizes)
    end = ARRIVED + sum(history.gaps)
    worker.look(end + data.draw(st.sampled_from((SECOND, MINUTE, HOUR, 50 * HOUR))))
    lines = worker.log.splitlines(keepends=True)
    # In whatever order the files come.
    data.draw(st.randoms(use_true_random=False)).shuffle(lines)
    (tmp_path / "worker.log").write_bytes(b"".join(lines))
    replayed = CliRunner().invoke(rollcall, ["audit", "replay", str(tmp_path / "worker.log")])
    assert replayed.exit_code == (IDENTICAL if lines else NOT_ALL), replayed.output


def test_a_room_is_replayed_through_real_drains(
    redis: Redis,
    settings: Settings,
    recorded_room: list[Params],
    replay: Callable[..., Result],
) -> None:
    keyspace, audit = keyspace_of(settings), AuditOutput()
    inbox = Inbox(redis, keyspace, settings.shards)
    store = Store(redis, keyspace, shards=settings.shards, maxlen=settings.events_maxlen)
    drain = Drain(store, bounds_of(settings), Lines(audit.writing))
    chance = random.Random(1)
    history = [*recorded_room, *chance.choices(recorded_room, k=10)]
    chance.shuffle(history)
    shard = shard_of(recorded_room[0]["RoomSid"], 8)
    for number in range(0, len(history), 7):
        for params in history[number : number + 7]:
            inbox.deposit(params, "")
        drain.drain(shard, {"task_id": None, "worker": "w"})
    replayed = replay(b"".join(json.dumps(line).encode() + b"\n" for line in audit.read()))
    audit.close()
    assert replayed.exit_code == IDENTICAL, replayed.output


def test_what_is_set_aside_and_what_waited_is_replayed(
    worker: LoggingWorker, replay: Callable[..., Result]
) -> None:
    worker.take(SCENE)
    worker.find_stalled(ARRIVED, ARRIVED + MINUTE)
    # Noted again while it lasts, with nothing to publish: it ends that much later.
    worker.find_stalled(ARRIVED, ARRIVED + 2 * MINUTE)
    rubbish = {f"field{number}".encode(): b"\xff" for number in range(40)}
    worker.take_entries([(b"%d-900" % (ARRIVED // 1000 + 130_000), rubbish)])
    unreadable = connected(PHONE, 0) | {"Timestamp": "noon"}
    worker.take([unreadable, unreadable], ARRIVED + 3 * MINUTE)
    worker.stored[sid("RM", 9)] = b"damaged"
    worker.take([created() | {"RoomSid": sid("RM", 9)}], ARRIVED + 4 * MINUTE)
    worker.look(ARRIVED + HOUR)
    events = [one["event"] for one in worker.records()]
    assert events.count("callback_set_aside") == 4
    assert sum("stalled_since" in one for one in worker.records()) == 2
    replayed = replay(worker.log)
    assert replayed.exit_code == IDENTICAL, replayed.output


def test_a_clock_that_was_set_back_is_replayed(
    worker: LoggingWorker, replay: Callable[..., Result]
) -> None:
    worker.take([created(), connected(PHONE, 0), disconnected(PHONE, 500)])
    worker.look(ARRIVED + MINUTE)
    worker.take([connected(LAPTOP, 0)], ARRIVED + SECOND)
    worker.look(ARRIVED + HOUR)
    assert [one["taken_at"] for one in worker.records() if "taken_at" in one] == [
        "2023-11-14T22:13:25.000Z"
    ]
    assert replay(worker.log).exit_code == IDENTICAL


def test_a_room_that_is_heard_of_after_its_end_is_replayed_over_its_tombstone(
    worker: LoggingWorker, replay: Callable[..., Result]
) -> None:
    recording = {"StatusCallbackEvent": "recording-completed", "RecordingSid": sid("RT", 1)}
    worker.take([*SCENE, ended(120_000, duration=120)])
    worker.look(ARRIVED + 26 * HOUR)
    worker.take([connected(PHONE, 1_000), created() | recording], ARRIVED + 27 * HOUR)
    worker.look(ARRIVED + 80 * HOUR)
    worker.take([connected(PHONE, 1_000)], ARRIVED + 81 * HOUR)
    assert replay(worker.log).exit_code == IDENTICAL
    # And when nothing is left of it, another chain begins.
    worker.stored.clear()
    worker.stored["shard-0"] = None
    worker.take(SCENE, ARRIVED + 900 * HOUR)
    replayed = replay(worker.log)
    assert replayed.exit_code == IDENTICAL, replayed.output


def test_after_a_redis_that_forgot_commits_both_branches_are_replayed(
    worker: LoggingWorker, replay: Callable[..., Result]
) -> None:
    worker.take(SCENE[:3])
    before = dict(worker.stored)
    worker.take(SCENE[3:5], ARRIVED + SECOND)
    worker.stored = before
    worker.take(SCENE[4:], ARRIVED + 2 * SECOND)
    worker.look(ARRIVED + HOUR)
    numbers = [one["n"] for one in worker.records()]
    assert numbers.count(4) == 2
    replayed = replay(worker.log + worker.log)
    assert replayed.exit_code == IDENTICAL, replayed.output
    assert f"identical: {len(numbers)} records" in replayed.output


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_who_leaves_at_the_same_moment_is_told_in_the_same_order_in_any_process(
    tmp_path: Path, worker: LoggingWorker, seed: str
) -> None:
    people = [(sid("PA", number), f"Person {number}") for number in range(9)]
    worker.take([connected(pa, 0, name) for pa, name in people])
    worker.take([disconnected(pa, 90_000, name) for pa, name in people], ARRIVED + MINUTE)
    worker.look(ARRIVED + HOUR)
    log = tmp_path / "worker.log"
    log.write_bytes(worker.log)
    command = [Path(sys.executable).with_name("rollcall"), "audit", "replay", log]
    replayed = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "PYTHONHASHSEED": seed},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert replayed.returncode == IDENTICAL, replayed.stdout + replayed.stderr


# -- different ------------------------------------------------------------------------------------


def _another_end(record: dict[str, Any]) -> None:
    record["params"]["Timestamp"] = "2023-08-14T20:04:00.300Z"


def _another_revision(record: dict[str, Any]) -> None:
    record["events"] = record["events"][:-1]


@pytest.mark.parametrize("change", [_another_end, _another_revision])
def test_what_was_not_concluded_from_what_was_received_is_printed_with_its_place(
    change: Callable[[dict[str, Any]], None], replay: Callable[..., Result]
) -> None:
    worker = LoggingWorker()
    worker.take(SCENE)
    records = worker.records()
    change(records[4])
    replayed = replay(resealed(records))
    assert replayed.exit_code == DIFFERENT
    assert "n 5 in " in replayed.output
    assert "worker-0.log:5: events\n" in replayed.output
    assert "rollcall.participant.left of " + PHONE in replayed.output
    assert "came out otherwise: 1.\nDIFFERENT\n" in replayed.output


def test_bounds_that_were_not_in_force_come_out_otherwise(replay: Callable[..., Result]) -> None:
    worker = LoggingWorker()
    worker.take(SCENE)
    records = worker.records()
    records[0]["terms"]["bounds"]["after"] = 100_000
    replayed = replay(resealed(records))
    assert replayed.exit_code == DIFFERENT
    assert "DIFFERENT in 1 of 6 records" in replayed.output


def test_what_time_alone_should_have_led_to_is_missed(replay: Callable[..., Result]) -> None:
    worker = LoggingWorker()
    worker.take([created(), connected(PHONE, 0), disconnected(PHONE, 500)])
    worker.look(ARRIVED + MINUTE)
    worker.take([connected(LAPTOP, 0, "Robin")], ARRIVED + HOUR)
    records = worker.records()
    assert records.pop(3)["event"] == "timer_elapsed"
    records[3] |= {"n": 4, "revision_before": records[2]["revision"]}
    replayed = replay(resealed(records))
    assert replayed.exit_code == DIFFERENT
    assert "rollcall.identity.departed" in replayed.output


def test_differences_are_found_behind_hashed_names_too(replay: Callable[..., Result]) -> None:
    worker = LoggingWorker(SCRIBES["hashed"]())
    worker.take(SCENE)
    records = worker.records()
    records[5]["params"]["ParticipantIdentity"] = PSEUDONYM + "0" * 16
    replayed = replay(resealed(records))
    assert replayed.exit_code == DIFFERENT
    assert "events and alerts" in replayed.output


# -- not replayable -------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [0, 2])
def test_a_room_is_not_replayable_beyond_a_record_that_is_missing(
    missing: int, replay: Callable[..., Result]
) -> None:
    worker = LoggingWorker()
    worker.take(SCENE)
    other = LoggingWorker()
    other.take([one | {"RoomSid": sid("RM", 7)} for one in SCENE])
    lines = worker.log.splitlines(keepends=True)
    del lines[missing]
    replayed = replay(b"".join(lines), other.log)
    assert replayed.exit_code == NOT_ALL
    assert replayed.output.count("not replayable from here") == 1
    assert f"n {missing + 2} in " in replayed.output
    assert f"NOT REPLAYABLE after {missing} records" in replayed.output
    assert f"{sid('RM', 7)}  identical: 6 records" in replayed.output


def test_a_record_that_was_altered_is_passed_over(replay: Callable[..., Result]) -> None:
    worker = LoggingWorker()
    worker.take(SCENE)
    replayed = replay(worker.log.replace(b'"n":6', b'"n":6 '))
    assert replayed.exit_code == IDENTICAL
    replayed = replay(worker.log.replace(b"Robin", b"Robim"))
    assert replayed.exit_code == NOT_ALL
    assert "not being as they were written: 1" in replayed.output


def test_a_torn_line_is_passed_over_where_its_record_was_written_again(
    replay: Callable[..., Result],
) -> None:
    worker = LoggingWorker()
    worker.take([created(), connected(PHONE, 0), disconnected(PHONE, 500)])
    worker.look(ARRIVED + HOUR)
    lines = worker.log.splitlines(keepends=True)
    for torn in (line[:at] + b"\n" for line in lines for at in range(80, len(line) - 1, 97)):
        again = replay(torn + worker.log)
        assert again.exit_code == IDENTICAL, torn.decode() + again.output
        # The same where what was written next stands on its line.
        again = replay(torn[:-1] + worker.log)
        assert again.exit_code == IDENTICAL, torn.decode() + again.output
    lost = replay(b"".join([*lines[:-1], lines[-1][:-9] + b"\n"]))
    assert lost.exit_code == NOT_ALL
    assert lost.output.endswith("not being as they were written: 1.\nNOT ALL COULD BE PLAYED\n")


def test_no_records_are_not_identical(replay: Callable[..., Result]) -> None:
    replayed = replay(b"somebody else's line\n")
    assert replayed.exit_code == NOT_ALL
    assert "IDENTICAL" not in replayed.output


def test_a_room_is_not_replayable_where_names_are_written_in_another_way(
    replay: Callable[..., Result],
) -> None:
    worker = LoggingWorker()
    worker.take(SCENE[:3])
    worker.scribe = SCRIBES["hashed"]()
    worker.take(SCENE[3:])
    replayed = replay(worker.log)
    assert replayed.exit_code == NOT_ALL
    assert "names are written in another way" in replayed.output


def test_a_change_of_the_bounds_is_followed(replay: Callable[..., Result]) -> None:
    worker = LoggingWorker()
    worker.take(SCENE[:4])
    # Twilio would have to notice within 100 ms.
    worker.scribe = Scribe(BOUNDS._replace(after=100_000))
    worker.bounds = BOUNDS._replace(after=100_000)
    worker.take(SCENE[4:])
    assert [one["n"] for one in worker.records() if "terms" in one] == [1, 5]
    replayed = replay(worker.log)
    assert replayed.exit_code == IDENTICAL, replayed.output


def test_as_json_each_room_is_an_object(tmp_path: Path) -> None:
    worker = LoggingWorker()
    worker.take(SCENE)
    log = tmp_path / "worker.log"
    log.write_bytes(worker.log)
    said = CliRunner().invoke(rollcall, ["audit", "replay", "--json", str(log)])
    room, summary = map(json.loads, said.output.splitlines())
    assert (room["played"], room["different"], room["findings"]) == (6, 0, [])
    assert (summary["rooms"], summary["records"], summary["code"]) == (1, 6, *room["codes"])
    quiet = CliRunner().invoke(rollcall, ["audit", "replay", "-q", str(log)])
    assert quiet.output == "6 records of 1 rooms were played again.\nIDENTICAL\n"


# -- names ----------------------------------------------------------------------------------------


def test_no_digest_in_a_log_whose_names_are_hashed_lets_anybody_guess_at_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contents: list[bytes] = []

    def listening(content: bytes = b"") -> Any:
        contents.append(bytes(content))
        return hashlib.sha256(content)

    # Everything that goes into a plain SHA-256 of a worker, for each name of a small dictionary:
    # whoever has the code and the rest of the log can work out the same.
    for module in ("schemas.events", "workers.intake", "workers.arrivals", "workers.pseudonyms"):
        monkeypatch.setattr(f"{module}.sha256", listening)
    logs = {}
    for name in ("+15557654321", "+15557654322", "Dana", "Robin"):
        contents.clear()
        worker = LoggingWorker(SCRIBES["hashed"]())
        scene = [connected(PHONE, 0, name), connected(LAPTOP, 60_000, name)]
        worker.take([created(), *scene, disconnected(PHONE, 60_300, name)])
        worker.take([connected(TABLET, 0, name) | {"Timestamp": "noon"}], ARRIVED + SECOND)
        worker.take([ended(90_000)], ARRIVED + 2 * SECOND)
        worker.look(ARRIVED + HOUR)
        told = [content for content in contents if name.encode() in content]
        assert told
        logs[name] = worker.log, {hashlib.sha256(content).hexdigest()[:16] for content in told}
    assert {one["event"] for one in worker.records()} >= {"callback_set_aside", "room_settled"}
    assert any(reason["why"] == "evicted" for one in worker.records() for reason in one["reasons"])
    for log, guesses in logs.values():
        hexadecimal = {one.decode() for one in re.findall(rb"[0-9a-f]{8,64}", log)}
        assert not any(guess.startswith(one) for guess in guesses for one in hexadecimal)
        assert not any(one.startswith(guess) for guess in guesses for one in hexadecimal)


def test_no_name_is_in_a_log_whose_names_are_hashed(replay: Callable[..., Result]) -> None:
    names = ["Zoë Quux", "+15557654321", "Ward 7 secret", "cam of Zoë", "s3://zoe", "Mx. Field"]
    identity, phone, room, camera, bucket, other = names
    named = [
        one | {"RoomName": room, "Mood": other}
        for one in (
            created(),
            connected(PHONE, 0, identity),
            connected(TABLET, 0, phone),
            track("added", PHONE, 1, identity=identity) | {"TrackName": camera},
            connected(LAPTOP, 60_000, identity),
            disconnected(PHONE, 60_300, identity) | {"ParticipantDuration": other},
            {**created(), "StatusCallbackEvent": "room-painted", "Painter": identity},
            {
                **created(),
                "StatusCallbackEvent": "recording-completed",
                "RecordingSid": sid("RT", 1),
                "MediaExternalLocation": bucket,
            },
            connected(TABLET, 0, identity) | {"Timestamp": identity},
            ended(90_000),
        )
    ]
    worker = LoggingWorker(SCRIBES["hashed"]())
    worker.take(named)
    worker.take_entries(
        [(b"%d-99" % (ARRIVED // 1000), {b"params": identity.encode(), other.encode(): b"x"})]
    )
    worker.look(ARRIVED + HOUR)
    for name in names:
        encoded = [name.encode(), json.dumps(name)[1:-1].encode(), b64encode(name.encode())]
        assert [one for one in encoded if one.rstrip(b"=") in worker.log] == []
    dialled_in = worker.records()[2]["params"]["ParticipantIdentity"]
    assert dialled_in.startswith(PSEUDONYM)
    assert dialled_in.endswith(":*321")
    # The same person is the same in any room, and the same text always has one pseudonym.
    pseudonyms = {one["params"]["ParticipantIdentity"] for one in worker.records()[3:6]}
    assert len(pseudonyms) == 1
    assert replay(worker.log).exit_code == IDENTICAL
