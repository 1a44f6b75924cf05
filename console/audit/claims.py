"""What a record claims to be, and whether it is: judged in this one place. Pure.

Whoever can write the log can give anything a hash that fits. So a record is one only if it also has
the fields of a record, each of its type, with times that can be read; all else is altered.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import msgspec

from console.audit.reading import Found, Record
from schemas.audit import SETTLED, seal, signed
from schemas.audit_records import RoomRecord
from schemas.parsing import parse_timestamp

# What the hash of a record does not cover.
_NOT_COVERED = frozenset({"hash", "signature"})
_TIMES = ("time", "arrived", "taken_at", "due", "stalled_since")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# No room will ever have more records, and SQLite holds no number beyond 63 bits.
_GREATEST = 2**53
_HASH = re.compile(rb'"hash":\s*"([0-9a-f]{64})"')
_PREV = re.compile(rb'"prev":\s*"([0-9a-f]{64})"')
_NUMBER = re.compile(rb'"n":\s*(\d{1,15})\s*[,}]')
# What names the room, the surest first: ids of events and alerts begin with it. What could not be
# digested may be in the chain of an account or a shard, whatever its parameters say.
_ROOMS = [
    re.compile(rb'"room_sid":\s*"([^"\\]{1,64})"'),
    re.compile(rb'"(?:events|alerts)":\s*\["([^":\\]{1,64}):'),
    re.compile(rb'"RoomSid":\s*"([^"\\]{1,64})"'),
]


class Claim(NamedTuple):
    """What a record says of its place in a chain."""

    room_sid: str
    # 0 where it has none that can be.
    n: int
    # Hex digits. Empty, like `prev`, where they are not to be relied on.
    hash: str
    prev: str
    # Whether it is as it was written.
    fits: bool
    # Of a first or a closing record, in milliseconds since 1970.
    time_ms: int
    closing: bool


class Remains(NamedTuple):
    """What a line that cannot be read still says of the record that it was."""

    room_sid: str | None
    n: int | None
    hash: str | None
    # None as well in the first record of a chain, which has none.
    prev: str | None


def is_as_written(found: Found) -> bool:
    """Tell whether a record is one, carries the hash of what it says, and says nothing twice."""
    if found.record is None or not _has_its_fields(found.record):
        return False
    covered = {key: said for key, said in found.record.items() if key not in _NOT_COVERED}
    try:
        digest, line = seal(covered)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        # Nothing that was ever written cannot be written again.
        return False
    if digest != found.record.get("hash"):
        return False
    signature = found.record.get("signature")
    if isinstance(signature, str):
        line = signed(line, signature)
    # Of a name that stands there twice, other readers may take the other one.
    return found.text == line[:-1] or not _says_twice(found.text)


def claim_of(found: Found) -> Claim:
    """Read what a record says of its place, as far as that can be."""
    record = found.record or {}
    room_sid, n, prev = record.get("room_sid"), record.get("n"), record.get("prev")
    numbered = isinstance(n, int) and not isinstance(n, bool) and 0 < n < _GREATEST
    linked = isinstance(prev, str) and (prev == "" or _DIGEST.fullmatch(prev) is not None)
    closing = record.get("event") == SETTLED
    fits = numbered and linked and isinstance(room_sid, str) and is_as_written(found)
    return Claim(
        # A lone surrogate is no text that could be kept, or shown.
        room_sid=str(room_sid or "").encode(errors="replace").decode(),
        n=int(n or 0) if numbered else 0,
        hash=str(record.get("hash")) if fits else "",
        prev=str(prev) if fits else "",
        fits=fits,
        # Only chains are told apart by it, from the end of one to the beginning of another.
        time_ms=_milliseconds(record.get("time")) if n == 1 or closing else 0,
        closing=closing,
    )


def remains(text: bytes) -> Remains:
    """Look for what names a record, in a line that can be read no more."""
    text = text.replace(b'\\"', b'"')
    rooms = [found for pattern in _ROOMS if (found := pattern.search(text))]
    number = _NUMBER.search(text)
    digest, previous = _HASH.search(text), _PREV.search(text)
    return Remains(
        room_sid=rooms[0][1].decode(errors="replace") if rooms else None,
        n=int(number[1]) if number else None,
        hash=digest[1].decode() if digest else None,
        prev=previous[1].decode() if previous else None,
    )


def _has_its_fields(record: Record) -> bool:
    try:
        msgspec.convert(record, RoomRecord)
        for name in _TIMES:
            if name in record:
                parse_timestamp(record[name])
    except (msgspec.ValidationError, TypeError, ValueError, OverflowError):
        return False
    return True


def _milliseconds(told: Any) -> int:
    try:
        return parse_timestamp(told) // 1000
    except (TypeError, ValueError):
        return 0


def _says_twice(text: bytes) -> bool:
    twice = False

    def noticed(pairs: list[tuple[str, Any]]) -> None:
        nonlocal twice
        twice = twice or len({name for name, _ in pairs}) < len(pairs)

    json.loads(text, object_pairs_hook=noticed)
    return twice
