"""That the fault suite would see what is wrong: a slow recovery, a loss, an untrue number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from faults import report
from faults.crashing.sitecustomize import STEPS
from faults.evidence import Findings
from faults.forgotten import Forgotten, doubts
from faults.places import Place
from faults.play import Row, Scenario, judged
from faults.stage import Plan, Stage
from faults.suite import SUITE
from redis import Redis
from rooms import PHONE, connected, created
from servers import RedisServer
from strategies import ROOM

from ingest.inbox import open_inbox
from schemas.connection import keyspace_of
from schemas.keys import shard_of
from schemas.logs import Lines
from schemas.settings import Settings
from workers.bounds import bounds_of
from workers.drain import Drain
from workers.store import Store

SHARD = shard_of(ROOM, 8)
CUT_OFF = b"\r\nXADD\r\n$18\r\nrollcall:{1}:inbox\r\n" * 5 + (
    b"\r\nSET\r\n$19\r\nrollcall:{1}:commit\r\n" * 4
)


def nothing(_stage: Stage, _place: Place, _times: int) -> int:
    return 0


HARMLESS = Scenario("nothing", nothing, 0)
FORGETFUL = HARMLESS._replace(forgets=True)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(Plan(tmp_path, 1, "redis://127.0.0.1:1/0"))


def of_callbacks(number: int) -> dict[str, Any]:
    return {"event": "redis_lost_its_tail", "lost_at_least": number}


def of_commits(number: int, shard: int = 1) -> dict[str, Any]:
    return {"event": "redis_lost_commits", "shard": shard, "lost": number}


def judge(
    scenario: Scenario, stage: Stage, *lines: dict[str, Any], found: Findings | None = None
) -> Row:
    return judged(scenario, stage, 1, found or Findings(), lines)


def test_a_pause_that_is_longer_than_promised_is_a_problem(stage: Stage) -> None:
    prompt = HARMLESS._replace(within_seconds=5.0)
    stage.pauses = [0.2, 4.9]
    assert judge(prompt, stage).problems == ()
    stage.pauses = [0.2, 5.6, 0.3]
    row = judge(prompt, stage)
    assert row.problems == ("caught up only after 5.6 s, and 5 s are promised",)
    assert report.line(row).endswith("5.6 s  FAILED: " + row.problems[0])
    # Where nothing is promised, it is told and no more.
    assert (judge(HARMLESS, stage).problems, judge(HARMLESS, stage).pause) == ((), 5.6)


def test_each_fault_of_redis_is_to_be_recovered_from_within_five_seconds() -> None:
    of_redis = [one for one in SUITE if one.inject.__module__ in {"faults.redises", "faults.tails"}]
    assert len(of_redis) == 14
    assert {one.within_seconds for one in of_redis} == {5.0}


@pytest.mark.parametrize("step", STEPS)
def test_each_step_at_which_a_process_may_be_killed_is_there(step: str) -> None:
    module, path = STEPS[step]
    assert callable(attrgetter(path)(import_module(module)))


def test_effects_that_came_twice_and_callbacks_that_are_lost_are_problems(stage: Stage) -> None:
    row = judge(HARMLESS, stage, found=Findings(lost=1, doubled=2))
    assert row.problems == (
        "effects came twice",
        "callbacks are lost",
        "the loss was not reported",
    )
    assert (row.lost, row.doubled) == (1, 2)


def test_no_more_may_be_lost_than_redis_was_made_to_forget(stage: Stage) -> None:
    loses = FORGETFUL._replace(loses=True)
    stage.forgotten.note(CUT_OFF)
    said = (of_callbacks(1), of_commits(3))
    assert judge(loses, stage, *said, found=Findings(lost=5)).problems == ()
    assert judge(loses, stage, *said, found=Findings(lost=6)).problems == ("callbacks are lost",)
    [silent, *_] = judge(loses, stage, found=Findings(lost=5)).problems
    assert silent == "the loss was not reported"


def test_the_table_tells_what_was_forgotten_and_what_was_said_of_it(stage: Stage) -> None:
    stage.forgotten.note(CUT_OFF)
    row = judge(FORGETFUL, stage, of_callbacks(4), of_commits(2), of_commits(1))
    assert row.problems == ()
    assert row.note == (
        "Redis forgot 5 callbacks and 4 commits; redis_lost_its_tail said 4;"
        " redis_lost_commits said 3"
    )


@pytest.mark.parametrize(
    ("said", "doubted"),
    [
        ([of_callbacks(5), of_commits(4)], ""),
        # Whoever wrote since hides it from the door, and the last reply may be missing.
        ([of_commits(2)], ""),
        ([of_callbacks(3), of_callbacks(3), of_commits(3)], "6 callbacks are said to be lost, and"),
        ([of_commits(1)], "1 commits of shard 1 are said to be lost, and 4 were"),
        ([of_commits(5)], "5 commits of shard 1 are said to be lost, and 4 were"),
        ([of_commits(3), of_commits(1, shard=2)], "1 commits of shard 2 are said to be lost, and"),
        ([], "0 commits of shard 1 are said to be lost, and 4 were"),
    ],
)
def test_a_number_that_cannot_be_true_is_doubted(said: list[dict[str, Any]], doubted: str) -> None:
    forgotten = Forgotten()
    forgotten.note(CUT_OFF)
    found = doubts(forgotten, said, all_taken=True)
    assert len(found) == bool(doubted)
    assert "".join(found).startswith(doubted)


def test_a_redis_that_forgot_nothing_is_not_to_be_said_to_have_lost_something(
    stage: Stage,
) -> None:
    assert judge(HARMLESS, stage, of_callbacks(1)).problems == (
        "1 callbacks are said to be lost, and 0 were",
    )
    # Of one that was killed nobody knows what it had not written yet.
    assert judge(FORGETFUL, stage, of_callbacks(1)).problems == ()


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", options=["appendonly yes", "appendfsync always"]) as one:
        yield one


@pytest.fixture
def client(durable: RedisServer) -> Iterator[Redis]:
    with durable.client() as client:
        yield client


def test_what_redis_was_given_is_counted_in_its_file(
    durable: RedisServer, client: Redis, settings: Settings, tmp_path: Path
) -> None:
    there = replace(settings, redis_url=durable.url)
    inbox = open_inbox(there)
    for params in (created(), connected(PHONE, 0), connected(PHONE, 1)):
        inbox.deposit(params, "")
    inbox.close()
    store = Store(client, keyspace_of(there), shards=there.shards, maxlen=there.events_maxlen)
    with (tmp_path / "audit").open("wb") as audit:
        drain = Drain(store, bounds_of(there), Lines(audit.fileno()))
        assert drain.drain(SHARD, {}).callbacks == 3
    forgotten = Forgotten()
    forgotten.note(b"".join(one.read_bytes() for one in durable.folder.rglob("*.aof")))
    assert (forgotten.deposits, forgotten.commits) == (3, Counter({SHARD: 1}))
