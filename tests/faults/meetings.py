"""Meetings that never took place: an endless stream of callbacks, the same for the same seed.

Several rooms go on at once. People join, publish tracks, mute, leave, come back under the identity
that they still have elsewhere, and rooms end. A tenth overtake each other, a hundredth come twice.
Knows Twilio's words, and neither HTTP nor Redis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

from strategies import ACCOUNT, START, timestamp

Params = dict[str, str]

ROOMS = 12
# In callbacks: after so many a room ends soon, and so few that nothing of it is let go of before.
_LENGTH = (30, 90)
_MOST_PEOPLE = 6
_NAMES = ("Dana", "Dana ", "Ana María", "陽菜", "o'Neill", "42")
# How many callbacks later one comes that was overtaken, or that comes twice.
_BEHIND = 12


@dataclass(slots=True)
class _Session:
    sid: str
    identity: str
    # Whether each track is enabled.
    tracks: dict[str, bool] = field(default_factory=dict)


class _Room:
    """One room: what happens in it next is drawn, and told with its place in the sequence."""

    def __init__(self, random: Random, length: tuple[int, int]) -> None:
        self._random = random
        self._sid = _sid("RM", random)
        self._at = START + random.randrange(3_600_000)
        self._told = 0
        self._ends_after = random.randint(*length)
        self._sessions: list[_Session] = []
        self.over = False

    def happen(self) -> list[Params]:
        """Let something happen; return the callbacks of it."""
        self._at += self._random.choice((1, 40, 700, 2_000))
        if not self._told:
            return [self._tell("room-created", RoomType="group", RoomStatus="in-progress")]
        if self._told >= self._ends_after:
            self.over = True
            return [self._tell("room-ended", RoomType="group", RoomStatus="completed")]
        if not self._sessions:
            return self._join()
        acts = (self._join, self._publish, self._publish, self._switch, self._leave, self._return)
        return self._random.choice(acts)()

    def _join(self) -> list[Params]:
        here = {one.identity for one in self._sessions}
        free = [name for name in _NAMES if name not in here]
        if not free or len(self._sessions) >= _MOST_PEOPLE:
            return self._publish()
        return [self._enter(self._random.choice(free))]

    def _return(self) -> list[Params]:
        """Somebody comes anew under the same identity, and is thrown out of the session before."""
        old = self._random.choice(self._sessions)
        entered = self._enter(old.identity)
        self._at += 300
        return [entered, self._exit(old)]

    def _leave(self) -> list[Params]:
        return [self._exit(self._random.choice(self._sessions))]

    def _publish(self) -> list[Params]:
        session = self._random.choice(self._sessions)
        sid = _sid("MT", self._random)
        session.tracks[sid] = True
        return [self._tell_track("added", session, sid)]

    def _switch(self) -> list[Params]:
        session = self._random.choice(self._sessions)
        if not session.tracks:
            return self._publish()
        sid = self._random.choice(list(session.tracks))
        if self._random.random() < 0.2:
            del session.tracks[sid]
            return [self._tell_track("removed", session, sid)]
        session.tracks[sid] = not session.tracks[sid]
        return [self._tell_track("enabled" if session.tracks[sid] else "disabled", session, sid)]

    def _enter(self, identity: str) -> Params:
        self._sessions.append(_Session(_sid("PA", self._random), identity))
        return self._tell("participant-connected", **_who(self._sessions[-1]))

    def _exit(self, session: _Session) -> Params:
        self._sessions.remove(session)
        return self._tell("participant-disconnected", **_who(session))

    def _tell_track(self, what: str, session: _Session, sid: str) -> Params:
        return self._tell(f"track-{what}", **_who(session), TrackSid=sid, TrackKind="audio")

    def _tell(self, event: str, **params: str) -> Params:
        self._told += 1
        return {
            "AccountSid": ACCOUNT,
            "RoomSid": self._sid,
            "RoomName": "Team Room",
            "StatusCallbackEvent": event,
            "Timestamp": timestamp(self._at),
            "SequenceNumber": str(self._told - 1),
            **params,
        }


class Meetings:
    """The stream: iterate for what arrives next.

    Args:
        seed: of all that happens.
        rooms: how many go on at once.
        length: after how many callbacks a room ends soon, the least and the most.
    """

    def __init__(self, seed: int, *, rooms: int = ROOMS, length: tuple[int, int] = _LENGTH) -> None:
        self._random = Random(seed)
        self._length = length
        self._rooms = [_Room(self._random, length) for _ in range(rooms)]
        # The more rooms, the fewer of those that come between are of the same one.
        self._behind = _BEHIND * rooms // ROOMS
        # What is on its way: when it arrives, by the number of callbacks before it, and itself.
        self._on_its_way: list[tuple[int, int, Params]] = []
        self._sent = 0

    def __iter__(self) -> Meetings:
        return self

    def __next__(self) -> Params:
        while not self._on_its_way or self._on_its_way[0][0] > self._sent:
            self._happen()
        return heappop(self._on_its_way)[2]

    def rest(self) -> list[Params]:
        """What is on its way still; after that, nothing that was told before is missing."""
        return [heappop(self._on_its_way)[2] for _ in range(len(self._on_its_way))]

    def _happen(self) -> None:
        number = self._random.randrange(len(self._rooms))
        for params in self._rooms[number].happen():
            self._sent += 1
            overtaken = self._random.random() < 0.1
            self._send(params, behind=overtaken * self._random.randint(1, self._behind))
            if self._random.random() < 0.01:
                self._send(params, behind=self._random.randint(1, self._behind))
        if self._rooms[number].over:
            self._rooms[number] = _Room(self._random, self._length)

    def _send(self, params: Params, *, behind: int) -> None:
        # The second number keeps those in order that arrive together.
        place = (self._sent + behind, self._random.getrandbits(32) if behind else self._sent)
        heappush(self._on_its_way, (*place, params))


def _who(session: _Session) -> Params:
    return {"ParticipantSid": session.sid, "ParticipantIdentity": session.identity}


def _sid(prefix: str, random: Random) -> str:
    return f"{prefix}{random.getrandbits(128):032x}"
