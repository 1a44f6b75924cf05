"""The spool: callbacks on this machine's disk while Redis does not take them.

SQLite in WAL mode, a file a process (one shared by several starves its writers), each commit
fsynced. What lies in it was answered 204, so it outlives the process: a file whose process is dead
is adopted by the next one that looks. Knows neither Redis nor HTTP.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import structlog

from schemas.errors import UnavailableError

_SUFFIX = ".spool"
_SCHEMA = """
create table if not exists callbacks (
    id integer primary key,
    params blob not null,
    token text not null
)
"""
# What a row takes beside its parameters: key, token, page overhead.
_ROW_BYTES = 128

_log = structlog.get_logger()


class Spooled(NamedTuple):
    """A callback that waits for Redis."""

    id: int
    params: bytes
    token: str

    @property
    def size(self) -> int:
        return len(self.params) + _ROW_BYTES


@dataclass(eq=False, slots=True)
class _Ticket:
    """A callback on its way to the disk, and what became of it."""

    params: bytes
    token: str
    done: bool = False
    error: sqlite3.Error | None = None


class SpoolFile:
    """One file. Its process holds a lock beside it, which the kernel frees when that one dies."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.callbacks = 0
        self.size = 0
        self._lock = lock
        self._pending: list[_Ticket] = []
        self._queueing = threading.Lock()
        # Guards the connection; whoever holds it commits for all that wait.
        self._committing = threading.Lock()
        # With no isolation level, BEGIN and COMMIT are ours.
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("pragma journal_mode = wal")
        # In WAL mode FULL syncs at each commit; NORMAL would at checkpoints only.
        self._database.execute("pragma synchronous = full")
        self._database.execute(_SCHEMA)
        rows = self._database.execute("select count(*), total(length(params)) from callbacks")
        count, size = rows.fetchone()
        self._count(count, int(size) + count * _ROW_BYTES)

    def put(self, params: bytes, token: str, *, seconds: float) -> None:
        """Keep a callback; return once it is on the disk.

        One fsync serves all that wait: whoever comes first commits for everybody, and whoever comes
        meanwhile waits for the next commit.

        Raises:
            UnavailableError: the disk did not take it, or not in time.
        """
        ticket = _Ticket(params, token)
        with self._queueing:
            self._pending.append(ticket)
        if not self._committing.acquire(timeout=seconds):
            raise UnavailableError
        try:
            if not ticket.done:
                self._commit_pending()
        finally:
            self._committing.release()
        if ticket.error:
            raise UnavailableError from ticket.error

    def oldest(self, count: int) -> list[Spooled]:
        """Read what has waited longest."""
        query = "select id, params, token from callbacks order by id limit ?"
        with self._committing:
            return [Spooled(*row) for row in self._database.execute(query, (count,))]

    def forget(self, taken: Iterable[Spooled]) -> None:
        """Remove what Redis has taken."""
        gone = list(taken)
        with self._committing:
            self._database.execute("begin")
            self._database.executemany(
                "delete from callbacks where id = ?", [(one.id,) for one in gone]
            )
            self._database.execute("commit")
            self._count(-len(gone), -sum(one.size for one in gone))

    def close(self) -> None:
        """Close the file; an empty one is removed, any other is left for whoever adopts it."""
        with self._committing:
            self._database.close()
            if not self.callbacks:
                for name in (self.path.name, f"{self.path.name}-wal", f"{self.path.name}-shm"):
                    self.path.with_name(name).unlink(missing_ok=True)
                _lock_of(self.path).unlink(missing_ok=True)
            os.close(self._lock)

    def _commit_pending(self) -> None:
        with self._queueing:
            tickets, self._pending = self._pending, []
        error = self._insert([(one.params, one.token) for one in tickets])
        for ticket in tickets:
            ticket.error = error
            ticket.done = True

    def _insert(self, rows: list[tuple[bytes, str]]) -> sqlite3.Error | None:
        try:
            self._database.execute("begin")
            self._database.executemany("insert into callbacks (params, token) values (?, ?)", rows)
            self._database.execute("commit")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                self._database.execute("rollback")
            return error
        self._count(len(rows), sum(len(params) + _ROW_BYTES for params, _ in rows))
        return None

    def _count(self, callbacks: int, size: int) -> None:
        self.callbacks += callbacks
        self.size += size


class Spool:
    """The folder of spool files: this process's own, and those of the dead that it has adopted."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Take a place in the folder; nothing is made before something must be kept.

        Args:
            folder: made when needed, for nobody else to read.
            max_bytes: how much this process keeps; 0 keeps nothing.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._own: SpoolFile | None = None
        self._adopted: list[SpoolFile] = []
        self._making = threading.Lock()

    @property
    def callbacks(self) -> int:
        return sum(one.callbacks for one in self._files())

    @property
    def size(self) -> int:
        return sum(one.size for one in self._files())

    @property
    def has_room(self) -> bool:
        return self.size < self._max_bytes

    def put(self, params: bytes, token: str, *, seconds: float) -> None:
        """Keep a callback until Redis is back; return once it is on the disk.

        Raises:
            UnavailableError: there is no room, or the disk did not take it in time.
        """
        if self.size + len(params) > self._max_bytes:
            raise UnavailableError("Redis is away, and the spool is full or switched off.")
        self._own_file().put(params, token, seconds=seconds)

    def waiting(self) -> Iterator[SpoolFile]:
        """Iterate over the files that hold something."""
        return (one for one in self._files() if one.callbacks)

    def adopt(self) -> int:
        """Take over the files of processes that are dead; tell how many callbacks came by it."""
        found = 0
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            if any(one.path == path for one in self._files()):
                continue
            lock = _locked(path)
            if lock is None:
                continue
            try:
                adopted = SpoolFile(path, lock)
            except sqlite3.Error:
                # Left as it is, for a person to look at; the others are adopted all the same.
                _log.exception("spool_not_adopted", file=path.name)
                os.close(lock)
                continue
            self._adopted.append(adopted)
            found += adopted.callbacks
        return found

    def tidy(self) -> None:
        """Close adopted files that are empty by now."""
        for one in [one for one in self._adopted if not one.callbacks]:
            self._adopted.remove(one)
            one.close()

    def close(self) -> None:
        for one in self._files():
            one.close()
        self._own, self._adopted = None, []

    def _files(self) -> list[SpoolFile]:
        return [*([self._own] if self._own else []), *self._adopted]

    def _own_file(self) -> SpoolFile:
        with self._making:
            if self._own is None:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                path = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
                lock = _locked(path)
                if lock is None:
                    raise UnavailableError
                self._own = SpoolFile(path, lock)
            return self._own


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _locked(path: Path) -> int | None:
    """Take the lock beside a spool file; None where a living process has it."""
    # Beside it: SQLite has locks of its own in the file, and loses them when it is closed.
    lock = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
