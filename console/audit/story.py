"""The story of a room, in the terms in which people ask. Data alone.

Who was there and from when to when, who threw whom out and what that is concluded from, what was
not heard, what was alerted. Times are event times, in microseconds since 1970, unless they are said
to be arrivals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from console.audit.rebuild import Heard, Published


class Span(NamedTuple):
    """From when to when."""

    start: int
    end: int


class TrackStory(NamedTuple):
    """A track, as long as it was published."""

    track_sid: str
    kind: str
    name: str | None
    span: Span
    # When it was disabled: muted, or paused.
    muted: list[Span]
    cause: str
    published_by: Heard | None
    unpublished_by: Heard | None


class Stay(NamedTuple):
    """A session: one stay of a person."""

    participant_sid: str
    identity: str | None
    # The first of its person is 1.
    number: int
    span: Span
    # Nobody has said that it ended, nor the room.
    still_there: bool
    seconds: int | None
    cause: str
    # What its start and its end are taken from; None where that was not heard.
    started_by: Heard | None
    ended_by: Heard | None
    evicted_by: str | None
    tracks: list[TrackStory]


class Expulsion(NamedTuple):
    """That a session was thrown out by another of its person."""

    identity: str | None
    evicted: Stay
    survivor: Stay
    at: int
    gap_ms: int
    evidence: list[Heard]
    # Arrival of the last callback that it took to conclude it.
    concluded: int


class Withdrawn(NamedTuple):
    """An eviction that was published and taken back."""

    identity: str | None
    evicted_sid: str
    survivor_sid: str
    # By arrival.
    believed: Span


class Gap(NamedTuple):
    """Callbacks that were not heard, or not for a while, by their sequence numbers."""

    least: int
    most: int
    # Of those heard before and after them by number: about when they happened.
    span: Span
    # Arrivals: when they were found missing, and when they came after all.
    found: int | None
    closed: int | None


class Alarm(NamedTuple):
    """An alert as it was at its worst, and from when to when it was raised, by arrival."""

    name: str
    severity: str
    summary: str
    identity: str | None
    times: int
    raised: int
    # None where it was never resolved.
    resolved: int | None
    n: int


class Story(NamedTuple):
    """Everything there is to tell of a room."""

    room_sid: str
    name: str | None
    type: str | None
    # Of all that was heard, and of the room as far as it is known.
    span: Span
    closed_by: str | None
    opened_by: Heard | None
    ended_by: Heard | None
    people: dict[str | None, list[Stay]]
    expulsions: list[Expulsion]
    withdrawn: list[Withdrawn]
    gaps: list[Gap]
    alarms: list[Alarm]
    heard: list[Heard]
    # What was told beside: recordings, compositions, what is not known, each word of an alert.
    told: list[Published]

    @property
    def stays(self) -> Iterator[Stay]:
        for stays in self.people.values():
            yield from stays

    @property
    def lost(self) -> list[Gap]:
        """The gaps that nothing has closed."""
        return [gap for gap in self.gaps if gap.closed is None]

    def there_at(self, moment: int) -> list[Stay]:
        """Tell who was in the room."""
        return [
            stay
            for stay in self.stays
            if stay.span.start <= moment and (stay.still_there or moment < stay.span.end)
        ]
