"""Audit records: one JSON line a callback in the worker log, chained for each room.

`hash` is the SHA-256 over the record without it, in canonical form (JSON, keys sorted, UTF-8, no
blanks); `prev` is the hash of the room's record before, `n` its number. The chain's head is
committed with the room's facts, so a missing or altered line shows, whichever worker wrote it.
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

_canonical = msgspec.json.Encoder(order="deterministic").encode


def seal(record: dict[str, Any]) -> tuple[str, bytes]:
    """Give a record its hash.

    Args:
        record: with `n` and `prev`, without `hash`; of JSON types.

    Returns:
        the hash, and the line to log, with its newline.
    """
    canonical = _canonical(record)
    digest = sha256(canonical).hexdigest()
    return digest, canonical[:-1] + b',"hash":"' + digest.encode() + b'"}\n'


def digest_of(record: dict[str, Any]) -> str:
    """Work out the hash that a logged record should carry."""
    return seal({name: value for name, value in record.items() if name != "hash"})[0]
