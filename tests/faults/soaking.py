"""The soak itself: sends, breaks, weighs, and compares at the end. Prints nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from faults.books import Books
from faults.flood import Flood
from faults.meetings import Meetings
from faults.memory import Life, Mark, Memory, grown
from faults.mishaps import Mishaps
from faults.places import single
from faults.reader import Reader
from faults.stage import Plan, Stage, staged
from procfile import ROOT
from servers import RedisServer

# In callbacks, which makes some 21,000 rooms of a million.
_LENGTH = (20, 70)
_MOST_ROOMS = 300
# The streams are full before a tenth is played: what grows after that is something else.
_SETTINGS = {"ROLLCALL_EVENTS_MAXLEN": "20000"}
# Where all is weighed.
_MARKS = (0.1, 0.5, 1.0)
_LOOK_SECONDS = 0.1
_SAY_SECONDS = 5.0
# With fewer, processes are young and streams not full at the first mark: they grow as they should.
_MANY = 500_000
# What there must be none of.
_NONE = ("lost", "doubled")
# Whatever was broken is mended by then, and what has piled up is drained.
_DRAINED_SECONDS = 120.0
# A process that was started so long ago listens to signals, and ends as it should.
_STARTED_SECONDS = 5.0
# Two million records are read in two minutes, and the machine may be busy.
_VERIFY_SECONDS = 1_800.0


class Asked(NamedTuple):
    """What is to be played. Times are in seconds."""

    # Different ones, at the least.
    callbacks: int
    seed: int
    # Callbacks a second, at the most.
    rate: float
    # How long after a fault the next one comes: at the least, and at the most.
    between: tuple[float, float] = (5.0, 15.0)
    # How long nothing is broken, with callbacks coming, before all is weighed.
    calm: float = 20.0


class Outcome(NamedTuple):
    """What came of it."""

    seconds: float
    counts: Counter[str]
    rooms: int
    # How often the door gave which answer.
    answers: Counter[int]
    most_waiting: int
    mishaps: Counter[str]
    marks: list[Mark]
    # The most that a process of each name held, in bytes.
    most: dict[str, int]
    lives: list[Life]
    # What `rollcall audit verify` found.
    audit: dict[str, Any]
    problems: list[str]


def soak(asked: Asked, folder: Path, *, say: Callable[[str], None]) -> Outcome:
    """Play it in a folder of its own, which takes some 3 GB for a million callbacks.

    Raises:
        AssertionError: something did not come back.
    """
    with single(folder) as place:
        plan = Plan(folder, asked.seed, place.redis_url, settings=_SETTINGS)
        with staged(plan, sending=False) as stage:
            run = _Run(asked, stage, place.breakable, say)
            run.play()
            codes = stage.supervisor.stop_gently()
            say("comparing")
            run.reader.finish()
            audit = _verify(stage)
    problems = [*run.books.problems]
    problems += [f"{name} ended with {code}" for name, code in codes.items() if code]
    if not audit["all_whole"]:
        problems.append(f"the audit is not whole: {audit}")
    problems += [f"{what}: {run.books.counts[what]}" for what in _NONE if run.books.counts[what]]
    outcome = run.outcome(audit, problems)
    if asked.callbacks >= _MANY:
        outcome.problems.extend(grown(outcome.marks, outcome.lives))
    return outcome


class _Run:
    """The parts of a run, and how far it is. The sender and the reader have a thread each."""

    def __init__(
        self, asked: Asked, stage: Stage, redis: RedisServer, say: Callable[[str], None]
    ) -> None:
        self._asked = asked
        self._stage = stage
        self._say = say
        self._began = time.monotonic()
        self._said = (self._began, 0)
        self._threads: list[Future[None]] = []
        self._marks: list[Mark] = []
        self._mishaps = Mishaps(stage, redis)
        self._memory = Memory(stage, redis)
        self.books = Books()
        self.reader = Reader(stage.settings, self.books)
        rooms = max(1, min(_MOST_ROOMS, asked.callbacks // 100))
        self._flood = Flood(
            stage.settings.port,
            Meetings(asked.seed, rooms=rooms, length=_LENGTH),
            self.books,
            asked.rate,
            lambda: self.reader.waiting,
        )

    def play(self) -> None:
        """Send and break until all is sent, acknowledged and drained."""
        with self._sending():
            for mark in _MARKS:
                self._break_until(int(mark * self._asked.callbacks))
                self._go_on(self._asked.calm)
                if mark == _MARKS[-1]:
                    self._flood.finish()
                self._flood.hold()
                self._weigh()
                self._flood.go_on()
        self._stage.wait_until(lambda: self._stage.supervisor.seconds_alive > _STARTED_SECONDS)

    def outcome(self, audit: dict[str, Any], problems: list[str]) -> Outcome:
        return Outcome(
            seconds=time.monotonic() - self._began,
            counts=self.books.counts,
            rooms=sum(bool(room.sent) for room in self.books.rooms.values()),
            answers=self._flood.answers,
            most_waiting=self.reader.most_waiting,
            mishaps=self._mishaps.times,
            marks=self._marks,
            most=self._memory.most,
            lives=self._memory.longest_lives(),
            audit=audit,
            problems=problems,
        )

    @contextmanager
    def _sending(self) -> Iterator[None]:
        with ThreadPoolExecutor(2) as pool:
            self._threads = [pool.submit(self._flood.run), pool.submit(self.reader.run)]
            try:
                yield
            finally:
                self._flood.end()
                self.reader.end()
        for thread in self._threads:
            thread.result()

    def _break_until(self, callbacks: int) -> None:
        """Break one thing after the other until so many callbacks were sent."""
        while self.books.counts["sent"] < callbacks:
            wait = self._stage.random.uniform(*self._asked.between)
            if self._go_on(wait, callbacks):
                self._mishaps.happen()

    def _go_on(self, seconds: float, callbacks: float = float("inf")) -> bool:
        """Let it go on for a while; false where so many callbacks were sent before that."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.books.counts["sent"] >= callbacks:
                return False
            self._look()
            time.sleep(_LOOK_SECONDS)
        return True

    def _look(self) -> None:
        for thread in self._threads:
            if thread.done():
                # It should not have ended: raises what it ended with.
                thread.result()
        now, counts = time.monotonic(), self.books.counts
        sent = counts["sent"]
        then, before = self._said
        if now - then >= _SAY_SECONDS:
            self._memory.weigh()
            self._said = (now, sent)
            rate = (sent - before) / (now - then)
            self._say(
                f"{now - self._began:6.0f} s  sent {sent:,} ({rate:.0f} a second),"
                f" waiting {self.reader.waiting:,}, events {counts['events']:,},"
                f" doubled {counts['doubled']}, problems {counts['problems']},"
                f" faults {self._mishaps.times.total()}, last: {self._mishaps.last}"
            )

    def _weigh(self) -> None:
        """Weigh everything, once nothing is under way."""
        for so in (self._is_acknowledged, self._stage.drained, self._is_compared):
            self._stage.wait_until(so, _DRAINED_SECONDS)
        sent = self.books.counts["sent"]
        weighed = Mark(sent, self._memory.weigh(), self._memory.weigh_redis(self.books))
        self._marks.append(weighed)

    def _is_acknowledged(self) -> bool:
        self._look()
        return self._flood.is_idle

    def _is_compared(self) -> bool:
        """Whether the reader is done with the rooms that are settled."""
        self._look()
        return not self.books.settled


def _verify(stage: Stage) -> dict[str, Any]:
    """Have the chain of the audit followed from end to end, by whom an operator would ask."""
    done = subprocess.run(
        [
            Path(sys.executable).parent / "rollcall",
            *("audit", "verify", "--live", "--quiet", "--json"),
            stage.supervisor.log("worker"),
        ],
        env={
            "PATH": os.environ["PATH"],
            # In a copy of the repository, the copy's code is to run.
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": stage.settings.redis_url,
        },
        stdout=subprocess.PIPE,
        check=False,
        timeout=_VERIFY_SECONDS,
    )
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary
