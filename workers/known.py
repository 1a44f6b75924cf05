"""What is known: the records of rooms as this process has committed them, not to be read again.

Valid only while the commit token stands that was written with them: whoever else commits writes
another, and a Redis that has lost its tail has an older one. Bounded; knows no Redis.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from workers.batch import Hold
from workers.records import Record

# Of records as they are stored, for all shards together. As objects they take six to nine times as
# much, in each process of a worker: some 30 MiB at the most, however many shards there are.
_BYTES = 4 << 20


class Kept(NamedTuple):
    """A room's record, and how many bytes it has where it is stored."""

    record: Record
    size: int


class Known:
    """The rooms that a process knows."""

    def __init__(self) -> None:
        # With which token the rooms of a shard are known.
        self._tokens: dict[int, str] = {}
        # By shard and RoomSid; the one that was asked for or noted last comes last. To find the
        # first of a plain dictionary, all that was ever removed before it is passed.
        self._rooms: OrderedDict[tuple[int, str], Kept] = OrderedDict()
        self._size = 0

    def among(self, hold: Hold, room_sids: Iterable[str]) -> dict[str, Record]:
        """Tell what is known of these rooms: nothing, where others have committed since."""
        if self._tokens.get(hold.shard) != hold.token:
            self._forget(hold.shard)
        found = {}
        for room_sid in room_sids:
            place = hold.shard, room_sid
            kept = self._rooms.get(place)
            if kept:
                self._rooms.move_to_end(place)
                found[room_sid] = kept.record
        return found

    def note(self, before: Hold, after: Hold, rooms: Mapping[str, Kept | None]) -> None:
        """Note what a commit has written.

        Args:
            before: the hold with which it was made.
            after: the one that it left.
            rooms: the rooms it was about; None for those that must be read again.
        """
        shard = before.shard
        # It comes back last: should this break off half way, nothing is known of the shard.
        if self._tokens.pop(shard, None) != before.token:
            self._forget(shard)
        for room_sid, kept in rooms.items():
            self._drop(shard, room_sid)
            if kept:
                self._rooms[shard, room_sid] = kept
                self._size += kept.size
        while self._size > _BYTES:
            self._size -= self._rooms.popitem(last=False)[1].size
        self._tokens[shard] = after.token

    def _drop(self, shard: int, room_sid: str) -> None:
        kept = self._rooms.pop((shard, room_sid), None)
        if kept:
            self._size -= kept.size

    def _forget(self, shard: int) -> None:
        self._tokens.pop(shard, None)
        for of, room_sid in [*self._rooms]:
            if of == shard:
                self._drop(of, room_sid)
