"""`rollcall audit replay`: what a worker has logged leads to the same again, or it is said where not."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audits import AuditOutput
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from logging_worker import SHARD, LoggingWorker
from rooms import LAPTOP, PHONE, TABLET, connected, created, disconnected, ended, track
from semantics import SITUATIONS, Situation
from strategies import sid
from timed import ARRIVED, BOUNDS, HOUR, MINUTE, SECOND, Timed, timed

from console.commands import rollcall
from schemas.audit import PSEUDONYM, seal
from schemas.keys import shard_of
from workers.drain import Drain
from workers.pseudonyms import Pseudonyms
from workers.scribe import Scribe

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


def resealed(records: list[dict[str, Any]]) -> bytes:
    """The log of one room, chained anew, as a forger would."""
    log, previous = b"", ""
    for record in records:
        record = {name: said for name, said in record.items() if name != "hash"}
        previous, line = seal(record | {"prev": previous})
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
@with_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_history_in_any_batches_is_replayed_as_it_was_logged(
    tmp_path: Path, history: Timed, sizes: list[int], names: str, data: st.DataObject
) -> None:
    worker = LoggingWorker(SCRIBES[names]())
    play(worker, history, sizes)
    end = ARRIVED + sum(history.gaps)
    worker.look(end + data.draw(st.sampled_from((SECOND, MINUTE, HOUR, 50 * HOUR))))
    lines = worker.log.splitlines(keepends=True)
    # In whatever order the files come.
    data.draw(st.randoms(use_true_random=False)).shuffle(lines)
    (tmp_path / "worker.log").write_bytes(b"".join(lines))
    replayed = CliRunner().invoke(rollcall, ["audit", "replay", str(tmp_path / "worker.log")])
    assert replayed.exit_code == IDENTICAL, replayed.output
