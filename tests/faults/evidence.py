"""The evidence: what came of every callback, read from Redis and from the workers' logs.

It believes nobody: what must have come out is worked out anew from the callbacks that were sent,
events are folded and their ids computed, and the chain of the audit is followed link by link.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, cast

from faults.meetings import Params
from faults.said import lines_of
from redis import Redis
from streams import Published, by_room, check_chain, folded, published
from timed import agree

from schemas.audit import digest_of
from schemas.connection import keyspace_of
from schemas.keys import shard_of
from schemas.settings import Settings
from workers import records
from workers.arrivals import pseudo_room
from workers.bounds import bounds_of
from workers.intake import callback_from
from workers.records import Record
from workers.room.conclude import conclude
from workers.room.conditions import conditions
from workers.room.diff import Event
from workers.room.facts import NOTHING
from workers.room.fold import fold
from workers.room.view import View, view

# Past all that time does to a room within a minute: who has left has departed by then.
_LATER = 60_000_000


@dataclass
class Findings:
    """What is not as it should be."""

    # Callbacks that were acknowledged and have no effect.
    lost: int = 0
    # Effects that came twice: callbacks applied, beliefs told, alerts raised.
    doubled: int = 0
    # Audit records of commits that Redis has forgotten.
    forgotten: int = 0
    problems: list[str] = field(default_factory=list)


def unapplied(client: Redis, settings: Settings, callbacks: Iterable[Params]) -> list[Params]:
    """Return those of the callbacks that have taken no effect yet."""
    rooms = _by_room(callbacks)
    waiting: list[Params] = []
    for sid, told in rooms.items():
        record = _record(client, settings, sid)
        waiting += [params for params in told if not _is_in(record, params)]
    return waiting


def examine(
    client: Redis, settings: Settings, acknowledged: Sequence[Params], logs: Iterable[Path]
) -> Findings:
    """Check what came of every callback. All processes have ended, so that nothing moves."""
    findings = Findings()
    events, alerts = (by_room(_published(client, settings, of)) for of in ("events", "alerts"))
    audit = _read_audit(logs)
    rooms = _by_room(acknowledged)
    for sid, told in rooms.items():
        record = _record(client, settings, sid)
        lost = {params["SequenceNumber"] for params in told if not _is_in(record, params)}
        findings.lost += len(lost)
        taken = [params for params in told if params["SequenceNumber"] not in lost]
        room = _Room(sid, record, settings, findings)
        room.check_events(events.pop(sid, []))
        room.check_alerts(alerts.pop(sid, []))
        room.check_audit(audit.pop(sid, {}), taken)
        room.check_beliefs(taken)
    for number in range(settings.shards):
        # What a shard tells of itself, beside its rooms.
        sid = pseudo_room(number)
        room = _Room(sid, _record(client, settings, sid, number), settings, findings)
        room.check_alerts(alerts.pop(sid, []))
        room.check_audit(audit.pop(sid, {}), [])
    for what in (events, alerts, audit):
        findings.problems += [f"nobody sent anything about {sid}" for sid in what]
    return findings


class _Room:
    """One room, and everything that is known about it."""

    def __init__(self, sid: str, record: Record, settings: Settings, findings: Findings) -> None:
        self._sid = sid
        self._record = record
        self._bounds = bounds_of(settings)
        self._findings = findings

    def check_events(self, events: list[Published]) -> None:
        """Revisions without a hole, ids that build on each other, nothing said twice."""
        ledger = self._record.ledger
        self._check_stream(events, "roomrevision", "", ledger.revision, ledger.last_event_id)
        self._findings.doubled += _said_twice(events)
        seen = view(self._record.facts, self._bounds)
        self._compare(folded(events), seen, "the events fold to something else than the view")

    def check_alerts(self, alerts: list[Published]) -> None:
        """The same for alerts; what is raised now is what is wrong now."""
        ledger = self._record.ledger
        self._check_stream(alerts, "roomalert", "a", ledger.alerts, ledger.last_alert_id)
        raised: set[str] = set()
        for alert in alerts:
            key = alert.data["dedup_key"]
            self._findings.doubled += alert.kind == "alert.raised" and key in raised
            raised = raised - {key} if alert.kind == "alert.resolved" else raised | {key}
        if raised != set(conditions(view(self._record.facts, self._bounds), self._bounds)):
            self._problem("the alerts that are raised are not what is wrong")

    def check_audit(self, written: dict[str, dict[str, Any]], taken: list[Params]) -> None:
        """A chain without a hole from the head in Redis to the first; each callback in it once."""
        ledger = self._record.ledger
        head, links = ledger.audit_head, []
        for number in range(ledger.audit_records, 0, -1):
            link = written.get(head)
            if link is None or link["n"] != number:
                self._problem(f"the audit has no record {number}")
                break
            links.append(link)
            head = link["prev"]
        self._findings.forgotten += len(written) - len(links)
        applied = Counter(
            link["params"]["SequenceNumber"] for link in links if link["event"] == _APPLIED
        )
        self._findings.doubled += sum(applied.values()) - len(applied)
        if applied.keys() != {params["SequenceNumber"] for params in taken}:
            self._problem("the audit tells of other callbacks than were applied")

    def check_beliefs(self, taken: list[Params]) -> None:
        """What the heart concludes from the same callbacks, in whatever order, is believed."""
        facts = self._record.facts
        told = reduce(
            lambda known, one: conclude(known, one, self._bounds).facts,
            (callback_from(params, facts.heard) for params in taken),
            NOTHING,
        )
        follows, seen = (view(one, self._bounds, now=facts.heard + _LATER) for one in (told, facts))
        self._compare(follows, seen, "the view is not what follows from the callbacks")

    def _compare(self, believed: View, seen: View, what: str) -> None:
        try:
            agreed = agree(believed, seen)
        except AssertionError:
            agreed = False
        if not agreed:
            self._problem(what)

    def _check_stream(
        self, told: list[Published], number: str, mark: str, count: int, last_id: str
    ) -> None:
        try:
            check_chain(told, number, mark)
        except AssertionError as error:
            self._problem(f"{number}: {str(error).splitlines()[0]}")
        last = told[-1].attributes["id"] if told else ""
        if (len(told), last) != (count, last_id):
            self._problem(f"{number}: {len(told)} up to {last}, and the ledger has {count}")

    def _problem(self, what: str) -> None:
        self._findings.problems.append(f"{self._sid}: {what}")


_APPLIED = "callback_applied"


def _said_twice(events: list[Published]) -> int:
    """How many events tell what was told before."""
    twice, believed, editions = 0, View(), set()
    for event in events:
        if event.kind == "room.settled":
            twice += event.data["edition"] in editions
            editions.add(event.data["edition"])
            continue
        after = fold(believed, Event(event.kind, event.attributes["subject"], 0, event.data))
        twice += after == believed
        believed = after
    return twice


def _read_audit(logs: Iterable[Path]) -> dict[str, dict[str, dict[str, Any]]]:
    """Read all audit records, by room and hash; one that was written twice is one."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for line in lines_of(*logs):
        # A later writer may have been told to write what its predecessor had written already.
        if "hash" in line and digest_of(line) == line["hash"]:
            found[line["room_sid"]][line["hash"]] = line
    return found


def _published(client: Redis, settings: Settings, of: str) -> list[Published]:
    shards = map(keyspace_of(settings).shard, range(settings.shards))
    streams = dict.fromkeys(getattr(keys, of) for keys in shards)
    return [one for stream in streams for one in published(client, stream)]


def _by_room(callbacks: Iterable[Params]) -> dict[str, list[Params]]:
    rooms: dict[str, list[Params]] = defaultdict(list)
    for params in callbacks:
        rooms[params["RoomSid"]].append(params)
    return rooms


def _record(client: Redis, settings: Settings, room_sid: str, shard: int | None = None) -> Record:
    shard = shard_of(room_sid, settings.shards) if shard is None else shard
    stored = client.get(keyspace_of(settings).shard(shard).room(room_sid))
    return records.decode(cast("bytes | None", stored))


def _is_in(record: Record, params: Params) -> bool:
    number = int(params["SequenceNumber"])
    return any(one.least <= number <= one.most for one in record.facts.sequences)
