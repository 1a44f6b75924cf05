"""A room's record: its facts, and the ledger of what was made known of it. Stored as MessagePack.

Facts merge and have no order; the ledger is what order has: how many events were published, the
ids that the next ones build on, the head of the audit chain. Both are committed together.
"""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.errors import UnknownVersionError, UnreadableRecordError
from workers.room.facts import NOTHING, Facts
from workers.room.value import Value, replace

# Raised when facts change their form; a worker hands back what a newer one has written.
VERSION = 3
# The version before lacked a field at the end, and is read as if that had been left empty.
_READ = frozenset({2, VERSION})


class Ledger(Value):
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
    # Since when alerts are raised of which nothing tells when they began, by their dedup_key.
    raised: dict[str, int] = {}  # noqa: RUF012  # never changed in place
    # How many callbacks had which verdict, and the terms that the last audit record names.
    callbacks: dict[str, int] = {}  # noqa: RUF012  # never changed in place
    audit_basis: str = ""


class Record(Value):
    """All that is stored of a room."""

    version: int = VERSION
    facts: Facts = NOTHING
    ledger: Ledger = Ledger()


class Tombstone(Value):
    """What stays of a room that ended long ago: what the next event of it would build on."""

    room_sid: str
    account_sid: str
    looked: int
    editions: int
    revision: int
    event_digest: str
    alerts: int
    alert_digest: str
    audit_records: int
    audit_head: bytes
    # For the totals of the next closing record.
    callbacks: dict[str, int] = {}  # noqa: RUF012  # never changed in place


NEW = Record()

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode
# The rest is left unread: only this much is the same in every version.
_decode_version = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw, msgspec.Raw]).decode
# A tombstone stands where the ledger does, and nothing where the facts do.
_decode_tombstone = msgspec.msgpack.Decoder(tuple[int, None, Tombstone]).decode
_NOTHING = _encode(None)
# What a record of this version begins with: that it has three parts, and the version. Nearly all
# do, and need not be read twice.
_LATEST = _encode(NEW)[:2]
_LATEST_TOMBSTONE = _LATEST + _NOTHING


def encode(record: Record) -> bytes:
    """Encode a record for storing."""
    if record.facts.expired and not record.facts.told:
        return _encode((record.version, None, _tombstone(record.facts, record.ledger)))
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
        if stored.startswith(_LATEST) and not stored.startswith(_LATEST_TOMBSTONE):
            return _decode(stored)
        version, facts, _ = _decode_version(stored)
        if version in _READ and bytes(facts) == _NOTHING:
            return _risen(_decode_tombstone(stored)[2])
        if version in _READ:
            return replace(_decode(stored), version=VERSION)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableRecordError(f"A room's record cannot be read: {error}.") from error
    raise UnknownVersionError(
        f"A room's record has version {version}; this worker knows {VERSION}."
    )


def _tombstone(facts: Facts, ledger: Ledger) -> Tombstone:
    return Tombstone(
        room_sid=facts.room_sid,
        account_sid=facts.account_sid,
        looked=facts.looked,
        editions=facts.editions,
        revision=ledger.revision,
        event_digest=ledger.last_event_id.rpartition(":")[2],
        alerts=ledger.alerts,
        alert_digest=ledger.last_alert_id.rpartition(":")[2],
        audit_records=ledger.audit_records,
        audit_head=bytes.fromhex(ledger.audit_head),
        callbacks=ledger.callbacks,
    )


def _risen(stone: Tombstone) -> Record:
    facts = Facts(
        room_sid=stone.room_sid,
        account_sid=stone.account_sid,
        looked=stone.looked,
        editions=stone.editions,
        expired=True,
    )
    event_id = f"{stone.room_sid}:{stone.revision}:{stone.event_digest}"
    alert_id = f"{stone.room_sid}:a{stone.alerts}:{stone.alert_digest}"
    ledger = Ledger(
        revision=stone.revision,
        last_event_id=event_id if stone.event_digest else "",
        alerts=stone.alerts,
        last_alert_id=alert_id if stone.alert_digest else "",
        audit_records=stone.audit_records,
        audit_head=stone.audit_head.hex(),
        callbacks=stone.callbacks,
    )
    return Record(facts=facts, ledger=ledger)
