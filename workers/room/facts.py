"""The facts of a room: everything that was heard, in a form that merges.

Theory of operation. Callbacks come shuffled, doubled, late or never, so facts hold nothing that
depends on who came first. Each field is a *join*, which has no order and counts nothing twice:

1. an earliest time (`first`, `connected`, `ended`): the lesser of two Marks;
2. contested text or a contested switch: the greater by (at, sequence, value);
3. a set that only grows: sessions, tracks, sequence numbers, announcements.

A value is never changed in place: merging makes new facts and shares what did not change.
Times are event times, microseconds since 1970 UTC.
"""

from __future__ import annotations

from typing import NamedTuple


class Mark(NamedTuple):
    """A callback's place in the total order of all callbacks."""

    at: int
    sequence: int
    id: bytes


class End(NamedTuple):
    """A callback that ends a session or a room, with the duration in seconds that it told."""

    at: int
    sequence: int
    id: bytes
    duration: int | None


class Said(NamedTuple):
    """A text that callbacks may tell differently; the greatest wins."""

    at: int
    sequence: int
    text: str


class Switched(NamedTuple):
    """A track's flag, as the greatest of its enabled and disabled callbacks has it."""

    at: int
    sequence: int
    enabled: bool


class Track(NamedTuple):
    """One publication of a track by one participant."""

    first: int
    kind: Said | None = None
    name: Said | None = None
    added: int | None = None
    removed: int | None = None
    switched: Switched | None = None


class Session(NamedTuple):
    """One ParticipantSid: one stay of somebody in the room."""

    first: Mark
    identity: Said | None = None
    connected: Mark | None = None
    ended: End | None = None
    tracks: dict[str, Track] = {}  # noqa: RUF012  # never changed in place, like all facts

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


class Facts(NamedTuple):
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
    # Sequence numbers heard, as sorted ranges with both ends included.
    sequences: tuple[tuple[int, int], ...] = ()
    # The greatest Timestamp of all; what is much older than it is called late.
    latest: int = 0
    # What was told about recordings and compositions, and what nobody knows: keys of announcements.
    told: frozenset[str] = frozenset()
    # Callbacks that no worker could digest, each once however often it came.
    set_aside: frozenset[str] = frozenset()

    @property
    def start(self) -> int | None:
        """When the room was opened, as far as is known; None where no callback makes it known."""
        if self.created is not None or self.first is None:
            return self.created
        if self.ended and self.ended.duration is not None:
            return min(self.first, max(0, self.ended.at - self.ended.duration * 1_000_000))
        return self.first


NOTHING = Facts()
