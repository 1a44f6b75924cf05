"""Lines that a container runtime has cut in pieces, put together again.

Docker and CRI runtimes keep 16 KiB at a time. Docker's json-file leaves the newline off all but the
last piece (https://docs.docker.com/engine/logging/drivers/json-file/); CRI marks pieces with P and
the last one with F
(https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md).
Knows nothing of what a line says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from console.audit import sources
from console.audit.sources import Line

_CRI = re.compile(rb"\S{10,40} (stdout|stderr) ([PF])(?::\S*)? ")
_DOCKER = b'{"log":"'
# What Docker puts into one piece.
_PIECE = 16 * 1024

_decode = msgspec.json.Decoder().decode


class _Piece(NamedTuple):
    """What a runtime wrote at a time."""

    stream: str
    text: bytes
    is_last: bool


def joined(lines: Iterable[Line]) -> Iterator[Line]:
    """Put pieces together; a line has the number of its first. Others are left as they are.

    Pieces of both streams may alternate. What would be longer than any record is None, as in files.
    """
    begun: dict[tuple[int, str], Line] = {}
    for line in lines:
        piece = _piece(line.text, is_awaited=bool(begun)) if line.text else None
        if piece is None:
            yield line
            continue
        before = begun.pop((line.file, piece.stream), None)
        if before is None and piece.is_last:
            yield line
            continue
        whole = _longer(before or line._replace(text=b""), piece.text)
        if piece.is_last:
            yield whole
        else:
            begun[line.file, piece.stream] = whole
    # Their last pieces are not there.
    yield from begun.values()


def _longer(line: Line, text: bytes) -> Line:
    if line.text is None or len(line.text) + len(text) > sources.LONGEST_LINE:
        return line._replace(text=None)
    return line._replace(text=line.text + text)


def _piece(text: bytes, *, is_awaited: bool) -> _Piece | None:
    """Read what may be a piece; None where the line is no runtime's.

    Args:
        text: the line.
        is_awaited: whether the rest of another line is to come.
    """
    if found := _CRI.match(text):
        is_last = found[2] == b"F"
        said = text[found.end() :]
        return _Piece(found[1].decode(), said if is_last else said.rstrip(b"\r\n"), is_last)
    # Only long lines are cut, and most lines are short.
    if not text.startswith(_DOCKER) or not (is_awaited or len(text) >= _PIECE):
        return None
    try:
        told = _decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    log, stream = told.get("log"), told.get("stream")
    if not isinstance(log, str) or not isinstance(stream, str):
        return None
    said = log.encode(errors="replace")
    # Shippers that have put the pieces together leave the newline off as well.
    is_last = log.endswith("\n") or len(said) < _PIECE // 2 or _is_whole(said)
    return _Piece(stream, said, is_last)


def _is_whole(said: bytes) -> bool:
    if not said.startswith(b"{"):
        return False
    try:
        _decode(said)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return True
