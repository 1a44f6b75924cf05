"""One file of the spool: SQLite in WAL mode, each commit fsynced, held by one process at a time.

Knows nothing of the other files, of requests that wait, of Redis or HTTP.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from ingest.spool_database import open_database, transaction
from ingest.spool_lock import claim, remove
from ingest.spool_rows import ROW_BYTES, Row, Spooled

SUFFIX = ".spool"
# Whatever a damaged row holds comes as bytes and text.
_OLDEST = """
select id, cast(params as blob), cast(token as text) from callbacks where id > ? order by id
"""
_COUNTS = """
select count(*), total(length(params) + length(token)) from callbacks
union all select count(*), total(length(params) + length(token)) from set_aside
"""
# As much as one round trip to Redis should carry: a callback may have 128 KiB.
_READ_BYTES = 1 << 20
# A disk that hangs must not keep the process from ending.
_CLOSE_SECONDS = 1.0


class SpoolFile:
    """One file. Its process holds a lock beside it, which the kernel frees when that one dies."""

    def __init__(self, path: Path, lock: int, *, holding: sqlite3.Connection | None = None) -> None:
        """Open a file that is there, and whose lock is held.

        Args:
            path: of the file.
            lock: the descriptor of the lock, from now on this object's own.
            holding: a file whose content it is to get, where it is new.

        Raises:
            OSError: it cannot be looked at.
            sqlite3.Error: it cannot be opened, or is damaged.
        """
        self.path = path
        self.callbacks = 0
        # How many callbacks nobody can read: they stay here for a person to look at.
        self.set_aside = 0
        self.size = 0
        self._lock = lock
        self._inode = path.stat().st_ino
        # What need not be read again, though the disk has not let go of it yet.
        self._taken: set[int] = set()
        self._unreadable: set[int] = set()
        self._using = threading.Lock()
        self._database = open_database(path, holding)
        try:
            self._recount()
        except sqlite3.Error:
            self._database.close()
            raise

    @classmethod
    def make(cls, folder: Path, *, holding: sqlite3.Connection | None = None) -> SpoolFile:
        """Make a new file; one that cannot be made leaves no trace.

        Raises:
            OSError, sqlite3.Error: it cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        lock = claim(path)
        try:
            # Before SQLite opens it, which gives its other files the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            return cls(path, lock, holding=holding)
        except (OSError, sqlite3.Error):
            remove(path)
            os.close(lock)
            raise

    @classmethod
    def adopt(cls, path: Path) -> SpoolFile:
        """Take over the file of a process that is dead.

        Raises:
            BlockingIOError: it is alive, or another one has adopted the file.
            FileNotFoundError: another one has adopted, emptied and removed it.
            OSError, sqlite3.Error: it cannot be opened.
        """
        lock = claim(path)
        try:
            return cls(path, lock)
        except FileNotFoundError:
            # The lock was made anew just now.
            remove(path)
            os.close(lock)
            raise
        except (OSError, sqlite3.Error):
            os.close(lock)
            raise

    def successor(self) -> SpoolFile:
        """Make a new file with all that this one holds.

        Raises:
            OSError, sqlite3.Error: it cannot be made.
        """
        with self._using:
            return SpoolFile.make(self.path.parent, holding=self._database)

    @property
    def is_gone(self) -> bool:
        """Whether somebody has removed it: what is written to it nobody would find."""
        try:
            return self.path.stat().st_ino != self._inode
        except OSError:
            return True

    def add(self, rows: list[Row]) -> None:
        """Keep callbacks, with one fsync for all; with none, try whether the disk takes anything.

        Raises:
            sqlite3.Error: the disk did not take them.
        """
        with self._using:
            with transaction(self._database):
                if not rows:
                    # Without a write SQLite would not go to the disk.
                    self._database.execute("pragma user_version = 1")
                self._database.executemany(
                    "insert into callbacks (params, token) values (?, ?)", rows
                )
            self._count(len(rows), sum(row.size for row in rows))

    def oldest(self, count: int, *, after: int = 0) -> list[Spooled]:
        """Read what has waited longest, from behind an id on: 1 MiB at most, but one at least.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        found: list[Spooled] = []
        room = _READ_BYTES
        done = self._taken | self._unreadable
        with self._using, closing(self._database.execute(_OLDEST, (after,))) as rows:
            for one in map(Spooled._make, rows):
                if one.id in done:
                    continue
                room -= one.size
                if found and (room < 0 or len(found) == count):
                    break
                found.append(one)
        return found

    def forget(self, taken: Iterable[Spooled], *, unreadable: Iterable[Spooled] = ()) -> None:
        """Never read these again: Redis has them, or nobody can read them. `settle` writes it."""
        with self._using:
            for one in taken:
                self._taken.add(one.id)
                self._count(-1, -one.size)
            for one in unreadable:
                self._unreadable.add(one.id)
                self._count(-1, 0)
                self.set_aside += 1

    def settle(self) -> None:
        """Remove what was forgotten from the disk, and set aside what is unreadable.

        Raises:
            sqlite3.Error: the disk does not let go; nothing is read again all the same.
        """
        aside = [(number,) for number in self._unreadable]
        gone = [(number,) for number in self._taken | self._unreadable]
        if not gone:
            return
        with self._using, transaction(self._database):
            self._database.executemany(
                "insert into set_aside (params, token)"
                " select params, token from callbacks where id = ?",
                aside,
            )
            self._database.executemany("delete from callbacks where id = ?", gone)
        self._taken.clear()
        self._unreadable.clear()

    def close(self, *, keep: bool = False) -> None:
        """Close the file. One that holds nothing is removed, any other is left to be adopted.

        Args:
            keep: leave it whatever it seems to hold.
        """
        if not self._using.acquire(timeout=_CLOSE_SECONDS):
            # The lock is freed with the process, and what is here is found by the next one.
            return
        try:
            self._database.close()
            if not (keep or self.callbacks or self.set_aside):
                remove(self.path)
        finally:
            os.close(self._lock)
            self._using.release()

    def _recount(self) -> None:
        (self.callbacks, size), (self.set_aside, aside) = self._database.execute(_COUNTS)
        self.size = int(size + aside) + (self.callbacks + self.set_aside) * ROW_BYTES

    def _count(self, callbacks: int, size: int) -> None:
        self.callbacks += callbacks
        self.size += size
