"""How a spool file is kept in SQLite: its tables, and what makes a commit durable.

Knows neither locks nor who uses it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SCHEMA = """
create table if not exists callbacks (
    id integer primary key,
    params blob not null,
    token text not null
);
create table if not exists set_aside (
    id integer primary key,
    params blob not null,
    token text not null
);
"""
# Only a backup or a person's shell writes here beside us. Who waits for the disk waits 0.4 s.
_BUSY_SECONDS = 0.1


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is damaged, and not that the disk is full or busy."""
    # SQLite's other errors are subclasses, by which Python tells them apart.
    return type(error) is sqlite3.DatabaseError


def open_database(path: Path, holding: sqlite3.Connection | None) -> sqlite3.Connection:
    """Open the database in a file that is there.

    Args:
        path: of the file.
        holding: a database whose content it is to get, where it is empty.

    Raises:
        sqlite3.Error: it cannot be opened, or is none.
    """
    database = sqlite3.connect(
        # Never made here: another process may have removed it just now.
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=_BUSY_SECONDS,
        # BEGIN and COMMIT are ours.
        isolation_level=None,
        check_same_thread=False,
    )
    # A damaged token is worth no callback.
    database.text_factory = lambda raw: raw.decode(errors="replace")
    try:
        if holding:
            holding.backup(database)
        database.execute("pragma journal_mode = wal")
        # In WAL mode FULL syncs at each commit; NORMAL would at checkpoints only.
        database.execute("pragma synchronous = full")
        database.executescript(_SCHEMA)
    except sqlite3.Error:
        database.close()
        raise
    return database


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done meanwhile, or nothing of it.

    Raises:
        sqlite3.Error: the disk did not take it.
    """
    database.execute("begin immediate")
    try:
        yield
        database.execute("commit")
    except BaseException:
        # After some errors SQLite has rolled back by itself.
        with suppress(sqlite3.Error):
            database.execute("rollback")
        raise
