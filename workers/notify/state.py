"""How far a target has come: its place in the stream, and what must be remembered of its tries.

Pure: the clock is an argument. All times are milliseconds since 1970.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from schemas.errors import UnreadableRecordError
from workers.notify.alert import order

_LONGEST_MS = 25 * 3_600_000


class Told(NamedTuple):
    """The last notification about a room."""

    # The last entry in it; it may lie beyond the cursor, where another room's is still waiting.
    entry_id: str
    at: int


class State(NamedTuple):
    """What is stored of a target."""

    # All entries up to this one are delivered, or set aside.
    cursor: str
    # All up to this one were looked at, and nothing more could be done until `look_at`.
    seen: str
    # When to look again even if nothing was published since; 0: then only.
    look_at: int = 0
    # How often the next one has failed, and before when it must not be tried again.
    attempts: int = 0
    retry_at: int = 0
    # Of rooms told about lately, or beyond the cursor.
    rooms: dict[str, Told] = {}  # noqa: RUF012  # never changed in place
    # When all that is firing was last said.
    refreshed_at: int = 0

    def is_due(self, last_id: str, now: int) -> bool:
        """Tell whether there is something to do, `last_id` being the last entry of the stream."""
        if not self.may_try(now):
            return False
        return order(last_id) > order(self.seen) or 0 < self.look_at <= now

    def may_try(self, now: int) -> bool:
        """Tell whether the wait after a failure is over.

        Nothing is put off for longer than a day: such a time was written by a clock that was wrong.
        """
        return not now < self.retry_at <= now + _LONGEST_MS

    def delivered(self, now: int) -> State:
        """Forget the tries of what has been delivered or set aside."""
        return self._replace(look_at=now, attempts=0, retry_at=0)

    def failed(self, retry_at: int) -> State:
        """Remember a try that failed."""
        attempts = self.attempts + 1
        return self._replace(look_at=retry_at, attempts=attempts, retry_at=retry_at)


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(State).decode


def decode(stored: bytes) -> State:
    """Read a stored state.

    Raises:
        UnreadableRecordError: nobody's code wrote it, or it was damaged since.
    """
    try:
        return _decode(stored)
    except msgspec.DecodeError as error:
        raise UnreadableRecordError(f"A target's state cannot be read: {error}.") from error
