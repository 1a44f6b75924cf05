"""Deposits: a callback becomes durable in Redis, or on this machine's disk while Redis is away.

One failed deposit switches the process to the spool at once, so that an outage costs one time-out
and not one a request; a probe switches back, and what was spooled is replayed in the background. So
is what Redis took and then lost. A callback may come twice by that, which is harmless: the merge is
idempotent. Knows nothing of HTTP.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Literal

import structlog

from ingest.doorbell import Bell
from ingest.gathering import Gathering
from ingest.inbox import Inbox
from ingest.losses import Losses
from ingest.receipts import Placed, Receipt
from ingest.replay import Replay
from ingest.spool import Spool
from schemas.errors import InboxFullError, RollcallError, UnavailableError

# How often a process that spools looks whether Redis is back.
_PROBE_SECONDS = 0.25
# How often it looks for files that dead processes left.
_ADOPT_SECONDS = 5.0
# For so long an inbox that was full is taken to be so still, when somebody asks for the state.
_FULL_SECONDS = 10.0
# A disk that is slower than this answers nobody in time.
_DISK_SECONDS = 0.4
# Twice as long as Redis or the disk may take. What is waited for at the end, here and elsewhere, is
# less than what Granian leaves (ingest/serve.py).
_STOP_SECONDS = 1.0

State = Literal["ready", "spooling", "unavailable"]

_log = structlog.get_logger()


class Deposits:
    """Makes callbacks durable, one way or the other."""

    def __init__(self, inbox: Inbox, spool: Spool, doorbell: Bell, *, seconds: float = 0.5) -> None:
        """Start nothing yet.

        Args:
            inbox: where callbacks go.
            spool: where they go instead.
            doorbell: who wakes the workers.
            seconds: how long one waits for Redis.
        """
        self._inbox = inbox
        self._spool = spool
        self._doorbell = doorbell
        self._seconds = seconds
        self._gathering: Gathering[Placed, Receipt] = Gathering("deposits", self._carry)
        self._spooling = False
        self._full_until = 0.0
        self._stopping = threading.Event()
        self._replay = Replay(inbox, spool, doorbell, self._stopping)
        self._losses = Losses(inbox, spool, doorbell)
        self._thread: threading.Thread | None = None
        self._adopt_at = 0.0

    def deposit(self, params: Mapping[str, str], token: str) -> Receipt:
        """Make a checked callback durable, and have its shard woken if need be.

        Raises:
            UnavailableError: neither Redis nor the disk took it.
        """
        placed = self._inbox.place(params, token)
        if not self._spooling:
            try:
                return self._gathering.put(placed, size=placed.size, seconds=self._seconds)
            except InboxFullError:
                # Redis itself is well, and other shards have room.
                self._note_full()
            except Exception as error:  # noqa: BLE001  # of a peer that is no Redis, the client raises anything
                # Where its own shard failed, the others go on, and the replay says what it is. What
                # failed for all, `_carry` has seen.
                if not isinstance(error, UnavailableError):
                    self._switch(error)
        self._spool.put(placed.params, placed.token, seconds=_DISK_SECONDS)
        return self._inbox.receipt_of_spooled(placed)

    def _carry(self, placed: list[Placed]) -> list[Receipt | RollcallError]:
        """Deposit what has gathered, and have workers woken."""
        if self._spooling:
            # It gathered behind what found Redis away, and would only wait for as long.
            raise UnavailableError
        try:
            answers = self._inbox.deposit_all(placed)
        except Exception as error:
            # At once, for what has gathered meanwhile.
            self._switch(error)
            raise
        for answer in answers:
            if isinstance(answer, Receipt) and answer.wake:
                self._doorbell.ring(answer.shard)
        return answers

    def state(self) -> State:
        """Tell whether callbacks become durable, and where some of them do at least."""
        if self.redis_answers() and time.monotonic() >= self._full_until:
            return "ready"
        return "spooling" if self._spool.has_room else "unavailable"

    def redis_answers(self) -> bool:
        """Ask Redis, unless it is known to be away already."""
        if not self._spooling:
            try:
                self._inbox.check()
            except Exception as error:  # noqa: BLE001  # as above
                self._switch(error)
        return not self._spooling

    def start(self) -> None:
        """Start the background thread: probes, replays, adopts."""
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Deposit what has gathered, close the spool for the next process, and send wake-ups."""
        self._gathering.stop(_STOP_SECONDS)
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
        self._spool.close()
        self._doorbell.stop()

    def look(self) -> None:
        """Adopt, probe and replay once."""
        self._adopt()
        self._spool.retry(seconds=_DISK_SECONDS)
        if self._full_until and time.monotonic() >= self._full_until:
            self._full_until = 0.0
            _log.info("inbox_full_no_more")
        try:
            # First, since a replay may take long, and the shards be counted otherwise by then.
            self.lost(self._losses.look())
            if self._spooling or self._spool.callbacks:
                self._inbox.check()
                self._switch_back()
                self._replay.play()
        except Exception as error:  # noqa: BLE001  # as above
            self._switch(error)
            return
        if self._replay.found_inbox_full:
            self._note_full()

    def lost(self, callbacks: int) -> None:
        """Note that Redis had lost so many; by then they are deposited again."""

    def _run(self) -> None:
        while not self._stopping.wait(_PROBE_SECONDS):
            try:
                self.look()
            except Exception:  # noqa: BLE001  # a thread that ended here would be missed by nobody
                _log.exception("replay_failing")

    def _adopt(self) -> None:
        if time.monotonic() < self._adopt_at:
            return
        self._adopt_at = time.monotonic() + _ADOPT_SECONDS
        adopted = self._spool.adopt()
        if adopted:
            _log.info("spool_adopted", callbacks=adopted)

    def _switch(self, error: Exception) -> None:
        if not self._spooling:
            self._spooling = True
            reason = getattr(error, "reason", UnavailableError.reason)
            cause = type(error.__cause__ or error).__name__
            _log.warning("spooling_began", reason=reason, cause=cause)

    def _switch_back(self) -> None:
        if self._spooling:
            self._spooling = False
            self._replay.hurry()
            _log.info("spooling_ended", callbacks=self._spool.callbacks)

    def _note_full(self) -> None:
        if not self._full_until:
            _log.warning("inbox_full")
        self._full_until = time.monotonic() + _FULL_SECONDS
