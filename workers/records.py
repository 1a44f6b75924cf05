"""A room's record: its facts, and the ledger of what was made known of it. Stored as MessagePack.

Facts merge and have no order; the ledger is what order has: how many events were published, the
ids that the next ones build on, the head of the audit chain. Both are committed together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from schemas.errors import UnknownVersionError, UnreadableRecordError
from workers.room.facts import NOTHING, Facts

# Raised when facts change their form; a worker hands back what a newer one has written.
VERSION = 1


class Ledger(NamedTuple):
    """What was made known of a room."""

    revision: int = 0
    last_event_id: str = ""
    alerts: int = 0
    last_alert_id: str = ""
    audit_records: int = 0
    audit_head: str = ""
    # The data of each eviction as it was published, by the SID of the evicted: should it have to be
    # retracted, its remarks may have been refined since.
    evictions: dict[str, dict[str, Any]] = {}  # noqa: RUF012  # never changed in place


class Record(NamedTuple):
    """All that is stored of a room."""

    version: int = VERSION
    facts: Facts = NOTHING
    ledger: Ledger = Ledger()


NEW = Record()

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode
# The rest is left unread: only this much is the same in every version.
_decode_version = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw, msgspec.Raw]).decode


def encode(record: Record) -> bytes:
    """Encode a record for storing."""
    return _encode(record)


def decode(stored: bytes | None) -> Record:
    """Read a stored record; a room that nothing is stored of is new.

    Raises:
        UnknownVersionError: a newer Rollcall wrote it.
        UnreadableRecordError: nobody's code wrote it, or it was damaged since.
    """
    if stored is None:
        return NEW
    try:
        version = _decode_version(stored)[0]
        if version == VERSION:
            return _decode(stored)
    except msgspec.DecodeError as error:
        raise UnreadableRecordError(f"A room's record cannot be read: {error}.") from error
    raise UnknownVersionError(
        f"A room's record has version {version}; this worker knows {VERSION}."
    )
