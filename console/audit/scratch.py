"""Scratch: what was found in log files, put in order on disk, so that memory stays bounded.

A database of its own that no file name leads to, and that is gone with the process. What a record
says is not in it: of each there are its number, its hashes and its place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any

import click

from console.audit import torn
from console.audit.claims import Claim, Remains
from console.audit.judgement import Head, Link

# In KiB, of the database and of each sort; beyond it both go to disk.
_CACHE_KIB = 64 * 1024
_AT_ONCE = 5_000

_TABLES = """
    CREATE TABLE links (room TEXT, n INT, hash BLOB, prev BLOB, fits INT, time_ms INT,
                        closing INT, signed INT, file INT, line INT);
    CREATE VIEW whole AS SELECT room, n, hash, prev FROM links WHERE fits;
    CREATE TABLE heads (room TEXT PRIMARY KEY, n INT, hash BLOB, found INT) WITHOUT ROWID;
"""
# What torn lines are looked up by.
_INDEXES = """
    CREATE INDEX by_hash ON links (hash);
    CREATE INDEX by_prev ON links (prev);
    CREATE INDEX by_number ON links (room, n);
"""
# What was not written again is altered, wherever it has been.
_LOST = "INSERT INTO links SELECT room, n, x'', x'', 0, 0, 0, NULL, file, line FROM lost"
_IN_ORDER = """
    SELECT room, n, hash, prev, fits, time_ms, closing, signed, file, line FROM links
    ORDER BY room, n, file, line
"""


@contextmanager
def needing_disk() -> Iterator[None]:
    """Say in a sentence that there is no place to put records in order."""
    try:
        yield
    except sqlite3.Error as error:
        raise click.ClickException(f"temporary files cannot be written ({error}).") from error


class Scratch:
    """What was found so far."""

    def __init__(self, place: Callable[[int, int], str]) -> None:
        """Make an empty one.

        Args:
            place: names a line of a file for a person.
        """
        self._place = place
        # Without a name SQLite keeps it in a file of its own, as far as it outgrows the cache.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA temp_store = FILE")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.executescript(_TABLES + torn.TABLES)
        self._rows: list[tuple[Any, ...]] = []
        self._torn = False

    def add(self, claim: Claim, signed: bool | None, file: int, line: int) -> None:
        """Keep a record that was found, and whether it is signed if that was asked."""
        digests = bytes.fromhex(claim.hash), bytes.fromhex(claim.prev)
        told = claim.fits, claim.time_ms, claim.closing, signed
        self._rows.append((claim.room_sid, claim.n, *digests, *told, file, line))
        if len(self._rows) >= _AT_ONCE:
            self._flush()

    def add_remains(self, remains: Remains, file: int, line: int) -> None:
        """Keep what is left of a record that cannot be read."""
        self._torn = True
        torn.keep(self._database, remains, file, line)

    def add_heads(self, heads: Iterable[tuple[str, Head]]) -> None:
        """Keep where chains end in Redis."""
        self._database.executemany(
            "INSERT OR REPLACE INTO heads VALUES (?, ?, ?, 0)",
            (
                (room, head.n, None if head.hash is None else bytes.fromhex(head.hash))
                for room, head in heads
            ),
        )

    def rooms(self) -> Iterator[tuple[str, Iterator[tuple[int, Iterator[Link]]]]]:
        """Give each room with what was found under each of its numbers, both in order."""
        self._flush()
        if self._torn:
            self._database.executescript(_INDEXES)
            self._database.execute(_LOST)
        for room, of_room in groupby(self._database.execute(_IN_ORDER), key=itemgetter(0)):
            numbers = groupby(of_room, key=itemgetter(1))
            yield room, ((n, map(self._link, some)) for n, some in numbers)

    def head(self, room: str) -> Head | None:
        """Tell where a room's chain ends in Redis; and that the room is in the files."""
        found = self._database.execute("SELECT n, hash FROM heads WHERE room = ?", (room,))
        row = found.fetchone()
        if row is None:
            return None
        self._database.execute("UPDATE heads SET found = 1 WHERE room = ?", (room,))
        return _head(*row)

    def absent(self) -> Iterator[tuple[str, Head]]:
        """Give the heads that nobody has asked for."""
        for room, n, digest in self._database.execute(
            "SELECT room, n, hash FROM heads WHERE NOT found"
        ):
            yield room, _head(n, digest)

    def close(self) -> None:
        self._database.close()

    def _flush(self) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(
            "INSERT INTO links VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._rows
        )
        self._database.execute("COMMIT")
        self._rows.clear()

    def _link(self, row: tuple[Any, ...]) -> Link:
        _, n, digest, prev, fits, time_ms, closing, signed, file, line = row
        return Link(
            n=n,
            hash=digest.hex(),
            prev=prev.hex(),
            fits=bool(fits),
            time_ms=time_ms,
            closing=bool(closing),
            signed=None if signed is None else bool(signed),
            place=self._place(file, line),
        )


def _head(n: int, digest: bytes | None) -> Head:
    return Head(n, None if digest is None else digest.hex())
