"""The conditions of a view: what is wrong in the room now. Their differences are the alerts.

A condition about people holds only while the room is open: closing resolves it, and what is learned
after the end raises nothing. The same condition is never raised twice, since a key names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from workers.room.bounds import Bounds, is_nearly_full
from workers.room.episodes import Episode, Storm, episode
from workers.room.evictions import Eviction
from workers.room.identities import IdentityView
from workers.room.sequences import count
from workers.room.value import Value
from workers.room.view import View

SEVERITIES = ("info", "warning", "critical")
# Of a room with hundreds of holes; `count` says how many numbers are missing, and the events which.
_RANGES_TOLD = 20


class Condition(Value):
    """One thing that is wrong."""

    alert: str
    dedup_key: str
    subject: str
    severity: str
    # How often, where that matters; a rise while raised is told.
    times: int
    summary: str
    # None where nothing tells: since it was raised, which whoever publishes it remembers.
    since: int | None
    concerned: dict[str, Any]
    evidence: tuple[str, ...] = ()

    def is_worse_than(self, was: Condition) -> bool:
        """Tell whether the severity or the count rose, even if the other one fell."""
        rank = SEVERITIES.index
        return rank(self.severity) > rank(was.severity) or self.times > was.times


def conditions(view: View, bounds: Bounds) -> dict[str, Condition]:
    """List what is wrong in a view, by dedup key."""
    found = [*_of_the_room(view)]
    if not (view.room and view.room.closed):
        found += _while_open(view, bounds)
    return {condition.dedup_key: condition for condition in found}


def by_identity(view: View) -> dict[str, list[Eviction]]:
    """The evictions of each person, in the order in which they happened."""
    groups: dict[str, list[Eviction]] = {}
    for eviction in view.evictions.values():
        groups.setdefault(eviction.identity, []).append(eviction)
    return groups


def _of_the_room(view: View) -> Iterator[Condition]:
    """What stays wrong when the room is closed."""
    if view.facts.failed is not None:
        yield Condition(
            alert="room-failed",
            dedup_key=f"room-failed:{view.room_sid}",
            subject=view.room_sid,
            severity="critical",
            times=1,
            summary=f"Room {_called(view)} has failed.",
            since=view.facts.failed,
            concerned={},
        )
    for recording_sid, at in view.facts.recordings_failed.items():
        yield _recording_failed(view, recording_sid, at)


def _while_open(view: View, bounds: Bounds) -> Iterator[Condition]:
    for identity, evicted in by_identity(view).items():
        under_way = episode(evicted, view.facts.carried.get(identity), view.now)
        if under_way:
            yield _duplicate_identity(view, identity, under_way)
        if under_way and under_way.storm:
            yield _eviction_storm(view, identity, under_way.storm)
    for identity, person in view.identities.items():
        if person.ghosts:
            yield _ghost_participant(view, identity, person)
    if view.missing:
        yield _missed_callbacks(view)
    if is_nearly_full(view.present, bounds):
        yield _room_capacity(view, bounds)
    if view.facts.set_aside:
        yield _callback_set_aside(view)
    if view.stalled is not None:
        yield _inbox_stalled(view, view.stalled)


def _duplicate_identity(view: View, identity: str, under_way: Episode) -> Condition:
    times, last = under_way.times, under_way.last
    often = "once" if times == 1 else f"{times} times"
    return Condition(
        alert="duplicate-identity",
        dedup_key=_key("duplicate-identity", view.room_sid, identity),
        subject=last.evicted_sid,
        severity=under_way.severity,
        times=times,
        summary=(
            f"{identity!r} was thrown out of room {_called(view)} {often}"
            " because somebody joined under the same identity."
        ),
        since=under_way.since,
        concerned={
            "identity": identity,
            "evicted_sid": last.evicted_sid,
            "survivor_sid": last.survivor_sid,
        },
        evidence=last.evidence,
    )


def _eviction_storm(view: View, identity: str, raging: Storm) -> Condition:
    return Condition(
        alert="eviction-storm",
        dedup_key=_key("eviction-storm", view.room_sid, identity),
        subject=raging.last.evicted_sid,
        severity="critical",
        times=raging.times,
        summary=(
            f"Two windows of {identity!r} keep throwing each other out of room {_called(view)}:"
            f" {raging.times} times so far."
        ),
        since=raging.since,
        concerned={
            "identity": identity,
            "evicted_sid": raging.last.evicted_sid,
            "survivor_sid": raging.last.survivor_sid,
        },
        evidence=raging.last.evidence,
    )


def _ghost_participant(view: View, identity: str, person: IdentityView) -> Condition:
    ghosts = person.ghosts
    still = "a session" if len(ghosts) == 1 else f"{len(ghosts)} sessions"
    return Condition(
        alert="ghost-participant",
        dedup_key=_key("ghost-participant", view.room_sid, identity),
        subject=ghosts[0],
        severity="warning",
        times=len(ghosts),
        summary=(
            f"{identity!r} has {still} in room {_called(view)} that nobody seems to be behind:"
            " no end of it was heard."
        ),
        since=person.ghost_since,
        concerned={"identity": identity, "participant_sids": list(ghosts)},
    )


def _missed_callbacks(view: View) -> Condition:
    times = count(view.missing)
    return Condition(
        alert="missed-callbacks",
        dedup_key=f"missed-callbacks:{view.room_sid}",
        subject=view.room_sid,
        severity="warning",
        times=times,
        summary=(
            f"{times} callback{'s' * (times > 1)} of room {_called(view)} did not arrive:"
            " there are holes in the sequence numbers."
        ),
        since=None,
        concerned={"missing": [list(one) for one in view.missing[:_RANGES_TOLD]]},
    )


def _room_capacity(view: View, bounds: Bounds) -> Condition:
    full = view.present >= bounds.capacity
    return Condition(
        alert="room-capacity",
        dedup_key=f"room-capacity:{view.room_sid}",
        subject=view.room_sid,
        severity="critical" if full else "warning",
        # Everybody who comes or goes would change it.
        times=1,
        summary=(
            f"Room {_called(view)} is {'full' if full else 'nearly full'}:"
            f" {view.present} of {bounds.capacity} participants are there."
        ),
        since=None,
        concerned={"connected": view.present, "capacity": bounds.capacity},
    )


def _recording_failed(view: View, recording_sid: str, at: int) -> Condition:
    return Condition(
        alert="recording-failed",
        dedup_key=f"recording-failed:{view.room_sid}:{recording_sid}",
        subject=recording_sid,
        severity="critical",
        times=1,
        summary=f"Recording {recording_sid} of room {_called(view)} has failed.",
        since=at,
        concerned={"recording_sid": recording_sid},
    )


def _callback_set_aside(view: View) -> Condition:
    times = len(view.facts.set_aside)
    return Condition(
        alert="callback-set-aside",
        dedup_key=f"callback-set-aside:{view.room_sid}",
        subject=view.room_sid,
        severity="warning",
        times=times,
        summary=(
            f"{times} callback{'s' * (times > 1)} of room {_called(view)} could not be digested;"
            " they are kept in the stream of the dead, with the reason."
        ),
        since=None,
        concerned={},
    )


def _inbox_stalled(view: View, since: int) -> Condition:
    return Condition(
        alert="inbox-stalled",
        dedup_key=f"inbox-stalled:{view.room_sid}",
        subject=view.room_sid,
        severity="critical",
        times=1,
        summary=(
            f"Callbacks of {view.room_sid} were waiting for too long: no worker was at work, or too"
            " few."
        ),
        since=since,
        concerned={},
    )


def _called(view: View) -> str:
    return view.room_sid if view.room_name is None else repr(view.room_name)


def _key(alert: str, room_sid: str, identity: str) -> str:
    # Keys travel to pagers and chat rooms: short, of a known length, and without anybody's name.
    return f"{alert}:{room_sid}:{sha256(identity.encode()).hexdigest()[:16]}"
