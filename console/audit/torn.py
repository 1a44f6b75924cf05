"""Torn lines: a worker was killed while it wrote, and the next one has written the record again.

Of what was written again whole nothing is lost. That is told by the hash, where the line still has
it; else by the hash of the record before; else by room and number. Works on a database that has a
table or view `whole` of the records that are as they were written.
"""

from __future__ import annotations

import sqlite3

from console.audit.claims import Remains

# In `lost` are those that were not written again. A damaged file may have millions, so it is left
# to the database to count them or to put them elsewhere.
TABLES = """
    CREATE TABLE remains (room TEXT, n INT, hash BLOB, prev BLOB, file INT, line INT);
    CREATE VIEW lost AS
    SELECT coalesce(room, '') AS room, coalesce(n, 0) AS n, file, line FROM remains WHERE NOT CASE
        WHEN hash IS NOT NULL THEN EXISTS (SELECT 1 FROM whole WHERE whole.hash = remains.hash)
        WHEN prev IS NOT NULL THEN EXISTS (SELECT 1 FROM whole WHERE whole.prev = remains.prev)
        ELSE EXISTS (SELECT 1 FROM whole WHERE whole.room = remains.room AND whole.n = remains.n)
    END;
"""


def keep(database: sqlite3.Connection, remains: Remains, file: int, line: int) -> None:
    """Keep what is left of a record that cannot be read."""
    digest, previous = (one and bytes.fromhex(one) for one in (remains.hash, remains.prev))
    database.execute(
        "INSERT INTO remains VALUES (?, ?, ?, ?, ?, ?)",
        (remains.room_sid, remains.n, digest, previous, file, line),
    )
