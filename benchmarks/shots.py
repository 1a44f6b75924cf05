"""Shots: callbacks as whole requests, which the sender fires. Kept in a file; signs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec


class Mark(NamedTuple):
    """What a callback and the first event that follows from it have in common."""

    subject: str
    time: str


class Shot(NamedTuple):
    """One request, whole."""

    request: bytes
    mark: Mark


def write_shots(path: Path, shots: list[Shot]) -> None:
    """Write them to a file."""
    path.write_bytes(msgspec.msgpack.encode(shots))


def read_shots(path: Path) -> list[Shot]:
    """Read what was written."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[Shot])
