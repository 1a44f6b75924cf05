"""The reader of a soak: follows events and alerts as a consumer does, while Redis is broken."""

from __future__ import annotations

import threading
from typing import Any, cast

from faults.books import Books
from faults.comparison import Comparison
from redis import RedisError
from streams import Published

from schemas.connection import connect, keyspace_of
from schemas.events import decode_entry
from schemas.settings import Settings

# Far fewer than the streams keep, and so few that the sender need not wait for the interpreter.
_AT_ONCE = 500
_PAUSE_SECONDS = 0.05
# Longer than Redis is paused for: a question that was asked is answered.
_REPLY_SECONDS = 6.0


class Reader:
    """Reads all streams from their beginning, and looks how much waits in the inboxes."""

    def __init__(self, settings: Settings, books: Books) -> None:
        self._redis = connect(settings, timeout=_REPLY_SECONDS)
        self._books = books
        self._comparison = Comparison(settings, books)
        keyspace = keyspace_of(settings)
        self._inboxes = [keyspace.shard(number).inbox for number in range(settings.shards)]
        # Up to which entry each stream was read.
        self._read_to: dict[Any, Any] = dict.fromkeys(keyspace.streams(settings.shards), b"0")
        self._ending = threading.Event()
        # How many callbacks waited when that was looked at last, and the most that ever did.
        self.waiting = 0
        self.most_waiting = 0

    def run(self) -> None:
        """Read until `end` is called."""
        while not self._ending.is_set():
            try:
                if not self.read():
                    self._ending.wait(_PAUSE_SECONDS)
                self._look()
            except RedisError:
                # It is away, as it should be now and then; what was not read is read again.
                self._ending.wait(_PAUSE_SECONDS)

    def end(self) -> None:
        self._ending.set()

    def finish(self) -> None:
        """Read what is left, once nothing moves any more, and compare all with what Redis has."""
        while self.read():
            pass
        self._comparison.finish(self._redis)
        self._redis.close()

    def read(self) -> int:
        """Read on; return how many entries that were."""
        streams = cast("list[Any]", self._redis.xread(self._read_to, count=_AT_ONCE))
        count = 0
        for stream, entries in streams:
            for entry_id, entry in entries:
                self._books.hear(Published(*decode_entry(entry), entry[b"data"]))
                self._read_to[stream.decode()] = entry_id
            count += len(entries)
        return count

    def _look(self) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for inbox in self._inboxes:
                pipeline.xlen(inbox)
            self.waiting = sum(pipeline.execute())
        self.most_waiting = max(self.most_waiting, self.waiting)
        self._comparison.look(self._redis)
