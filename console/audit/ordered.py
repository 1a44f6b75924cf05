"""Records in the order in which they were written, room by room, whatever files they lie in.

They are kept on disk, in a database that no file name leads to and that is gone with the process.
It grows as large as the records are; memory stays below some 64 MiB and one record.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import msgspec

from console.audit import torn
from console.audit.claims import Remains
from console.audit.reading import Record

_CACHE_KIB = 64 * 1024
_AT_ONCE = 1_000

# A record that occurs again, being the same, is one.
_TABLE = """
    CREATE TABLE whole (room TEXT, n INT, hash BLOB, prev BLOB, file INT, line INT, text BLOB,
                        PRIMARY KEY (room, n, hash)) WITHOUT ROWID;
"""
# What torn lines are looked up by, beside the key.
_INDEXES = """
    CREATE INDEX by_hash ON whole (hash);
    CREATE INDEX by_prev ON whole (prev);
"""

_decode = msgspec.json.Decoder().decode


class Placed(NamedTuple):
    """A record, and where it was found."""

    record: Record
    file: int
    line: int


class Ordered:
    """Records that were found, to be given back in order."""

    def __init__(self) -> None:
        # Without a name SQLite keeps it in a file of its own, as far as it outgrows the cache.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.executescript(_TABLE + torn.TABLES)
        self._rows: list[tuple[str, int, bytes, bytes, int, int, bytes]] = []
        self._torn = False

    def add(self, record: Record, text: bytes, file: int, line: int) -> None:
        """Keep a record that is as it was written."""
        digests = bytes.fromhex(record["hash"]), bytes.fromhex(record["prev"])
        self._rows.append((record["room_sid"], record["n"], *digests, file, line, text))
        if len(self._rows) >= _AT_ONCE:
            self._flush()

    def add_remains(self, remains: Remains, file: int, line: int) -> None:
        """Keep what is left of a record that cannot be read."""
        self._torn = True
        torn.keep(self._database, remains, file, line)

    def lost(self) -> int:
        """Count the records of which only something is left."""
        self._flush()
        if not self._torn:
            return 0
        self._database.executescript(_INDEXES)
        (count,) = self._database.execute("SELECT count(*) FROM lost").fetchone()
        return int(count)

    def rooms(self) -> Iterator[tuple[str, Iterator[tuple[int, Iterator[Placed]]]]]:
        """Give each room with the records of each of its numbers, both in order."""
        self._flush()
        rows = self._database.execute(
            "SELECT room, n, file, line, text FROM whole ORDER BY room, n"
        )
        for room, of_room in groupby(rows, key=itemgetter(0)):
            yield room, _by_number(of_room)

    def close(self) -> None:
        self._database.close()

    def _flush(self) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(
            "INSERT OR IGNORE INTO whole VALUES (?, ?, ?, ?, ?, ?, ?)", self._rows
        )
        self._database.execute("COMMIT")
        self._rows.clear()


def _by_number(
    rows: Iterator[tuple[str, int, int, int, bytes]],
) -> Iterator[tuple[int, Iterator[Placed]]]:
    for n, some in groupby(rows, key=itemgetter(1)):
        yield n, (Placed(_decode(text), file, line) for _, _, file, line, text in some)
