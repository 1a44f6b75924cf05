"""The queue before the disk: one fsync for all that came while the last one ran.

Remembers whether the disk takes anything. Knows neither files nor SQLite: it is told how to write
and whether there is room.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from ingest.gathering import Gathering
from ingest.spool_rows import Row
from schemas.errors import UnavailableError

# For so long a disk that has just failed is not tried again: each try holds a request, and a disk
# that is full stays so for longer.
_TROUBLE_SECONDS = 0.5
_STOP_SECONDS = 1.0

_log = structlog.get_logger()


class SpoolQueue:
    """Callbacks that wait for the disk."""

    def __init__(self, write: Callable[[list[Row]], None], has_room: Callable[[], bool]) -> None:
        """Start nothing yet.

        Args:
            write: makes rows durable, and tries the disk where there are none; only ever called
                by one thread.
            has_room: whether one row more may be kept, beside those that `size` tells of.
        """
        self._write = write
        self._has_room = has_room
        self._gathering: Gathering[Row | None, None] = Gathering("spool", self._carry, self._admit)
        # Whether the disk failed when it was last tried, and until when it is not tried again.
        self.failing = False
        self._not_before = 0.0
        self._stopping = False

    @property
    def size(self) -> int:
        """What is promised room: those that wait, and those that are being written."""
        return self._gathering.size

    def put(self, row: Row | None, *, seconds: float) -> None:
        """Return once the row is on the disk.

        Args:
            row: None to try the disk with nothing.
            seconds: how long to wait.

        Raises:
            UnavailableError: there is no room, the disk did not take it, or not in time; in the
                last case it may be kept all the same.
        """
        try:
            self._gathering.put(row, size=row.size if row else 0, seconds=seconds)
        except UnavailableError:
            raise
        except TimeoutError as error:
            self._note(error)
            raise UnavailableError(
                "The disk that keeps callbacks does not answer in time."
            ) from error
        except Exception as error:
            raise UnavailableError from error

    def stop(self) -> None:
        """Write what waits, and end the thread."""
        self._stopping = True
        self._gathering.stop(_STOP_SECONDS)

    def _admit(self) -> None:
        if time.monotonic() < self._not_before:
            raise UnavailableError("The disk that keeps callbacks has failed a moment ago.")
        if self._stopping or not self._has_room():
            raise UnavailableError("Redis does not take it; the spool is full or switched off.")

    def _carry(self, rows: list[Row | None]) -> list[None]:
        try:
            self._write([row for row in rows if row])
        except Exception as error:
            self._note(error)
            raise
        self._note(None)
        return [None] * len(rows)

    def _note(self, error: Exception | None) -> None:
        self._not_before = time.monotonic() + _TROUBLE_SECONDS if error else 0.0
        if error and not self.failing:
            _log.error("spool_failing", cause=type(error).__name__, said=error)
        elif self.failing and not error:
            _log.info("spool_failing_no_more")
        self.failing = error is not None
