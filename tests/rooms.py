"""Small histories for tests to tell: callbacks of one room in Twilio's words, with fixed SIDs.

`at` is in milliseconds after the room was created.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from strategies import ACCOUNT, ROOM, START, sid, timestamp

from workers.intake import callback_from
from workers.room.bounds import Bounds
from workers.room.conclude import conclude
from workers.room.diff import Event
from workers.room.facts import NOTHING, Facts
from workers.room.merge import merge

Params = dict[str, str]

BOUNDS = Bounds(before=250_000, after=15_000_000)
ARRIVED = 1_700_000_000_000_000
PHONE, LAPTOP, TABLET = (sid("PA", number) for number in (1, 2, 3))
CAMERA, MICROPHONE = sid("MT", 1), sid("MT", 2)


def callback(event: str, at: int, **params: str) -> Params:
    return {
        "AccountSid": ACCOUNT,
        "RoomSid": ROOM,
        "RoomName": "Room 1",
        "StatusCallbackEvent": event,
        "Timestamp": timestamp(START + at),
        **params,
    }


def created(at: int = 0) -> Params:
    return callback("room-created", at, RoomType="group", RoomStatus="in-progress")


def ended(at: int, duration: int | None = None) -> Params:
    told = {} if duration is None else {"RoomDuration": str(duration)}
    return callback("room-ended", at, RoomType="group", RoomStatus="completed", **told)


def connected(participant: str, at: int, identity: str = "Dana") -> Params:
    return callback(
        "participant-connected", at, ParticipantSid=participant, ParticipantIdentity=identity
    )


def disconnected(
    participant: str, at: int, identity: str = "Dana", duration: int | None = None
) -> Params:
    told = {} if duration is None else {"ParticipantDuration": str(duration)}
    return callback(
        "participant-disconnected",
        at,
        ParticipantSid=participant,
        ParticipantIdentity=identity,
        **told,
    )


def track(
    what: str, participant: str, at: int, sid: str = CAMERA, identity: str = "Dana"
) -> Params:
    return callback(
        f"track-{what}",
        at,
        ParticipantSid=participant,
        ParticipantIdentity=identity,
        TrackSid=sid,
        TrackKind="video",
        TrackName="camera",
    )


def facts_of(history: Iterable[Params]) -> Facts:
    return reduce(merge, (callback_from(params, ARRIVED) for params in history), NOTHING)


def concluded(
    history: Iterable[Params], *, people: bool = False
) -> tuple[list[Event], list[Event]]:
    """Tell a history to the heart, all of it at one moment; return what came of it.

    Args:
        history: in the order in which it arrives.
        people: whether events about persons are wanted beside those about their sessions.

    Returns:
        the events, and the alerts.
    """
    facts, events, alerts = NOTHING, [], []
    for params in history:
        outcome = conclude(facts, callback_from(params, ARRIVED), BOUNDS)
        facts = outcome.facts
        events += [one for one in outcome.events if people or not one.kind.startswith("identity.")]
        alerts += outcome.alerts
    return events, alerts


def heard(history: Iterable[Params]) -> list[tuple[str, str]]:
    return [(event.kind, event.subject) for event in concluded(history)[0]]
