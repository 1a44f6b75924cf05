"""Audit records: what a worker writes down of each callback, chained for each room.

One JSON line each. `hash` is the SHA-256 over the record without `hash` and `signature`, in
canonical form (JSON, keys sorted, UTF-8, no blanks); `prev` is the hash of the room's record
before, `n` its number. The chain's head is committed with the room's facts, so a missing or altered
line shows, whichever worker wrote it. The fields of records are in
`schemas/audit_records.py`, the words for reasons in `schemas/audit_reasons.py`.

What a reader must know beside the fields: a line may occur twice, being the same to the byte (its
worker died after writing it). Where Redis has lost its tail, a chain forks: two records have the
same `prev`. And a room that is heard of again after its tombstone is gone (30 days after it
expired) begins another chain, with `n` 1 and an empty `prev`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Literal

import msgspec

AuditVerdict = Literal["applied", "duplicate", "too-late", "unrecognised", "set-aside"]

# The constant `event` names of audit lines.
RECORDS: dict[AuditVerdict, str] = {
    "applied": "callback_applied",
    "duplicate": "callback_duplicate",
    "too-late": "callback_too_late",
    "unrecognised": "callback_unrecognised",
    "set-aside": "callback_set_aside",
}
# The same for what time alone has changed.
TIMER = "timer_elapsed"
# Wherever no more is expected of a room: the totals up to there.
SETTLED = "room_settled"
# Not of a room, and in no chain: a worker says what it concludes with.
STARTED = "worker_started"

# Texts that stand for an identity or a name begin so, where ROLLCALL_AUDIT_IDENTITY is `hashed`.
PSEUDONYM = "hmac:"
# What ROLLCALL_AUDIT_IDENTITY may be.
PLAIN, HASHED = "plain", "hashed"

# What a hash does not cover.
_BESIDE = frozenset({"hash", "signature"})
# What the SIDs of rooms begin with; other chains are those of accounts and shards.
_ROOM = "RM"

# JSON as it is hashed: keys sorted at every level, no blanks.
canonical = msgspec.json.Encoder(order="deterministic").encode


def is_of_a_room(room_sid: str) -> bool:
    """Tell whether a chain can ever be over; more is always expected of an account or a shard."""
    return room_sid.startswith(_ROOM)


def seal(record: dict[str, Any]) -> tuple[str, bytes]:
    """Give a record its hash.

    Args:
        record: with `n` and `prev`, without `hash`; of JSON types.

    Returns:
        the hash, and the line to log, with its newline.
    """
    covered = canonical(record)
    digest = sha256(covered).hexdigest()
    return digest, covered[:-1] + b',"hash":"' + digest.encode() + b'"}\n'


def signed(line: bytes, signature: str) -> bytes:
    """Put a signature of its hash beside the hash of a sealed line."""
    return line[:-2] + b',"signature":"' + signature.encode() + b'"}\n'


def digest_of(record: dict[str, Any]) -> str:
    """Work out the hash that a logged record should carry."""
    return seal({name: value for name, value in record.items() if name not in _BESIDE})[0]
