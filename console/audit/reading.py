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
from schemas.audit import seal, signed

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
                found = _found(line, line.text)
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


def remains(text: bytes) -> Remains:
    """Look for what names a record, in a line that can be read no more."""
    text = text.replace(b'\\"', b'"')
    room, number, digest = _ROOM.search(text), _NUMBER.search(text), _HASH.search(text)
    return Remains(
        room_sid=room[1].decode(errors="replace") if room else None,
        n=int(number[1]) if number else None,
        hash=digest[1].decode() if digest else None,
    )


def _found(line: Line, text: bytes) -> Found | None:
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
            return _found(line, inner.encode(errors="replace"))
    return None


def _is_record(value: Record) -> bool:
    return value.keys() >= _CHAIN or len(value.keys() & _CHAIN) == len(_CHAIN) - 1


def _was_record(text: bytes) -> bool:
    plain = text.replace(b'\\"', b'"')
    return sum(mark in plain for mark in _MARKS) >= len(_MARKS) - 2


def _says_twice(text: bytes) -> bool:
    twice = False

    def noticed(pairs: list[tuple[str, Any]]) -> None:
        nonlocal twice
        twice = twice or len({name for name, _ in pairs}) < len(pairs)

    json.loads(text, object_pairs_hook=noticed)
    return twice
