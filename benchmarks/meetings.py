"""The load: what Twilio tells of many meetings at once, in the proportions of real ones.

People join and publish, mute themselves again and again, stop and start their camera, come back
under their identity, and leave. Deterministic by its seed. Knows nothing of requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

Params = dict[str, str]

ACCOUNT = "AC" + "b" * 32
ROOMS = 500
# What people publish: their microphone first.
KINDS = ("audio", "video")
# Of a hundred callbacks.
DUPLICATES = 0.01
SHUFFLED = 0.05

_BEGIN = datetime(2023, 8, 14, 9, tzinfo=UTC)
# Of a hundred meetings: how many people come to it, at least and at most. Twilio's rooms take 50.
_SIZES = ((80, 2, 3), (15, 4, 10), (5, 30, 50))
# How often each person does something between coming and going, on average.
_ACTS = 6
# Of what people do: throw out their own older session, publish their camera anew, or else mute.
_RETURNS = 0.02
_CAMERAS = 0.06


def sid(prefix: str, random: Random) -> str:
    """Draw a SID."""
    return f"{prefix}{random.getrandbits(128):032x}"


class Meeting:
    """One room, told callback by callback; every callback happens after the one before."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._at = _BEGIN + timedelta(milliseconds=random.randrange(3_600_000))
        self._began = self._at
        self._number = 0
        self.room_sid = sid("RM", random)
        self._room = {"RoomSid": self.room_sid, "RoomName": f"Room {random.randrange(10**6)}"}
        # By ParticipantSid: what is told of the person, and the kinds of its tracks by their SID.
        self._people: dict[str, Params] = {}
        self._tracks: dict[str, dict[str, str]] = {}
        self._since: dict[str, datetime] = {}
        self._muted: set[str] = set()

    def callbacks(self) -> Iterator[Params]:
        """Tell the whole meeting, in the order in which it happens."""
        size = _size(self._random)
        yield self._told("room-created")
        for number in range(size):
            yield from self._join(f"Person {number}")
            for _ in range(self._random.randrange(_ACTS)):
                yield from self._act()
        for _ in range(size * _ACTS // 2):
            yield from self._act()
        for participant in self._random.sample([*self._people], len(self._people)):
            yield self._leave(participant)
        seconds = int((self._at - self._began).total_seconds())
        yield self._told("room-ended", RoomStatus="completed", RoomDuration=str(seconds))

    def gather(self, people: int, kinds: Sequence[str] = KINDS) -> Iterator[Params]:
        """Tell of a room to which so many people come, each of whom publishes such tracks."""
        yield self._told("room-created")
        for number in range(people):
            yield from self._join(f"Person {number}", kinds)

    def mute(self) -> Params:
        """Tell of somebody who mutes or unmutes the microphone."""
        participant = self._random.choice([*self._people])
        microphone = next(iter(self._tracks[participant]))
        self._muted ^= {microphone}
        what = "disabled" if microphone in self._muted else "enabled"
        return self._track(what, participant, microphone)

    def _told(self, event: str, **said: str) -> Params:
        self._at += timedelta(milliseconds=self._random.randrange(1, 4_000))
        at = self._at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        place = {"RoomStatus": "in-progress", "RoomType": "group", **self._room}
        number, self._number = self._number, self._number + 1
        head = {"StatusCallbackEvent": event, "Timestamp": at, "SequenceNumber": str(number)}
        return {"AccountSid": ACCOUNT, **place, **head, **said}

    def _join(self, identity: str, kinds: Sequence[str] = KINDS) -> Iterator[Params]:
        participant = sid("PA", self._random)
        who = {"ParticipantSid": participant, "ParticipantIdentity": identity}
        self._people[participant], self._tracks[participant] = who, {}
        yield self._told("participant-connected", ParticipantStatus="connected", **who)
        self._since[participant] = self._at
        for kind in kinds:
            yield self._publish(participant, kind)

    def _publish(self, participant: str, kind: str) -> Params:
        track = sid("MT", self._random)
        self._tracks[participant][track] = kind
        return self._track("added", participant, track)

    def _track(self, what: str, participant: str, track: str) -> Params:
        kind = self._tracks[participant][track]
        told = {"TrackSid": track, "TrackKind": kind, "TrackName": f"{kind}-1"}
        return self._told(f"track-{what}", **self._people[participant], **told)

    def _act(self) -> Iterator[Params]:
        participant = self._random.choice([*self._people])
        chance = self._random.random()
        if chance < _RETURNS:
            yield from self._join(self._people[participant]["ParticipantIdentity"])
            yield self._leave(participant)
        elif chance < _RETURNS + _CAMERAS:
            camera = next(one for one, kind in self._tracks[participant].items() if kind == "video")
            yield self._track("removed", participant, camera)
            del self._tracks[participant][camera]
            yield self._publish(participant, "video")
        else:
            yield self.mute()

    def _leave(self, participant: str) -> Params:
        # The tracks go without a word.
        del self._tracks[participant]
        who = self._people.pop(participant)
        told = self._told("participant-disconnected", ParticipantStatus="disconnected", **who)
        seconds = int((self._at - self._since.pop(participant)).total_seconds())
        return told | {"ParticipantDuration": str(seconds)}


def _size(random: Random) -> int:
    ((_, least, most),) = random.choices(_SIZES, [share for share, *_ in _SIZES])
    return random.randint(least, most)


def disturbed(callbacks: Iterable[Params], random: Random) -> Iterator[Params]:
    """Let some callbacks of a room be overtaken by up to three others, and some come twice."""
    held: list[tuple[int, Params]] = []
    for number, one in enumerate(callbacks):
        if random.random() < SHUFFLED:
            held.append((number + random.randint(1, 3), one))
            continue
        yield one
        if random.random() < DUPLICATES:
            yield one
        yield from (late for until, late in held if until <= number)
        held = [(until, late) for until, late in held if until > number]
    yield from (late for _, late in held)


def traffic(seed: int, *, rooms: int = ROOMS) -> Iterator[Params]:
    """Tell of so many meetings at once, without an end: where one ends, another begins."""
    random = Random(seed)

    def begun() -> Iterator[Params]:
        return disturbed(Meeting(random).callbacks(), random)

    live = [begun() for _ in range(rooms)]
    while True:
        room = random.randrange(rooms)
        told = next(live[room], None)
        if told is None:
            live[room] = begun()
        else:
            yield told
