"""The spool: callbacks on this machine's disk while Redis does not take them.

A file a process, since one shared by several starves its writers. What lies in it was answered 204,
so it outlives the process: a file whose process is dead is adopted by the next one that looks.
Knows neither Redis nor HTTP.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import structlog

from ingest.spool_database import is_damage
from ingest.spool_file import SUFFIX, SpoolFile
from ingest.spool_queue import SpoolQueue
from ingest.spool_rows import Row
from schemas.errors import UnavailableError

# The largest callback: a body has 64 KiB, JSON at most doubles what is percent-encoded in it, and
# its token comes with it. Whoever takes one callback has room for any.
_LARGEST = 2 * 64 * 1024 + 1024

_log = structlog.get_logger()


class Spool:
    """The folder of spool files: this process's own, and those of the dead that it has adopted."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Take a place in the folder; nothing is made before something must be kept.

        Args:
            folder: made when needed, for nobody else to read.
            max_bytes: how much this process keeps; less than the largest callback keeps nothing.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._own: SpoolFile | None = None
        self._adopted: list[SpoolFile] = []
        # Files that only a person can do anything about, and those about which something was said.
        self._left: set[Path] = set()
        self._told: set[Path] = set()
        self._leaving = threading.Lock()
        self._queue = SpoolQueue(self._write, lambda: self._fits)

    @property
    def callbacks(self) -> int:
        return sum(one.callbacks for one in self._files())

    @property
    def size(self) -> int:
        return sum(one.size for one in self._files())

    @property
    def has_room(self) -> bool:
        """Whether whatever comes next is kept, as far as can be told."""
        return self._fits and not self._queue.failing

    @property
    def _fits(self) -> bool:
        return self.size + self._queue.size + _LARGEST <= self._max_bytes

    def put(self, params: bytes, token: str, *, seconds: float) -> None:
        """Keep a callback until Redis is back; return once it is on the disk.

        Raises:
            UnavailableError: there is no room, or the disk did not take it in time.
        """
        self._queue.put(Row(params, token), seconds=seconds)

    def retry(self, *, seconds: float) -> None:
        """Try a disk that has failed, so that `has_room` is right also when nobody calls."""
        if self._queue.failing:
            with suppress(UnavailableError):
                self._queue.put(None, seconds=seconds)

    def waiting(self) -> Iterator[SpoolFile]:
        """Iterate over the files that hold something for Redis."""
        return (one for one in self._files() if one.callbacks)

    def adopt(self) -> int:
        """Take over the files of processes that are dead; tell how many callbacks came by it."""
        known = {one.path for one in self._files()} | self._left
        found = 0
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            if path not in known:
                found += self._adopt(path)
        self.tidy()
        return found

    def leave(self, file: SpoolFile, error: sqlite3.Error) -> None:
        """Leave a damaged file for a person to look at, and go on without it."""
        with self._leaving:
            if file.path in self._left:
                return
            self._left.add(file.path)
            if file is self._own:
                self._own = None
            if file in self._adopted:
                self._adopted.remove(file)
        _log.error("spool_file_damaged", file=file.path.name, said=error)
        file.close(keep=True)

    def tidy(self) -> None:
        """Close adopted files that hold nothing for Redis any more."""
        for one in [one for one in self._adopted if not one.callbacks]:
            self._adopted.remove(one)
            if one.set_aside:
                # What is in it nobody can read; it would be adopted again and again.
                self._left.add(one.path)
                _log.error("spool_file_left", file=one.path.name, set_aside=one.set_aside)
            one.close()

    def close(self) -> None:
        self._queue.stop()
        for one in self._files():
            one.close()
        self._own, self._adopted = None, []

    def _files(self) -> list[SpoolFile]:
        own = self._own
        return [*([own] if own else []), *self._adopted]

    def _adopt(self, path: Path) -> int:
        try:
            file = SpoolFile.adopt(path)
        except (BlockingIOError, FileNotFoundError):
            # Its process is alive, or another one was faster.
            return 0
        except (OSError, sqlite3.Error) as error:
            # The others are adopted all the same. This one is tried again, for the disk may just
            # be full; what is damaged stays as it is.
            if path not in self._told:
                self._told.add(path)
                cause = type(error).__name__
                _log.error("spool_not_adopted", file=path.name, cause=cause, said=error)
            return 0
        self._adopted.append(file)
        return file.callbacks

    def _write(self, rows: list[Row]) -> None:
        own = self._own_file()
        try:
            own.add(rows)
        except sqlite3.Error as error:
            if is_damage(error):
                self.leave(own, error)
            if own is self._own:
                raise
            # Given up, here or by whoever replays: a new one takes its place.
            self._own_file().add(rows)

    def _own_file(self) -> SpoolFile:
        """Give this process's file; only the queue's thread asks, so that no request waits."""
        if self._own is None:
            self._own = SpoolFile.make(self._folder)
        elif self._own.is_gone:
            # What it holds was answered 204, and would be lost with this process.
            gone, self._own = self._own, self._own.successor()
            _log.error("spool_file_removed", file=gone.path.name, saved=self._own.callbacks)
            gone.close(keep=True)
        return self._own
