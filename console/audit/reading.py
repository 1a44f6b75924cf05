"""Reading worker logs: finds the audit records among all other lines, with the place of each.

It takes off what log shippers put around a line, and says of a line that it was a record even where
it can be read no more. Whether a record is what was written, it does not judge.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from console.audit.sources import Line, Sources
from schemas.audit import SETTLED, seal, signed
from schemas.callbacks import parse_timestamp

Record = dict[str, Any]

# What every record of a chain has; one that is damaged in one place still has the others.
_CHAIN = frozenset({"room_sid", "n", "prev", "hash"})
_MARKS = (b'"room_sid":', b'"n":', b'"prev":', b'"hash":')
# Where shippers put a line: Docker, Fluent Bit and CRI in `log`, Vector, Logstash and CloudWatch in
# `message`, journald's JSON in `MESSAGE`, Google Cloud as an object in `jsonPayload`.
_WRAPPERS = ("log", "message", "MESSAGE", "jsonPayload")
# Lines of Rollcall's own have these. What they quote was said by others and is no record.
_OUR_OWN = ("process", "pid")
# What the hash of a record does not cover.
NOT_COVERED = frozenset({"hash", "signature"})
_DIGEST = re.compile(r"[0-9a-f]{64}")
# No room will ever have more records, and SQLite holds no number beyond 63 bits.
_GREATEST = 2**53
_HASH = re.compile(rb'"hash":\s*"([0-9a-f]{64})"')
_NUMBER = re.compile(rb'"n":\s*(\d{1,15})\b')
_ROOM = re.compile(rb'"(?:room_sid|RoomSid)":\s*"([^"\\]{1,64})"')

_decode = msgspec.json.Decoder().decode


class Found(NamedTuple):
    """An audit record, or what is left of one."""

    line: Line
    # None where it cannot be read.
    record: Record | None
    # The JSON that it was read from, without what is around it.
    text: bytes


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
    # Of a first record, in milliseconds since 1970.
    time_ms: int
    closing: bool


class Remains(NamedTuple):
    """What a line that cannot be read still says of the record that it was."""

    room_sid: str | None
    n: int | None
    hash: str | None


class Reading:
    """One pass over log files."""

    def __init__(self, sources: Sources, *, about: bytes = b"") -> None:
        """Prepare it.

        Args:
            sources: the files.
            about: only lines that hold these bytes are looked at.
        """
        self._sources = sources
        self._about = about
        # How many `lines` there were, `records` among them, lines that were too `long`, and
        # `unfinished` ones at the end of a file.
        self.counts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Found]:
        for line in self._sources.lines():
            self.counts["lines"] += 1
            if line.text is None:
                self.counts["long"] += 1
            # Most lines of others are told by this alone.
            elif self._about in line.text and (b"hash" in line.text or b"prev" in line.text):
                found = found_in(line, line.text)
                if found and (found.record or line.text.endswith(b"\n")):
                    self.counts["records"] += 1
                    yield found
                elif found:
                    # It is being written just now, or its end was cut off with that of the file:
                    # either way the record is not there.
                    self.counts["unfinished"] += 1


def is_as_written(found: Found) -> bool:
    """Tell whether a record carries the hash of what it says, and says nothing twice."""
    if found.record is None:
        return False
    covered = {key: said for key, said in found.record.items() if key not in NOT_COVERED}
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
    fits = numbered and linked and isinstance(room_sid, str) and is_as_written(found)
    return Claim(
        # A lone surrogate is no text that could be kept, or shown.
        room_sid=str(room_sid or "").encode(errors="replace").decode(),
        n=int(n or 0) if numbered else 0,
        hash=str(record.get("hash")) if fits else "",
        prev=str(prev) if fits else "",
        fits=fits,
        # Only beginnings are told apart by it.
        time_ms=_milliseconds(record.get("time")) if n == 1 else 0,
        closing=record.get("event") == SETTLED,
    )


def remains(text: bytes) -> Remains:
    """Look for what names a record, in a line that can be read no more."""
    text = text.replace(b'\\"', b'"')
    room, number, digest = _ROOM.search(text), _NUMBER.search(text), _HASH.search(text)
    return Remains(
        room_sid=room[1].decode(errors="replace") if room else None,
        n=int(number[1]) if number else None,
        hash=digest[1].decode() if digest else None,
    )


def found_in(line: Line, text: bytes) -> Found | None:
    """Find the audit record in a line, or what is left of one; None where there is none."""
    start, end = text.find(b'{"'), text.rfind(b"}")
    inner = text[start : end + 1] if 0 <= start < end else b""
    try:
        value = _decode(inner)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return Found(line, None, text) if _was_record(text) else None
    if not isinstance(value, dict):
        return None
    if _is_record(value):
        return Found(line, value, inner)
    return None if all(name in value for name in _OUR_OWN) else _unwrapped(line, value, inner)


def _unwrapped(line: Line, outer: Record, text: bytes) -> Found | None:
    for name in _WRAPPERS:
        inner = outer.get(name)
        if isinstance(inner, dict) and _is_record(inner):
            return Found(line, inner, text)
        if isinstance(inner, str) and ("hash" in inner or "prev" in inner):
            return found_in(line, inner.encode(errors="replace"))
    return None


def _is_record(value: Record) -> bool:
    return value.keys() >= _CHAIN or len(value.keys() & _CHAIN) == len(_CHAIN) - 1


def _was_record(text: bytes) -> bool:
    plain = text.replace(b'\\"', b'"')
    return sum(mark in plain for mark in _MARKS) >= len(_MARKS) - 2


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
