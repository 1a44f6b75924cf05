"""The rounds: the shards that a process holds, served together, a round trip for all of them.

A round reads what has come to each, has it digested, and commits it; what took long to digest is
committed while the next shard is digested. Between two rounds the process lingers with its leases
in hand, so that deposits want no wake-up: a moment while callbacks come fast, for the next round to
find a few; else until one comes, or none has come for a while. It knows nothing of what is done
with a shard, only what is asked of Redis for it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any, NamedTuple

from workers.asking import Ask
from workers.store import Store
from workers.turns import Done, Drained, Turn, Work
from workers.under_way import UnderWay

# A shard is given way with after this long, so that none starves while others have a flood.
SLICE_SECONDS = 1.0
# Whoever has its full share goes on with it, slice after slice, and then lets others have it.
LIFE_SECONDS = 10.0
# How long leases are kept while nothing comes. At 50 callbacks a second two processes nearly never
# wait so long, and a wake-up takes longer than all the rest of a callback's way.
LINGER_SECONDS = 0.25
# How soon somebody who lingers sees that it is to end.
_WAIT_MS = 50
# While callbacks come fast, so that a round, which costs as much as several of them, finds some: at
# a thousand a second, one process finds six after this, and a callback waits for half of it. With
# more, a busy machine carries no more: there, rounds are long enough to find many.
_PAUSE_SECONDS = 0.006
# How often somebody with less than its share looks for shards that nobody is at.
_LOOK_SECONDS = 0.02
# What took so much processor time to make is not kept back for what the next shards ask: handing it
# to another thread costs a tenth of that.
_WORTH_SECONDS = 0.005


class Terms(NamedTuple):
    """How a process serves."""

    # How many shards it holds at the most: its fair share, so that with every process at work there
    # is somebody at each.
    at_once: int = 1
    # How long it keeps leases while nothing comes.
    linger_seconds: float = 0.0
    slice_seconds: float = SLICE_SECONDS
    # Whether it is to end: it finishes the round and lets go.
    leaving: Callable[[], bool] = lambda: False
    # For how long it may go on, slice after slice.
    life_seconds: float = LIFE_SECONDS


class Rounds:
    """What one wake-up leads to."""

    def __init__(self, store: Store, begin: Callable[[int], Work], terms: Terms) -> None:
        """Hold nothing yet.

        Args:
            store: the shards.
            begin: begins the work on one.
            terms: how to serve.
        """
        self._store = store
        self._begin = begin
        self._terms = terms
        self._works: dict[int, Work] = {}
        self._wanted: dict[int, Ask[Any] | Done] = {}
        self._under_way = UnderWay(store.send)
        self._drained: dict[int, Drained] = {}
        self._slice_over = self._look_at = 0.0
        # When something was found last.
        self._found_at: float | None = None
        # What the slice that is over is followed by.
        self._again: list[int] = []

    def serve(self, shard: int) -> list[Drained]:
        """Serve a shard, and others that nobody is at, until nothing comes or others should.

        Args:
            shard: the one that is waited at.

        Returns:
            what became of each that was held, or that could not be.
        """
        over = time.monotonic() + self._terms.life_seconds
        self._again = [shard]
        with closing(self._under_way):
            while self._again:
                self._serve_slice(over)
        return [*self._drained.values()]

    def _serve_slice(self, over: float) -> None:
        self._take([one for one in self._again if not self._has_failed(one)])
        self._again = []
        self._slice_over = time.monotonic() + self._terms.slice_seconds
        while self._works:
            self._advance()
            self._take_more()
            if self._works:
                self._give_turns(may_go_on=time.monotonic() < over)

    def _take(self, shards: Iterable[int]) -> None:
        for shard in shards:
            self._drained.pop(shard, None)
            self._works[shard] = self._begin(shard)
            self._go_on(shard, None)

    def _go_on(self, shard: int, answer: Any) -> None:
        """Have one shard's work go on until it asks for something, waits, or is at its end."""
        work, began = self._works[shard], time.thread_time()
        try:
            failed = isinstance(answer, Exception)
            wanted = work.throw(answer) if failed else work.send(answer)
        except StopIteration as ended:
            self._end(shard, ended.value)
        except Exception as error:  # noqa: BLE001  # it is handed to the caller; others go on
            self._end(shard, Drained(shard, 0, handed_on=False, error=error))
        else:
            self._want(shard, wanted, time.thread_time() - began)

    def _want(self, shard: int, wanted: Ask[Any] | Done, took: float) -> None:
        if isinstance(wanted, Ask) and len(self._works) > 1 and took > _WORTH_SECONDS:
            self._wanted.pop(shard, None)
            self._under_way.put(shard, wanted)
            return
        self._wanted[shard] = wanted
        if isinstance(wanted, Done) and wanted.callbacks:
            self._found_at = time.monotonic()

    def _end(self, shard: int, drained: Drained) -> None:
        del self._works[shard]
        self._wanted.pop(shard, None)
        self._drained[shard] = drained

    def _advance(self) -> None:
        """Ask what the shards want to know, until each of them waits for its next turn."""
        while True:
            # Before all others: whoever asks quickly would ask again and again meanwhile.
            while self._under_way.has_come():
                self._go_on(*self._under_way.next())
            asks = {of: one for of, one in self._wanted.items() if isinstance(one, Ask)}
            if asks:
                # All at once.
                answers = self._store.send([*asks.values()])
                for shard, answer in zip(asks, answers, strict=True):
                    self._go_on(shard, answer)
            elif self._under_way:
                self._go_on(*self._under_way.next())
            else:
                return

    def _take_more(self) -> None:
        """Take shards that nobody is at, while there is time for them."""
        now = time.monotonic()
        missing = self._terms.at_once - len(self._works)
        if missing <= 0 or now < self._look_at or not self._has_time(now):
            return
        self._look_at = now + _LOOK_SECONDS
        free = self._free()
        # Not those with the least numbers, which all others would try for as well.
        self._take(random.sample(free, min(missing, len(free))))
        self._advance()

    def _free(self) -> list[int]:
        """List the shards that nobody is at. What has failed is left to the sweep."""
        others = {*range(self._store.shards)}.difference(self._works)
        shards = [shard for shard in others if not self._has_failed(shard)]
        asks = [self._store.is_free(shard) for shard in shards]
        answers = zip(shards, asks, self._store.send(asks), strict=True)
        return [
            shard
            for shard, ask, answer in answers
            if not isinstance(answer, Exception) and ask.read(answer)
        ]

    def _has_time(self, now: float) -> bool:
        # Also in a flood: the calm shards would wait for as long as the flood lasts.
        return self._is_lively(now) and not self._is_over(now)

    def _has_failed(self, shard: int) -> bool:
        drained = self._drained.get(shard)
        return drained is not None and drained.error is not None

    def _is_lively(self, now: float) -> bool:
        """Whether something has come a short while ago."""
        return self._found_at is not None and now - self._found_at < self._terms.linger_seconds

    def _is_flooded(self) -> bool:
        return any(isinstance(one, Done) and one.flooded for one in self._wanted.values())

    def _is_over(self, now: float) -> bool:
        return now > self._slice_over or self._terms.leaving()

    def _give_turns(self, *, may_go_on: bool) -> None:
        """Begin the next round: with what has come, or with the end of the slice."""
        now = time.monotonic()
        if self._is_over(now):
            if may_go_on and self._goes_on(now):
                self._again = [*self._works]
            last = Turn(over=True, leaving=self._terms.leaving())
            turns: dict[int, Any] = dict.fromkeys(self._works, last)
        else:
            found = self._read(now)
            idle = Turn(quiet=not found and not self._is_lively(time.monotonic()))
            turns = {shard: found.get(shard, idle) for shard in self._works}
        for shard, turn in turns.items():
            self._go_on(shard, turn)

    def _goes_on(self, now: float) -> bool:
        """Whether the shards are taken again at once when they were let go of.

        Not by somebody who has less than the full share: whoever has the others may have time for
        these as well, and a process that delivers alerts is needed for that.
        """
        if self._is_flooded() or self._terms.leaving():
            return False
        return len(self._works) >= self._terms.at_once and self._is_lively(now)

    def _read(self, now: float) -> dict[int, Any]:
        wait_ms = 0
        if self._is_lively(now) and not self._is_flooded():
            if self._last_round() > 1:
                time.sleep(_PAUSE_SECONDS)
            wait_ms = _WAIT_MS
        found = self._store.read([*self._works], wait_ms=wait_ms)
        return {of: one if isinstance(one, Exception) else Turn(one) for of, one in found.items()}

    def _last_round(self) -> int:
        """How many callbacks it had: more than one come faster than they are served one by one."""
        return sum(one.callbacks for one in self._wanted.values() if isinstance(one, Done))
