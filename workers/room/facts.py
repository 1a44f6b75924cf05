"""The facts of a room: everything that was heard, in a form that merges.

Theory of operation. Callbacks come shuffled, doubled, late or never, so facts hold nothing that
depends on who came first. Each field is a *join*, which has no order and counts nothing twice:

1. an earliest time (`first`, `connected`, `ended`): the lesser of two Marks;
2. contested text or a contested switch: the greater by (at, sequence, value);
3. a set that only grows: sessions, tracks, sequence numbers, announcements.

Beside them are marks of patience, in arrival time: `heard`, `end_heard`, `looked`, `presumed`. They
are joins as well, of callbacks with their arrival. And what is bounded by time is let go: sessions
that ended long ago are folded into `rows` and `tallies`, and a room that ended long ago expires.

A value is never changed in place: merging makes new facts and shares what did not change.
Times are in microseconds since 1970 UTC, event times where nothing else is said.
"""

from __future__ import annotations

from workers.room.value import Value


class Mark(Value, order=True):
    """A callback's place in the total order of all callbacks."""

    at: int
    sequence: int
    id: bytes


class End(Value, order=True):
    """A callback that ends a session or a room, with the duration in seconds that it told.

    Two that are equal cannot be asked which is less: both durations may be none.
    """

    at: int
    sequence: int
    id: bytes
    duration: int | None


class Said(Value, order=True):
    """A text that callbacks may tell differently; the greatest wins."""

    at: int
    sequence: int
    text: str


class Switched(Value, order=True):
    """A track's flag, as the greatest of its enabled and disabled callbacks has it."""

    at: int
    sequence: int
    enabled: bool


class Track(Value):
    """One publication of a track by one participant."""

    first: int
    kind: Said | None = None
    name: Said | None = None
    added: int | None = None
    removed: int | None = None
    switched: Switched | None = None


class Session(Value):
    """One ParticipantSid: one stay of somebody in the room."""

    first: Mark
    identity: Said | None = None
    connected: Mark | None = None
    ended: End | None = None
    tracks: dict[str, Track] = {}  # noqa: RUF012  # never changed in place, like all facts
    # Arrival of the first callback about it, and of the first that ended it.
    heard: int = 0
    end_heard: int | None = None
    # Arrival of the first newer session of its identity, of those that were let go.
    overtaken: int | None = None

    @property
    def start(self) -> int:
        """When it began: told by its connect callback, or else worked out from what was heard.

        ParticipantDuration is rounded down, so a session began up to 999 ms before what it gives.
        A duration that reaches back before 1970 is nonsense, and no time could be written of it.
        """
        if self.connected:
            return self.connected.at
        if self.ended and self.ended.duration is not None:
            told = self.ended.at - self.ended.duration * 1_000_000 - 999_000
            return min(self.first.at, max(0, told))
        return self.first.at


# No identity is known to begin so; Twilio refuses what it calls bad characters (error 53202).
NOBODY_KNOWN = "\0"


def person_of(sid: str, session: Session) -> str:
    """Whose session it is: an identity, or where none was told a person of its own."""
    return session.identity.text if session.identity else NOBODY_KNOWN + sid


class Row(Value):
    """A session that was folded away, as the roster will have it."""

    participant_sid: str
    identity: str | None
    start: int
    end: int
    seconds: int
    evicted_by: str | None
    # track_sid, kind, name, start, end of each.
    tracks: tuple[tuple[str, str | None, str | None, int, int], ...] = ()


class Tally(Value):
    """What is left of the sessions of one identity for which there was no row."""

    sessions: int = 0
    evictions: int = 0
    seconds: int = 0


class Carried(Value):
    """What is known of a person's evictions that were let go of."""

    # Of the episode that was under way with the last of them: how many, without a storm and in one.
    plain: int
    stormy: int
    since: int
    storm_since: int | None
    # Arrival of what it took to conclude the last of them.
    heard: int
    # When the last few happened.
    times: tuple[int, ...]


class Range(Value, order=True):
    """Sequence numbers heard, both ends included, and when the first of them arrived."""

    least: int
    most: int
    heard: int


class Stall(Value):
    """Callbacks that waited in an inbox for too long."""

    # Arrival of the oldest of them.
    since: int
    # When that was found last: it is over once time has come so far.
    until: int


class Facts(Value):
    """All that was heard about one room."""

    room_sid: str = ""
    account_sid: str = ""
    name: Said | None = None
    type: Said | None = None
    # The earliest room, participant or track callback: the room exists since then at the latest.
    first: int | None = None
    created: int | None = None
    ended: End | None = None
    sessions: dict[str, Session] = {}  # noqa: RUF012  # never changed in place, like all facts
    # Sorted, and never adjacent.
    sequences: tuple[Range, ...] = ()
    # The greatest Timestamp of all; what is much older than it is called late.
    latest: int = 0
    # The earliest callback that said that the room has failed.
    failed: int | None = None
    # Recordings that have failed, and when; whatever else is forgotten of what was told.
    recordings_failed: dict[str, int] = {}  # noqa: RUF012  # as above
    # What was told about recordings and compositions, and what nobody knows: announcements' keys.
    # With the arrival of each.
    told: dict[str, int] = {}  # noqa: RUF012  # as above
    # Callbacks that no worker could digest, each once however often it came.
    set_aside: frozenset[str] = frozenset()
    # The sessions of each person; `sessions` seen from the other side.
    people: dict[str, tuple[str, ...]] = {}  # noqa: RUF012  # as above
    # How many of the sessions have not ended, and of how many people they are.
    connected: int = 0
    present: int = 0

    # Arrival of the last callback that told something new.
    heard: int = 0
    # Arrival of the first that ended the room.
    end_heard: int | None = None
    # Up to when timers have run, and callbacks have arrived.
    looked: int = 0
    # When the view changes next by time alone: for each identity, and for the room (0 for never).
    waits: dict[str, int] = {}  # noqa: RUF012  # as above
    due: int = 0
    # When the room was taken for ended, since nothing more was heard.
    presumed: int | None = None
    # The room is closed, and nothing more was heard for a while.
    quiet: bool = False
    # How often the roster was told, and a digest of the last.
    editions: int = 0
    settled: str = ""

    # Sessions that are let go: the first of them in full, the others in numbers.
    rows: tuple[Row, ...] = ()
    tallies: dict[str, Tally] = {}  # noqa: RUF012  # as above
    # Of those for whom there is no tally either.
    others: Tally = Tally()
    # Their evictions, by identity.
    carried: dict[str, Carried] = {}  # noqa: RUF012  # as above
    # When the last of them was over: a session unknown and no later is one of them.
    folded_until: int = 0
    # The room ended long ago, and nothing but this is left of it.
    expired: bool = False
    # Of a pseudo-room: its shard's inbox has not been drained in time.
    stall: Stall | None = None

    @property
    def start(self) -> int | None:
        """When the room was opened, as far as is known; None where no callback makes it known."""
        if self.created is not None or self.first is None:
            return self.created
        if self.ended and self.ended.duration is not None:
            return min(self.first, max(0, self.ended.at - self.ended.duration * 1_000_000))
        return self.first

    @property
    def end(self) -> int | None:
        """When the room was closed; None while it is open.

        A room that is presumed to have ended was closed at a moment of arrival time.
        """
        return self.ended.at if self.ended else self.presumed

    @property
    def until(self) -> int:
        """Until when what has not ended was going on: the end of the room, or what is known."""
        return self.ended.at if self.ended else self.latest


NOTHING = Facts()
