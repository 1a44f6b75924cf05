"""What Rollcall says in which situation: told to the heart, and written down as docs/semantics.md.

`make semantics` writes the document; a test makes sure that it is what comes out now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from rooms import (
    CAMERA,
    LAPTOP,
    PHONE,
    TABLET,
    Params,
    callback,
    connected,
    created,
    disconnected,
    ended,
    track,
)
from strategies import sid
from timed import ARRIVED, BOUNDS, MINUTE, SECOND

from workers.intake import callback_from
from workers.room.conclude import conclude
from workers.room.diff import Event
from workers.room.facts import NOTHING
from workers.room.patience import elapse

DOCUMENT = Path(__file__).parent.parent / "docs" / "semantics.md"
_NAMES = {PHONE: "phone", LAPTOP: "laptop", TABLET: "tablet", CAMERA: "camera"}
_RECORDING = {"RecordingSid": sid("RT", 1), "ParticipantSid": PHONE, "SourceSid": CAMERA}
_BOUNDS = BOUNDS._replace(capacity=4)


class Situation(NamedTuple):
    """A story in two parts: what is the case, and what happens then."""

    title: str
    # What somebody who runs rooms should know about it.
    remark: str
    given: list[Params]
    then: list[Params]
    # How long after the one before each callback of `then` arrives, in seconds.
    pauses: tuple[float, ...] = ()
    # For how long the room is watched, in minutes: most of what time does, it does soon.
    watched: int = 20


def _numbered(number: int, params: Params) -> Params:
    return params | {"SequenceNumber": str(number)}


def _evictions(*starts: int) -> list[Params]:
    """Sessions of one person, each thrown out by the next."""
    told = [connected(sid("PA", 10), 0)]
    for number, start in enumerate(starts, start=11):
        told += [connected(sid("PA", number), start), disconnected(sid("PA", number - 1), start)]
    return told


_ROOM = [created()]
_DANA = [*_ROOM, connected(PHONE, 0)]
_MEETING = [*_DANA, track("added", PHONE, 0)]
_SECOND = sid("RM", 2)
_DAYS = 2 * 24 * 60

SITUATIONS = [
    Situation("A room is created and somebody joins", "", [], [created(), connected(PHONE, 1)]),
    Situation(
        "Somebody leaves and stays away",
        "The session has left at once; the person only when nobody came back for 5 s.",
        _DANA,
        [disconnected(PHONE, 60_000)],
    ),
    Situation(
        "A page is refreshed with a goodbye",
        "Complaints 1 and 2: an end without a real leave. The person never departs.",
        _DANA,
        [disconnected(PHONE, 60_000), connected(LAPTOP, 61_500)],
        (0, 1.5),
    ),
    Situation(
        "A page is refreshed without a goodbye",
        "Twilio ends the old session when the new one joins: an eviction, at `info`.",
        _DANA,
        [connected(LAPTOP, 60_000), disconnected(PHONE, 60_200)],
        (0, 0.2),
    ),
    Situation(
        "Reconnecting after 10 s without a network",
        "Twilio ended the session meanwhile: no eviction, and departed in between.",
        _DANA,
        [disconnected(PHONE, 60_000), connected(LAPTOP, 70_000)],
        (0, 10),
    ),
    Situation(
        "53205 after a reconnect: the old session ends 14 s after the new one began",
        "Complaint 8: the client is told that it was thrown out by itself, and so is the room.",
        _DANA,
        [connected(LAPTOP, 60_000), disconnected(PHONE, 74_000)],
        (0, 14),
    ),
    Situation(
        "A disconnect with ParticipantDuration 0",
        "Complaint 1: a websocket that dropped while it connected.",
        _ROOM,
        [connected(PHONE, 1_000), disconnected(PHONE, 1_200, duration=0)],
        (0, 0.2),
    ),
    Situation(
        "A client unpublishes, or an app pauses, and nobody leaves",
        "Complaint 2: a track is not a participant.",
        _MEETING,
        [track("removed", PHONE, 60_000)],
    ),
    Situation(
        "Somebody leaves while a track is published",
        "Complaint 3: Twilio sends no track-removed for it.",
        _MEETING,
        [disconnected(PHONE, 60_000)],
    ),
    Situation(
        "A room is closed with people inside",
        "Complaint 4: the cause `room-closed` tells it from a leave.",
        _MEETING,
        [ended(60_000)],
    ),
    Situation(
        "A leave that Twilio notices a minute late",
        "Complaint 5: it happened when its Timestamp says, and is told when it is heard.",
        _DANA,
        [disconnected(PHONE, 60_000)],
        (60,),
    ),
    Situation(
        "A network is cut and the disconnect comes after 10 minutes",
        "Complaint 6: without another session, nothing tells a ghost from somebody silent.",
        _DANA,
        [disconnected(PHONE, 600_000)],
        (600,),
    ),
    Situation(
        "Back after a cut, and the end of the old session never comes",
        "Complaint 6: contested after 2 s, a ghost after 90 s.",
        _DANA,
        [connected(LAPTOP, 60_000)],
    ),
    Situation(
        "… and the end of the ghost comes after all",
        "",
        [*_DANA, connected(LAPTOP, 60_000)],
        [disconnected(PHONE, 160_000)],
        (100,),
    ),
    Situation(
        "Two tabs throw each other out again and again",
        "Complaints 7 and 9: one alert for the storm, however long it lasts.",
        _ROOM,
        _evictions(10_000, 20_000, 30_000, 40_000),
        (0, *[10, 0] * 4),
    ),
    Situation(
        "Somebody is thrown out a second time within 10 minutes",
        "Complaint 7: `warning`.",
        [*_ROOM, *_evictions(60_000)],
        [connected(sid("PA", 12), 300_000), disconnected(sid("PA", 11), 300_000)],
        (240, 0),
    ),
    Situation(
        "Two people, one identity, on purpose",
        "Complaint 9: as above, whoever they are; identities are compared byte for byte.",
        _DANA,
        [connected(LAPTOP, 60_000), disconnected(PHONE, 60_300)],
        (0, 0.3),
    ),
    Situation(
        "Identities that differ in a trailing space",
        "Two people. Nothing is trimmed.",
        _DANA,
        [connected(LAPTOP, 60_000, identity="Dana "), disconnected(PHONE, 60_300)],
    ),
    Situation(
        "The disconnect of an old session comes late",
        "It does not remove the newer one.",
        [*_DANA, disconnected(PHONE, 60_000), connected(LAPTOP, 61_000)],
        [disconnected(PHONE, 60_000)],
        (30,),
    ),
    Situation(
        "The disconnect comes before the connect",
        "Left implies joined; the connect then adds nothing.",
        _ROOM,
        [disconnected(PHONE, 60_000, duration=50), connected(PHONE, 10_000)],
        (0, 0.3),
    ),
    Situation(
        "The connect never comes, only tracks",
        "Joined, `inferred`.",
        _ROOM,
        [track("added", PHONE, 1_000)],
    ),
    Situation(
        "A track is added 1 ms before its participant connects",
        "Recorded: it does not look like joining twice.",
        _ROOM,
        [track("added", PHONE, 999), connected(PHONE, 1_000)],
    ),
    Situation(
        "A mute is heard before its track",
        "",
        _DANA,
        [track("disabled", PHONE, 1_000), track("added", PHONE, 500)],
    ),
    Situation(
        "A by B, B by C, in order",
        "",
        _DANA,
        [
            connected(LAPTOP, 60_000),
            disconnected(PHONE, 60_100),
            connected(TABLET, 70_000),
            disconnected(LAPTOP, 70_100),
        ],
    ),
    Situation(
        "The middle session of a chain is heard of late",
        "The first eviction is taken back and replaced.",
        [*_DANA, connected(TABLET, 65_000), disconnected(PHONE, 65_100)],
        [connected(LAPTOP, 60_000)],
        (5,),
    ),
    Situation(
        "An eviction turns out to be the end of the room",
        "Ends within 1 s of the room's were caused by it.",
        [*_DANA, connected(LAPTOP, 60_000), disconnected(PHONE, 60_300)],
        [ended(60_900)],
    ),
    Situation(
        "A callback is lost in the middle",
        "",
        [_numbered(0, created()), _numbered(1, connected(PHONE, 0))],
        [_numbered(3, track("added", PHONE, 1_000))],
    ),
    Situation(
        "… and arrives 20 s late",
        "",
        [
            _numbered(0, created()),
            _numbered(1, connected(PHONE, 0)),
            _numbered(3, track("added", PHONE, 1_000)),
        ],
        [_numbered(2, track("added", PHONE, 900, sid("MT", 9)))],
        (20,),
    ),
    Situation(
        "Callbacks overtake each other by 3 s",
        "Nothing is held back, and no gap is told.",
        [_numbered(0, created())],
        [_numbered(2, track("added", PHONE, 1_000)), _numbered(1, connected(PHONE, 0))],
        (0, 3),
    ),
    Situation(
        "A callback comes twice",
        "Verdict `duplicate`.",
        _DANA,
        [connected(PHONE, 0)],
        (60,),
    ),
    Situation(
        "A room is opened again under the same name",
        "Complaint 10: another RoomSid is another room, and the URL is an account's setting.",
        [*_DANA, ended(60_000)],
        [created(120_000) | {"RoomSid": _SECOND}],
        (60,),
    ),
    Situation(
        "A callback comes after the end of its room",
        "The roster is told again.",
        [*_DANA, ended(60_000)],
        [disconnected(PHONE, 50_000)],
        (90,),
    ),
    Situation("room-created never comes", "Opened, `inferred`.", [], [connected(PHONE, 1_000)]),
    Situation(
        "room-ended never comes, and nothing else",
        "Presumed after 25 h, an hour more than the longest room.",
        _MEETING,
        [],
        watched=_DAYS,
    ),
    Situation(
        "Somebody is connected for longer than any room lasts",
        "",
        _DANA,
        [track("added", PHONE, 3_600_000)],
        (20 * 3600,),
        _DAYS,
    ),
    Situation(
        "A room has failed",
        "The alert stays until the room is forgotten, a day after its end.",
        _ROOM,
        [ended(60_000) | {"RoomStatus": "failed"}],
        watched=_DAYS,
    ),
    Situation(
        "A recording is completed after the end of the room",
        "",
        [*_DANA, ended(60_000)],
        [callback("recording-completed", 90_000, **_RECORDING)],
        (30,),
    ),
    Situation(
        "A recording has failed",
        "The alert stays until the room is forgotten, a day after its end.",
        [*_DANA, ended(60_000)],
        [callback("recording-failed", 90_000, **_RECORDING)],
        (30,),
        _DAYS,
    ),
    Situation(
        "A room for four is full",
        "",
        [*_DANA, connected(sid("PA", 7), 1, "Kim"), connected(sid("PA", 8), 2, "Robin")],
        [connected(sid("PA", 9), 3, "Sam"), disconnected(sid("PA", 9), 60_000, "Sam")],
        (0, 60),
    ),
    Situation(
        "An event that nobody knows",
        "Accepted and reported.",
        _DANA,
        [callback("participant-reconnecting", 60_000, ParticipantSid=PHONE)],
    ),
    Situation(
        "A session that was let go 10 minutes after its end is heard of again",
        "Verdict `too-late`: audited, and nothing changes.",
        [*_DANA, disconnected(PHONE, 1_000)],
        [track("added", PHONE, 500)],
        (700,),
    ),
]


class _Said(NamedTuple):
    after: float
    event: Event


def _told(situation: Situation) -> tuple[list[_Said], list[_Said]]:
    """What is said from the first callback of `then` on: at once, and by time alone."""
    at, facts = ARRIVED, NOTHING
    for params in situation.given:
        facts = conclude(facts, callback_from(params, at), _BOUNDS).facts
        at += 1000
    at_once: list[_Said] = []
    later: list[_Said] = []
    pauses = situation.pauses or (0.1,) * len(situation.then)
    began = at + round(sum(pauses[:1]) * SECOND)
    for params, pause in zip(situation.then, pauses, strict=True):
        at += round(pause * SECOND)
        if params["RoomSid"] != (facts.room_sid or params["RoomSid"]):
            facts = NOTHING
        outcome = conclude(facts, callback_from(params, at), _BOUNDS)
        for one in outcome.elapsed:
            later += _said(one.at - began, [*one.events, *one.alerts])
        at_once += _said(at - began, [*outcome.events, *outcome.alerts])
        facts = outcome.facts
    for one in elapse(facts, at + situation.watched * MINUTE, _BOUNDS):
        later += _said(one.at - began, [*one.events, *one.alerts])
    # What happened while the first of them was on its way belongs to what is the case.
    return at_once, [one for one in later if one.after >= 0]


def _said(after: int, events: Iterable[Event]) -> Iterator[_Said]:
    return (_Said(after / SECOND, event) for event in events)


def _is_alert(said: _Said) -> bool:
    return said.event.kind.startswith("alert.")


def _in_words(said: Iterable[_Said], *, times: bool) -> str:
    words = [_words(one, times=times) for one in said]
    counted = [(text, len([*group])) for text, group in groupby(words)]
    return (
        ", ".join(text if count == 1 else f"{count} x {text}" for text, count in counted)
        or "nothing"
    )


def _words(said: _Said, *, times: bool) -> str:
    kind, data = said.event.kind, said.event.data
    if _is_alert(said):
        text = f"`{data['alert']}` {kind.removeprefix('alert.')}"
        if kind != "alert.resolved":
            text += f" ({data['severity']}{', ' + str(data['count']) if data['count'] > 1 else ''})"
    else:
        text = f"`{kind}`"
        if "survivor_sid" in data:
            text += f" by the {_NAMES.get(data['survivor_sid'], 'next')}"
        if data.get("inferred"):
            text += " (inferred)"
        if data.get("cause") == "room-closed":
            text += " (room-closed)"
    return f"{text} after {_after(said.after)}" if times else text


def _after(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.4g} s"


_HEAD = """\
# What Rollcall says, and when

