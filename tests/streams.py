"""Reading what Rollcall publishes, as a consumer does, and checking what must hold of all of it."""

from __future__ import annotations

from collections import defaultdict
from functools import reduce
from hashlib import sha256
from typing import Any, NamedTuple

from redis import Redis

from schemas.events import TYPE_PREFIX, decode_entry
from workers.room.diff import Event
from workers.room.fold import fold
from workers.room.view import View


class Published(NamedTuple):
    attributes: dict[str, str]
    data: dict[str, Any]
    # `data` as it stands in the stream.
    raw: bytes

    @property
    def kind(self) -> str:
        return self.attributes["type"].removeprefix(TYPE_PREFIX)


def published(redis: Redis, stream: str = "rollcall:events") -> list[Published]:
    entries = [entry for _, entry in redis.xrange(stream)]
    return [Published(*decode_entry(entry), entry[b"data"]) for entry in entries]


def by_room(events: list[Published]) -> dict[str, list[Published]]:
    rooms: dict[str, list[Published]] = defaultdict(list)
    for event in events:
        rooms[event.attributes["roomsid"]].append(event)
    return rooms


def folded(events: list[Published]) -> View:
    told = (Event(e.kind, e.attributes["subject"], 0, e.data) for e in events)
    return reduce(fold, told, View())


def check_chain(events: list[Published], number: str = "roomrevision", mark: str = "") -> None:
    """Check that one room's events count 1, 2, 3 … and that each id builds on the one before."""
    previous = ""
    for expected, event in enumerate(events, start=1):
        of = event.attributes
        assert of[number] == str(expected)
        text = "\n".join((previous, of["type"], of["subject"], of["time"], ""))
        digest = sha256(text.encode() + event.raw).hexdigest()[:8]
        assert of["id"] == f"{of['roomsid']}:{mark}{expected}:{digest}"
        previous = of["id"]
