"""Deposits: a callback becomes durable in Redis, or on this machine's disk while Redis is away.

One failed deposit switches the process to the spool at once, so that an outage costs one time-out
and not one a request; a probe switches back, and what was spooled is replayed in the background. A
callback may come twice by that, which is harmless: the merge is idempotent. Knows nothing of HTTP.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Literal

import structlog

from ingest.doorbell import Bell
from ingest.inbox import Inbox, Receipt
from ingest.spool import Spool, SpoolFile
from schemas.errors import InboxFullError, RollcallError, UnavailableError
from schemas.inbox import encode_params

# How often a process that spools looks whether Redis is back.
_PROBE_SECONDS = 0.25
# How often it looks for files that dead processes left.
_ADOPT_SECONDS = 5.0
# One round trip: small enough that the requests of now hardly wait for those of then.
_REPLAY_BATCH = 100
# A disk that is slower than this answers nobody in time.
_DISK_SECONDS = 0.4
_STOP_SECONDS = 2.0

State = Literal["ready", "spooling", "unavailable"]

_log = structlog.get_logger()


class Deposits:
    """Makes callbacks durable, one way or the other."""

    def __init__(self, inbox: Inbox, spool: Spool, doorbell: Bell) -> None:
        self._inbox = inbox
        self._spool = spool
        self._doorbell = doorbell
        self._spooling = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._adopt_at = 0.0

    def deposit(self, params: Mapping[str, str], token: str) -> Receipt:
        """Make a checked callback durable, and have its shard woken if need be.

        Raises:
            UnavailableError: neither Redis nor the disk took it.
        """
        if not self._spooling:
            try:
                receipt = self._inbox.deposit(params, token)
            except InboxFullError:
                # Redis itself is well, and other shards have room.
                _log.warning("inbox_full")
            except UnavailableError as error:
                self._switch(error)
            else:
                if receipt.wake:
                    self._doorbell.ring(receipt.shard)
                return receipt
        self._spool.put(encode_params(params), token, seconds=_DISK_SECONDS)
        return self._inbox.receipt_of_spooled(params)

    def state(self) -> State:
        """Tell whether callbacks become durable, and where."""
        if not self._spooling:
            try:
                self._inbox.check()
            except RollcallError as error:
                self._switch(error)
            else:
                return "ready"
        return "spooling" if self._spool.has_room else "unavailable"

    def start(self) -> None:
        """Start the background thread: probes, replays, adopts."""
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, close the spool, for the next process to adopt, and send wake-ups."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
        self._spool.close()
        self._doorbell.stop()

    def _switch(self, error: RollcallError) -> None:
        if not self._spooling:
            self._spooling = True
            _log.warning("spooling_began", reason=error.reason, cause=_cause(error))

    def _run(self) -> None:
        while not self._stopping.wait(_PROBE_SECONDS):
            try:
                self.look()
            except Exception:  # noqa: BLE001  # a thread that ended here would be missed by nobody
                _log.exception("replay_failing")

    def look(self) -> None:
        """Adopt, probe and replay once."""
        if time.monotonic() >= self._adopt_at:
            self._adopt_at = time.monotonic() + _ADOPT_SECONDS
            adopted = self._spool.adopt()
            if adopted:
                _log.info("spool_adopted", callbacks=adopted)
        if not self._spooling and not self._spool.callbacks:
            return
        try:
            self._inbox.check()
        except RollcallError as error:
            self._switch(error)
            return
        if self._spooling:
            self._spooling = False
            _log.info("spooling_ended", callbacks=self._spool.callbacks)
        for one in self._spool.waiting():
            self._replay(one)
        self._spool.tidy()

    def _replay(self, file: SpoolFile) -> None:
        while not self._stopping.is_set():
            spooled = file.oldest(_REPLAY_BATCH)
            if not spooled:
                return
            try:
                taken, shards = self._inbox.deposit_again(spooled)
            except UnavailableError as error:
                self._switch(error)
                return
            if taken:
                file.forget(taken)
                _log.info("spool_replayed", callbacks=len(taken))
            for shard in shards:
                self._doorbell.ring(shard)
            if len(taken) < len(spooled):
                # An inbox is full: later.
                return


def _cause(error: RollcallError) -> str:
    return type(error.__cause__ or error).__name__
