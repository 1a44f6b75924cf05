"""Reading worker logs: finds the audit records among all other lines, with the place of each.

It takes off what log shippers put around a line, and says of a line that it was a record even where
it can be read no more. Whether a record is what was written, `console/audit/claims.py` judges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from console.audit.parts import joined
from console.audit.sources import Line, Sources

Record = dict[str, Any]

# What every record of a chain has; one that is damaged in one place still has the others.
_CHAIN = frozenset({"room_sid", "n", "prev", "hash"})
_MARKS = (b'"room_sid":', b'"n":', b'"prev":', b'"hash":')
# Where shippers put a line: Docker, Fluent Bit and CRI in `log`, Vector, Logstash and CloudWatch in
# `message`, journald's JSON in `MESSAGE`, Google Cloud as an object in `jsonPayload`.
_WRAPPERS = ("log", "message", "MESSAGE", "jsonPayload")
# What every record begins with as it is written, its names being sorted. Nothing in JSON that a
# record holds can look so: quotes in a text are escaped.
_BEGINNING = b'{"alerts":['
# Lines of Rollcall's own have these. What they quote was said by others and is no record.
_OUR_OWN = ("process", "pid")
_decode = msgspec.json.Decoder().decode


class Found(NamedTuple):
    """An audit record, or what is left of one."""

    line: Line
    # None where it cannot be read.
    record: Record | None
    # The JSON that it was read from, without what is around it.
    text: bytes


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
        for line in joined(self._sources.lines()):
            self.counts["lines"] += 1
            if line.text is None:
                self.counts["long"] += 1
            # Most lines of others are told by this alone.
            elif self._about in line.text and (b"hash" in line.text or b"prev" in line.text):
                yield from self._found(line, line.text)

    def _found(self, line: Line, text: bytes) -> Iterator[Found]:
        for found in found_in(line, text):
            if found.record or text.endswith(b"\n"):
                self.counts["records"] += 1
                yield found
            else:
                # It is being written just now, or its end was cut off with that of the file:
                # either way the record is not there.
                self.counts["unfinished"] += 1


def found_in(line: Line, text: bytes) -> Iterator[Found]:
    """Find the audit record in a line, or what is left of one.

    There may be several: where a worker was killed while it wrote, what was written next stands
    behind half a record, without a newline between them.
    """
    value, inner = _read(text)
    if isinstance(value, dict):
        yield from _of_object(line, value, inner)
    else:
        for piece in _pieces(text):
            value, inner = _read(piece)
            if isinstance(value, dict) and _is_record(value):
                yield Found(line, value, inner)
            elif _was_record(piece):
                yield Found(line, None, piece)


def _read(text: bytes) -> tuple[Any, bytes]:
    """Read the JSON in a text; give what it says, or None, and the part that was read."""
    start, end = text.find(b'{"'), text.rfind(b"}")
    inner = text[start : end + 1] if 0 <= start < end else text
    try:
        return _decode(inner), inner
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None, inner


def _pieces(text: bytes) -> Iterator[bytes]:
    """Cut a text that cannot be read where records begin."""
    before, *begun = text.split(_BEGINNING)
    yield before
    yield from (_BEGINNING + rest for rest in begun)


def _of_object(line: Line, value: Record, inner: bytes) -> Iterator[Found]:
    if _is_record(value):
        yield Found(line, value, inner)
    elif not all(name in value for name in _OUR_OWN):
        yield from _unwrapped(line, value, inner)


def _unwrapped(line: Line, outer: Record, text: bytes) -> Iterator[Found]:
    for name in _WRAPPERS:
        inner = outer.get(name)
        if isinstance(inner, dict) and _is_record(inner):
            yield Found(line, inner, text)
            return
        if isinstance(inner, str) and ("hash" in inner or "prev" in inner):
            yield from found_in(line, inner.encode(errors="replace"))
            return


def _is_record(value: Record) -> bool:
    return value.keys() >= _CHAIN or len(value.keys() & _CHAIN) == len(_CHAIN) - 1


def _was_record(text: bytes) -> bool:
    plain = text.replace(b'\\"', b'"')
    return sum(mark in plain for mark in _MARKS) >= len(_MARKS) - 2
