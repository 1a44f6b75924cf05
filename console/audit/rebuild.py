"""Rebuilding: the logged callbacks of one room, told to the heart again.

Twice, since the heart lets go of what is old: step by step, for what was published when; and all at
once, for everything that was ever heard of the room. Nothing of what the log says came of a
callback is used. Whether today's heart concludes the same is for `rollcall audit replay` to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from schemas.audit import RECORDS, TIMER, AuditVerdict
from schemas.errors import IndigestibleError
from schemas.parsing import parse_timestamp
from workers.intake import callback_from
from workers.room.bounds import Bounds
from workers.room.callback import Callback
from workers.room.conclude import conclude, set_aside
from workers.room.diff import Event
from workers.room.facts import NOTHING, Facts
from workers.room.merge import merge
from workers.room.patience import elapse
from workers.room.stall import stalled
from workers.room.value import replace

Record = dict[str, Any]

_VERDICTS = {event: verdict for verdict, event in RECORDS.items()}
# Of a log from before it told its terms; the settings' defaults.
_BOUNDS = Bounds(before=250_000, after=15_000_000)


class Heard(NamedTuple):
    """One callback as the log has it. Times in microseconds since 1970."""

    n: int
    place: str
    verdict: AuditVerdict
    late: bool
    # None where it cannot be read.
    callback: Callback | None
    # What `evidence` names it by; empty where it cannot be read.
    id: str
    arrived: int
    # Of one that was set aside, why.
    reason: str


class Published(NamedTuple):
    """An event or alert that came of a record, and when it did, by arrival time."""

    n: int
    when: int
    event: Event


class Rebuilt(NamedTuple):
    """All that the log of a room leads to."""

    room_sid: str
    bounds: Bounds
    heard: list[Heard]
    published: list[Published]
    # Of everything that was heard, and nothing let go.
    facts: Facts
    # Up to when time had run, by arrival.
    looked: int


def rebuild(room_sid: str, records: Iterable[tuple[Record, str]]) -> Rebuilt:
    """Tell the records of one room to the heart.

    Args:
        room_sid: which.
        records: in the order of their numbers, each once, with its place.
    """
    steps = _Steps(room_sid)
    for record, place in records:
        steps.take(record, place)
    return steps.rebuilt()


class _Steps:
    """The heart, fed step by step."""

    def __init__(self, room_sid: str) -> None:
        self._room_sid = room_sid
        self._bounds = _BOUNDS
        self._heard: list[Heard] = []
        self._published: list[Published] = []
        # Of the worker that let go of what was old, and of everything.
        self._facts = replace(NOTHING, room_sid=room_sid)
        self._whole = replace(NOTHING, room_sid=room_sid)

    def take(self, record: Record, place: str) -> None:
        if terms := record.get("terms"):
            known = {name: terms["bounds"].get(name) for name in Bounds._fields}
            told = {name: value for name, value in known.items() if isinstance(value, int)}
            self._bounds = self._bounds._replace(**told)
        if record["event"] in _VERDICTS:
            self._take_callback(record, place)
        elif record["event"] == TIMER:
            self._run(record)

    def rebuilt(self) -> Rebuilt:
        return Rebuilt(
            room_sid=self._room_sid,
            bounds=self._bounds,
            heard=self._heard,
            published=self._published,
            facts=self._whole,
            looked=self._facts.looked,
        )

    def _take_callback(self, record: Record, place: str) -> None:
        verdict = _VERDICTS[record["event"]]
        arrived = parse_timestamp(record.get("taken_at") or record["arrived"])
        callback = _callback(record, arrived)
        heard = Heard(
            n=record["n"],
            place=place,
            verdict=verdict,
            late=bool(record.get("late")),
            callback=callback,
            id=record.get("callback_id") or "",
            arrived=parse_timestamp(record["arrived"]),
            reason=record.get("reason", ""),
        )
        self._heard.append(heard)
        if verdict == "set-aside" or callback is None:
            key = record.get("key", heard.id)
            outcome = set_aside(self._facts, key, arrived, self._bounds)
        else:
            outcome = conclude(self._facts, callback, self._bounds)
            if verdict != "too-late":
                self._whole = merge(self._whole, callback)
        for elapsed in outcome.elapsed:
            self._note(record["n"], elapsed.at, elapsed.facts, elapsed.events + elapsed.alerts)
        self._note(record["n"], arrived, outcome.facts, outcome.events + outcome.alerts)

    def _run(self, record: Record) -> None:
        due = parse_timestamp(record["due"])
        if since := record.get("stalled_since"):
            found = stalled(self._facts, parse_timestamp(since), due, self._bounds)
            self._note(record["n"], due, found.facts, found.events + found.alerts)
            return
        for elapsed in elapse(self._facts, due, self._bounds):
            self._note(record["n"], elapsed.at, elapsed.facts, elapsed.events + elapsed.alerts)

    def _note(self, n: int, when: int, facts: Facts, events: list[Event]) -> None:
        self._facts = facts
        if facts.presumed is not None:
            self._whole = replace(self._whole, presumed=facts.presumed)
        self._published += [Published(n, when, event) for event in events]


def _callback(record: Record, arrived: int) -> Callback | None:
    params, logged_id = record.get("params"), record.get("callback_id")
    if not params:
        return None
    try:
        callback = callback_from(params, arrived)
        # Where names are hashed, only the record knows the id of what was received.
        return replace(callback, id=bytes.fromhex(logged_id)) if logged_id else callback
    except (IndigestibleError, KeyError, ValueError):
        return None
