"""The heart against a naive one: the contract's text written down a second time, slowly.

The oracle knows all callbacks at once and looks at every pair of sessions; the consumer keeps a
room from its events alone, and lets no event pass that makes no sense to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import assume, given
from rooms import BOUNDS, concluded, facts_of
from strategies import histories

from schemas.parsing import parse_timestamp
from workers.room.diff import Event
from workers.room.view import view

Params = dict[str, str]


class Stay(NamedTuple):
    identity: str | None
    start: float
    end: float | None


def told(history: list[Params], *events: str, **where: str) -> list[Params]:
    return [
        one
        for one in history
        if one["StatusCallbackEvent"].startswith(events)
        and all(one.get(name) == value for name, value in where.items())
    ]


def milliseconds(callbacks: list[Params]) -> list[float]:
    return [parse_timestamp(one["Timestamp"]) / 1000 for one in callbacks]


def stay_of(history: list[Params], sid: str) -> Stay:
    about = told(history, "participant-connected", "participant-disc", "track-", ParticipantSid=sid)
    goodbyes = told(about, "participant-disconnected")
    starts = milliseconds(told(about, "participant-connected"))
    if not starts:
        starts = milliseconds(about)
        for goodbye in sorted(goodbyes, key=lambda one: one["Timestamp"])[:1]:
            if "ParticipantDuration" in goodbye:
                stayed = int(goodbye["ParticipantDuration"]) * 1000 + 999
                starts += [milliseconds([goodbye])[0] - stayed]
    (identity,) = {one.get("ParticipantIdentity") for one in about}
    return Stay(identity, min(starts), min(milliseconds(goodbyes), default=None))


def oracle(history: list[Params]) -> dict[str, str]:
    """Who was evicted by whom, as section 4 of the contract says it."""
    room_ends = milliseconds(told(history, "room-ended"))
    sids = {
        one["ParticipantSid"] for one in told(history, "participant-c", "participant-d", "track-")
    }
    stays = {sid: stay_of(history, sid) for sid in sids}
    found = {}
    for old_sid, old in stays.items():
        if old.end is None or old.identity is None:
            continue
        if room_ends and abs(min(room_ends) - old.end) <= 1000:
            continue
        survivors = [
            (new.start, new_sid)
            for new_sid, new in stays.items()
            if new.identity == old.identity
            and (old.start, old_sid) < (new.start, new_sid)
            and new.start - 250 <= old.end <= new.start + 15_000
            and (new.end is None or new.end > old.end + 250)
        ]
        if survivors:
            found[old_sid] = min(survivors)[1]
    return found


def unambiguous(history: list[Params]) -> bool:
    """Whether no session is told two identities or two goodbyes; then the contract says it all."""
    about = told(history, "participant-c", "participant-d", "track-")
    identities = {(one["ParticipantSid"], one.get("ParticipantIdentity")) for one in about}
    goodbyes = {str(one) for one in told(history, "participant-disconnected")}
    ended = {one["ParticipantSid"] for one in told(history, "participant-disconnected")}
    sids = {one["ParticipantSid"] for one in about}
    return len(identities) == len(sids) and len(goodbyes) == len(ended)


@given(histories)
def test_evictions_are_those_that_the_contract_describes(history: list[Params]) -> None:
    assume(unambiguous(history))
    evictions = view(facts_of(history), BOUNDS).evictions
    assert {sid: one.survivor_sid for sid, one in evictions.items()} == oracle(history)


class Consumer:
    """Keeps one room; every event must follow from what it believes."""

    def __init__(self) -> None:
        self.room: str | None = None
        self.sessions: dict[str, str] = {}
        self.tracks: dict[tuple[str, str], str] = {}
        self.evictions: dict[str, str] = {}

    def hear(self, event: Event) -> None:
        noun, _, verb = event.kind.partition(".")
        if noun == "room":
            self._move(vars(self), "room", verb, {"opened": {None}, "closed": {"opened"}})
        elif noun == "track":
            key = (event.data["participant_sid"], event.subject)
            on, off = {"published", "enabled"}, {"disabled"}
            moves: dict[str, set[Any]] = {"published": {None}, "disabled": on, "enabled": off}
            self._move(self.tracks, key, verb, {**moves, "unpublished": on | off})
        elif verb == "evicted":
            assert self.sessions[event.subject] == "left"
            assert event.subject not in self.evictions
            self.evictions[event.subject] = event.data["survivor_sid"]
        elif verb == "eviction-retracted":
            assert self.evictions.pop(event.subject) == event.data["survivor_sid"]
        elif noun == "participant":
            moves = {"joined": {None}, "left": {"joined"}}
            self._move(self.sessions, event.subject, verb, moves)

    def _move(self, where: dict[Any, Any], key: Any, to: str, moves: dict[str, set[Any]]) -> None:
        assert where.get(key) in moves[to]
        where[key] = to


@given(histories)
def test_a_consumer_can_follow_every_event_and_believes_what_the_view_says(
    history: list[Params],
) -> None:
    consumer = Consumer()
    for event in concluded(history)[0]:
        consumer.hear(event)
    believed = view(facts_of(history), BOUNDS)
    assert consumer.evictions == {s: one.survivor_sid for s, one in believed.evictions.items()}
    assert {s: state == "left" for s, state in consumer.sessions.items()} == {
        sid: session.left for sid, session in believed.sessions.items()
    }
    assert {key: state == "unpublished" for key, state in consumer.tracks.items()} == {
        (key.participant_sid, key.track_sid): track.unpublished
        for key, track in believed.tracks.items()
    }
    assert {key for key, state in consumer.tracks.items() if state == "disabled"} == {
        (key.participant_sid, key.track_sid)
        for key, track in believed.tracks.items()
        if not track.enabled
    }
    assert (consumer.room == "closed") == bool(believed.room and believed.room.closed)
