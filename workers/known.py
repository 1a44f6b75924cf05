"""What is known: the records of rooms as this process has committed them, not to be read again.

Valid only while the commit token stands that was written with them: whoever else commits writes
another, and a Redis that has lost its tail has an older one. Bounded; knows no Redis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from workers.batch import Hold
from workers.records import Record

# Of records as they are stored, a shard. As objects they take several times as much.
_BYTES = 1 << 20


class Kept(NamedTuple):
    """A room's record, and how many bytes it has where it is stored."""

    record: Record
    size: int


class _Shard:
    """What is known of one shard; the room that was heard of last comes last."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.rooms: dict[str, Kept] = {}
        self.size = 0

    def put(self, room_sid: str, kept: Kept) -> None:
        self.drop(room_sid)
        self.rooms[room_sid] = kept
        self.size += kept.size

    def drop(self, room_sid: str) -> None:
        before = self.rooms.pop(room_sid, None)
        if before:
            self.size -= before.size


class Known:
    """The rooms that a process knows, shard by shard."""

    def __init__(self) -> None:
        self._shards: dict[int, _Shard] = {}

    def among(self, hold: Hold, room_sids: Iterable[str]) -> dict[str, Record]:
        """Tell what is known of these rooms: nothing, where others have committed since."""
        shard = self._shards.get(hold.shard)
        if shard is None or shard.token != hold.token:
            return {}
        return {sid: shard.rooms[sid].record for sid in room_sids if sid in shard.rooms}

    def note(self, before: Hold, after: Hold, rooms: Mapping[str, Kept | None]) -> None:
        """Note what a commit has written.

        Args:
            before: the hold with which it was made.
            after: the one that it left.
            rooms: the rooms it was about; None for those that must be read again.
        """
        shard = self._shards.get(before.shard)
        if shard is None or shard.token != before.token:
            shard = self._shards[before.shard] = _Shard("")
        shard.token = after.token
        for room_sid, kept in rooms.items():
            if kept is None:
                shard.drop(room_sid)
            else:
                shard.put(room_sid, kept)
        while shard.size > _BYTES:
            shard.drop(next(iter(shard.rooms)))
