"""The books of a soak: of each room what was sent, acknowledged and published, in half a KiB.

A soak cannot keep a million callbacks. The numbers of callbacks are bits of an integer, and of
events the last id is kept, with what they fold to until the room is settled. The sender writes one
half and the reader the other; `comparison.py` holds both beside what Redis has.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from streams import Published

from schemas.events import chain_digest
from workers.room.diff import Event
from workers.room.fold import fold
from workers.room.view import View

# Were everything wrong, nobody would read more of it.
_MOST_PROBLEMS = 20


@dataclass(slots=True)
class Chain:
    """How far the events of a room, or its alerts, were read."""

    number: int = 0
    last_id: str = ""

    def follow(self, one: Published, name: str, mark: str = "") -> str:
        """Go on to the next; return what is wrong with it, nothing where all is well.

        Args:
            one: the next that was published.
            name: of the attribute that counts.
            mark: what stands before the number in an id.
        """
        of = one.attributes
        number = int(of[name])
        if number <= self.number:
            return f"{name} {number} came again"
        digest = chain_digest(self.last_id, of["type"], of["subject"], of["time"], one.raw)
        wrong = ""
        if number > self.number + 1:
            wrong = f"{name} {number} came after {self.number}"
        elif of["id"] != f"{of['roomsid']}:{mark}{number}:{digest}":
            wrong = f"the id of {name} {number} does not build on the one before"
        self.number, self.last_id = number, of["id"]
        return wrong


@dataclass(slots=True)
class Room:
    """What is known of a room."""

    # Bit n stands for the callback with the number n.
    sent: int = 0
    acknowledged: int = 0
    events: Chain = field(default_factory=Chain)
    alerts: Chain = field(default_factory=Chain)
    # What the events fold to; None once the room was settled and found to be right.
    believed: View | None = field(default_factory=View)
    # The alerts that are raised, by their dedup_key.
    raised: frozenset[str] = frozenset()


class Books:
    """All rooms, and what was counted. Two threads write, each its own fields and counts."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        # Rooms that are settled, and were not looked at yet.
        self.settled: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []

    def note_problem(self, what: str) -> None:
        """Note what is not as it should be."""
        self.counts["problems"] += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(what)

    def send(self, sid: str, number: int) -> None:
        """Note that a callback is sent, for the first time or once more."""
        room = self._room(sid)
        bit = 1 << number
        self.counts["sent twice" if room.sent & bit else "sent"] += 1
        room.sent |= bit

    def acknowledge(self, sid: str, number: int) -> None:
        """Note that it was answered 204."""
        room = self._room(sid)
        bit = 1 << number
        self.counts["acknowledged"] += not room.acknowledged & bit
        room.acknowledged |= bit

    def hear(self, one: Published) -> None:
        """Take an event or an alert from its stream, in its order."""
        sid = one.attributes["roomsid"]
        if one.kind.startswith("alert."):
            self.counts["alerts"] += 1
            wrong = self._room(sid).alerts.follow(one, "roomalert", "a")
        else:
            self.counts["events"] += 1
            wrong = self._room(sid).events.follow(one, "roomrevision")
        if wrong:
            self.note_problem(f"{sid}: {wrong}")
        # What came again must not be believed again as well.
        if wrong.endswith("again"):
            self.counts["doubled"] += 1
        elif one.kind.startswith("alert."):
            self._hear_alert(sid, one)
        else:
            self._believe(sid, one)

    def _hear_alert(self, sid: str, alert: Published) -> None:
        room, key = self._room(sid), alert.data["dedup_key"]
        if alert.kind == "alert.raised" and key in room.raised:
            self._say_twice(sid, alert)
        room.raised = room.raised - {key} if alert.kind == "alert.resolved" else room.raised | {key}

    def _believe(self, sid: str, event: Published) -> None:
        room = self._room(sid)
        if event.kind == "room.settled":
            self.settled.add(sid)
        elif room.believed is not None:
            told = Event(event.kind, event.attributes["subject"], 0, event.data)
            after = fold(room.believed, told)
            if after == room.believed:
                self._say_twice(sid, event)
            room.believed = after

    def _say_twice(self, sid: str, one: Published) -> None:
        self.counts["doubled"] += 1
        self.note_problem(f"{sid}: {one.attributes['id']} tells what was told before")

    def _room(self, sid: str) -> Room:
        return self.rooms.get(sid) or self.rooms.setdefault(sid, Room())
