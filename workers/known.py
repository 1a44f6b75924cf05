"""What is known: records of rooms as this process's commits left them, not to be loaded again.

Valid only while the commit token stands that was written with them: whoever else commits writes
another, and a Redis that has lost its tail has an older one. What was loaded and not committed with
may be of any other, and is not noted. Kept as they are stored: to read one takes less time than to
fetch its objects from far memory, and an eighth of the space. Bounded; knows no Redis.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from workers.batch import Hold, Stored

# Of all shards together, in each process of a worker: the records of 20,000 small live rooms, or of
# 6,000 with ten people each.
_BYTES = 32 << 20
# What each takes beside its bytes: its RoomSid, and its place.
_PLACE_BYTES = 300


class _Rooms:
    """The rooms of one shard that are known while a commit token stands."""

    def __init__(self, token: str) -> None:
        self.token = token
        # Of a room that nothing is stored of, None. The one that was asked for or noted last comes
        # last: to find the first of a plain dictionary, all that was ever removed before it is
        # passed.
        self._records: OrderedDict[str, bytes | None] = OrderedDict()
        self._size = 0

    def among(self, room_sids: Iterable[str]) -> dict[str, bytes | None]:
        found = {sid: self._records[sid] for sid in room_sids if sid in self._records}
        for room_sid in found:
            self._records.move_to_end(room_sid)
        return found

    def put(self, room_sid: str, record: bytes | None) -> None:
        self.drop(room_sid)
        self._records[room_sid] = record
        self._size += _size_of(record)

    def drop(self, room_sid: str) -> None:
        if room_sid in self._records:
            self._size -= _size_of(self._records.pop(room_sid))

    def shrink(self, bound: int) -> None:
        while self._size > bound:
            self._size -= _size_of(self._records.popitem(last=False)[1])


def _size_of(record: bytes | None) -> int:
    return _PLACE_BYTES + len(record or b"")


class Known:
    """The rooms that a process knows."""

    def __init__(self, shards: int) -> None:
        """Know nothing yet of so many shards, each of which may take its part of the space."""
        self._bound = _BYTES // shards
        self._shards: dict[int, _Rooms] = {}

    def among(self, hold: Hold, room_sids: Iterable[str]) -> dict[str, bytes | None]:
        """Tell what is known of these rooms: nothing, where others have committed since."""
        known = self._taken_out(hold)
        self._shards[hold.shard] = known
        return known.among(room_sids)

    def note(
        self,
        before: Hold,
        after: Hold,
        left: Mapping[str, bytes | None],
        rooms: Mapping[str, Stored],
    ) -> None:
        """Note what a commit has found and written. Nothing else is sure to be of its token.

        Args:
            before: the hold with which it was made.
            after: the one that it left.
            left: the records that it has left as they are, None where nothing is stored of a room.
            rooms: what it stored of each room that it was about.
        """
        # It comes back last: should this break off half way, nothing is known of the shard.
        known = self._taken_out(before)
        for room_sid, record in left.items():
            known.put(room_sid, record)
        for room_sid, stored in rooms.items():
            # What is kept for a time only may be gone by the next time, and what was left as it
            # was is not at hand.
            if stored.record and not stored.keep_ms:
                known.put(room_sid, stored.record)
            else:
                known.drop(room_sid)
        known.shrink(self._bound)
        known.token = after.token
        self._shards[after.shard] = known

    def _taken_out(self, hold: Hold) -> _Rooms:
        known = self._shards.pop(hold.shard, None)
        return known if known and known.token == hold.token else _Rooms(hold.token)