Written by `make semantics` from what the heart does, and held to it by a test. Times
count from the first callback of the situation, by arrival; only what happens from there on is
shown, for 20 minutes where it matters no longer. Where nothing else is said, the callbacks arrive
within a second and Dana is in the room with a phone. The room takes four participants here.
"Complaint" is what users of Twilio Video have complained about: what they see instead is in the
row.

What cannot be seen: callbacks lost before the first and after the last that was heard, since
sequence numbers tell holes only; a recording's or composition's, which have no numbers; and a
ghost without a second session, for 24 hours.

Verdicts do not depend on the order in which callbacks arrive, as long as they do so within the
bounds: 10 minutes after the end of their session (one minute where 48 have ended in the room or 8
of the person), a day after the end of their room, 512 holes in the numbers and 500 recordings,
compositions and unknown events of a room at a time.

| situation | at once | later, by time alone | alerts |
|---|---|---|---|
"""


def document() -> str:
    """Write the document down."""
    rows = []
    for situation in SITUATIONS:
        at_once, later = _told(situation)
        alerts = sorted(filter(_is_alert, [*at_once, *later]), key=lambda one: one.after)
        events = [[one for one in said if not _is_alert(one)] for said in (at_once, later)]
        cells = (
            f"{situation.title}. {situation.remark}".strip(),
            _in_words(events[0], times=False),
            _in_words(events[1], times=True),
            _in_words(alerts, times=True),
        )
        rows.append(f"| {' | '.join(cells)} |\n")
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    DOCUMENT.write_text(document())
