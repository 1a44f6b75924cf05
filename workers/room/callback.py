"""A status callback as the heart takes it: already checked, its times and numbers already read."""

from __future__ import annotations

from collections.abc import Mapping

from workers.room.value import Value


class Callback(Value):
    """One thing that Twilio said.

    `said` holds every known parameter under Twilio's name in snake_case (`participant_sid`,
    `track_kind`, `duration`), numbers as int; `strange` the parameters nobody knows, as they came.
    """

    event: str
    account_sid: str
    # The RoomSid, or the AccountSid for an unknown event that names no room.
    room_sid: str
    # The Timestamp: microseconds since 1970 UTC. The only time that a verdict is made from. An
    # unknown event may carry none; its arrival stands in, for the event that reports it.
    at: int
    # The SequenceNumber, or -1: recordings and compositions carry none.
    sequence: int
    # The first 8 bytes of the SHA-256 over the parameters, so that it is the same for a repetition.
    id: bytes
    said: Mapping[str, str | int]
    strange: Mapping[str, str]
    # When it arrived: microseconds since 1970 by Redis's clock. For patience, never for a verdict.
    arrived: int = 0

    @property
    def dated(self) -> bool:
        """Whether `at` is its Timestamp; facts hold no arrival time, a repetition has another."""
        return "timestamp" in self.said

    def text(self, name: str) -> str | None:
        """Return a text parameter, or None where the callback does not tell it."""
        value = self.said.get(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int | None:
        """Return a number, or None where the callback does not tell it."""
        value = self.said.get(name)
        return value if isinstance(value, int) else None
