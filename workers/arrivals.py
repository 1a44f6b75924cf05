"""Arrivals: the entries of an inbox, read as far as they can be. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

from schemas import inbox
from schemas.errors import IndigestibleError
from schemas.keys import shard_of
from schemas.reading import room_of
from workers.batch import Entry
from workers.intake import callback_from
from workers.room.callback import Callback
from workers.room.value import Value, replace

# What a batch takes in at the most, in bytes; a larger one would block Redis.
_BATCH_BYTES = 1 << 20
# What is stamped with a time that nobody's clock can have shown yet would make everything that
# follows too late. Clocks may differ by a day's worth of time zones, and not by more.
_AHEAD = 24 * 3600 * 1_000_000


class Fault(NamedTuple):
    """Why a callback cannot be digested: an error's reason, and its text."""

    reason: str
    detail: str


class Arrival(Value):
    """One entry of an inbox."""

    entry_id: bytes
    fields: Mapping[bytes, bytes]
    room_sid: str
    # Arrival time, in microseconds since 1970.
    at: int
    deposit: inbox.Deposit | None = None
    callback: Callback | None = None
    fault: Fault | None = None

    @property
    def digest(self) -> str:
        """A name for what lies in the entry, the same for a repetition."""
        return sha256(b"\n".join(self.fields.values())).hexdigest()[:16]


def arrived_at(entry_id: bytes) -> int:
    """Tell when an entry came, in microseconds since 1970: its id begins with the milliseconds."""
    return int(entry_id.partition(b"-")[0]) * 1000


def pseudo_room(shard: int) -> str:
    """Where entries are accounted for that tell no room, or one whose record cannot be read."""
    return f"shard-{shard}"


def read_entries(shard: int, entries: Iterable[Entry]) -> list[Arrival]:
    """Read the entries of one batch, as many as fit into its bytes; at least one."""
    arrivals: list[Arrival] = []
    size = 0
    for entry_id, fields in entries:
        size += sum(len(value) for value in fields.values())
        if arrivals and size > _BATCH_BYTES:
            break
        arrivals.append(_read_entry(entry_id, fields, pseudo_room(shard)))
    return arrivals


def in_its_place(arrival: Arrival, shard: int, shards: int) -> Arrival:
    """Have nothing concluded of a room that another shard keeps.

    A door that stood still while the number of shards was changed may deposit once by the old one.
    """
    if not arrival.callback or shard_of(arrival.room_sid, shards) == shard:
        return arrival
    fault = Fault(IndigestibleError.reason, f"{arrival.room_sid}: of another shard than {shard}")
    return replace(arrival, room_sid=pseudo_room(shard), fault=fault)


def _read_entry(entry_id: bytes, fields: Mapping[bytes, bytes], room_sid: str) -> Arrival:
    """Read an entry; `room_sid` is where it is accounted for unless it tells its room."""
    at, deposit, callback, fault = arrived_at(entry_id), None, None, None
    try:
        found = inbox.decode(fields)
        room_sid, deposit = room_of(found.params), found
        callback = callback_from(found.params, at)
        if callback.at > at + _AHEAD:
            callback, fault = None, Fault(IndigestibleError.reason, "of the future")
    except KeyError as error:
        fault = Fault(IndigestibleError.reason, f"without {error}")
    except IndigestibleError as error:
        fault = Fault(error.reason, str(error))
    return Arrival(entry_id, fields, room_sid, at, deposit, callback, fault)
