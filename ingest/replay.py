"""The replay: what was spooled goes into Redis, and nothing holds up what lies behind it.

A shard that takes nothing, a file that cannot be read and a callback that nobody can read are each
passed over. Knows no request, and not whether Redis is there: it finds out.
"""

from __future__ import annotations

import sqlite3
import threading
import time

import structlog

from ingest.doorbell import Bell
from ingest.inbox import Inbox
from ingest.spool import Spool
from ingest.spool_database import is_damage
from ingest.spool_file import SpoolFile
from ingest.spool_rows import Spooled
from schemas.errors import InboxFullError

# One round trip: small enough that the requests of now hardly wait for those of then. A file gives
# no more than 1 MiB at a time either.
_BATCH = 100
# When something had to stay, the next pass reads it again: not at once, and where there is much of
# it, not so often that it takes more than a tenth of the time.
_HELD_UP_SECONDS = 1.0
_REST = 10

_log = structlog.get_logger()


class Replay:
    """Replays the files of a spool; called by one thread."""

    def __init__(
        self, inbox: Inbox, spool: Spool, doorbell: Bell, stopping: threading.Event
    ) -> None:
        self._inbox = inbox
        self._spool = spool
        self._doorbell = doorbell
        self._stopping = stopping
        self._batch = _BATCH
        self._not_before = 0.0
        # The shards that took nothing in this pass, and everything that was held up, with the
        # reason; the latter of the pass before as well, so that it is told once.
        self._shards: set[int] = set()
        self._held: set[tuple[str, str | int]] = set()
        self._told: set[tuple[str, str | int]] = set()

    @property
    def found_inbox_full(self) -> bool:
        """Whether the last pass met an inbox that takes nothing more."""
        return any(reason == InboxFullError.reason for reason, _ in self._told)

    def hurry(self) -> None:
        """Have the next pass begin at once: Redis is back."""
        self._not_before = 0.0

    def play(self) -> None:
        """Send everything once, unless the last time, a moment ago, something had to stay.

        Raises:
            Exception: whatever the inbox raises when Redis is not there.
        """
        began = time.monotonic()
        if began < self._not_before:
            return
        self._shards, self._held = set(), set()
        for file in self._spool.waiting():
            try:
                self._replay(file)
            except sqlite3.Error as error:
                self._pass_over(file, error)
        self._spool.tidy()
        self._told = self._held
        if self._held:
            now = time.monotonic()
            self._not_before = now + max(_HELD_UP_SECONDS, _REST * (now - began))

    def _replay(self, file: SpoolFile) -> None:
        last = 0
        settled = True
        while not self._stopping.is_set():
            spooled = file.oldest(self._batch, after=last)
            if not spooled:
                return
            last = spooled[-1].id
            self._send(file, spooled)
            # A disk that is full does not let go either. It is not asked again in this pass.
            settled = settled and self._settled(file)

    def _send(self, file: SpoolFile, spooled: list[Spooled]) -> None:
        try:
            outcome = self._inbox.deposit_again(spooled, without=self._shards)
        except Exception:
            # It may have been too much for the time that Redis has. Again and again, it would be
            # taken each time, and never forgotten here.
            self._batch = max(1, self._batch // 2)
            raise
        self._batch = min(_BATCH, self._batch * 2)
        file.forget(outcome.taken, unreadable=outcome.unreadable)
        for shard in outcome.wake:
            self._doorbell.ring(shard)
        for shard, reason in outcome.held.items():
            self._shards.add(shard)
            self._hold(reason, shard=shard)
        if outcome.taken:
            _log.info("spool_replayed", callbacks=len(outcome.taken))
        if outcome.unreadable:
            unreadable = [one.id for one in outcome.unreadable]
            _log.error("spooled_callback_unreadable", file=file.path.name, ids=unreadable)

    def _settled(self, file: SpoolFile) -> bool:
        try:
            file.settle()
        except sqlite3.OperationalError as error:
            self._hold(type(error).__name__, file=file.path.name)
            return False
        return True

    def _pass_over(self, file: SpoolFile, error: sqlite3.Error) -> None:
        if is_damage(error):
            self._spool.leave(file, error)
        else:
            self._hold(type(error).__name__, file=file.path.name)

    def _hold(self, reason: str, **what: str | int) -> None:
        """Note that something has to stay, and say so if it did not in the pass before."""
        (which,) = what.values()
        if (reason, which) not in self._held | self._told:
            _log.warning("replay_held_up", reason=reason, **what)
        self._held.add((reason, which))
