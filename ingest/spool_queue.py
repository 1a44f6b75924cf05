"""The queue before the disk: one thread writes for all that wait, and nobody waits for ever.

One fsync serves everybody who came while the last one ran. Knows neither files nor SQLite: it is
told how to write and whether there is room.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from ingest.spool_rows import Row
from schemas.errors import UnavailableError

# For so long a disk that has just failed is not tried again: each try holds a request, and a disk
# that is full stays so for longer.
_TROUBLE_SECONDS = 0.5
_STOP_SECONDS = 1.0

_log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class _Ticket:
    """A callback on its way to the disk, and what became of it."""

    # None where somebody only wants to know whether the disk takes anything.
    row: Row | None
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    @property
    def size(self) -> int:
        return self.row.size if self.row else 0


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
        self._changed = threading.Condition()
        # In their order; a dictionary, since whoever gives up leaves from the middle.
        self._waiting: dict[_Ticket, None] = {}
        # What is promised room: those that wait, and those that are being written.
        self.size = 0
        # Whether the disk failed when it was last tried, and until when it is not tried again.
        self.failing = False
        self._not_before = 0.0
        self._stopping = False
        self._thread: threading.Thread | None = None

    def put(self, row: Row | None, *, seconds: float) -> None:
        """Return once the row is on the disk.

        Args:
            row: None to try the disk with nothing.
            seconds: how long to wait.

        Raises:
            UnavailableError: there is no room, the disk did not take it, or not in time; in the
                last case it may be kept all the same.
        """
        ticket = _Ticket(row)
        with self._changed:
            self._join(ticket)
        if not ticket.done.wait(seconds):
            self._give_up(ticket)
            raise UnavailableError("The disk that keeps callbacks does not answer in time.")
        if ticket.error is not None:
            raise UnavailableError from ticket.error

    def stop(self) -> None:
        """Write what waits, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def _join(self, ticket: _Ticket) -> None:
        if time.monotonic() < self._not_before:
            raise UnavailableError("The disk that keeps callbacks has failed a moment ago.")
        if self._stopping or not self._has_room():
            raise UnavailableError("Redis does not take it; the spool is full or switched off.")
        # A thread does not survive a fork, and is seen not to be alive after one.
        if self._thread is None or not self._thread.is_alive():
            self._start()
        self._waiting[ticket] = None
        self.size += ticket.size
        self._changed.notify()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._serve, name="spool", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            # The system has no thread left; the next request tries again.
            self._thread = None
            raise UnavailableError from error

    def _give_up(self, ticket: _Ticket) -> None:
        self._note(TimeoutError())
        with self._changed:
            if ticket in self._waiting:
                del self._waiting[ticket]
                self.size -= ticket.size

    def _serve(self) -> None:
        while tickets := self._next():
            error = self._tried([ticket.row for ticket in tickets if ticket.row])
            self._note(error)
            with self._changed:
                self.size -= sum(ticket.size for ticket in tickets)
            for ticket in tickets:
                ticket.error = error
                ticket.done.set()

    def _next(self) -> list[_Ticket]:
        """Take all that wait. Empty when stopped and nobody does."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            tickets = list(self._waiting)
            self._waiting.clear()
            return tickets

    def _tried(self, rows: list[Row]) -> Exception | None:
        try:
            self._write(rows)
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait must be told
            return error
        return None

    def _note(self, error: Exception | None) -> None:
        self._not_before = time.monotonic() + _TROUBLE_SECONDS if error else 0.0
        if error and not self.failing:
            _log.error("spool_failing", cause=type(error).__name__, said=error)
        elif self.failing and not error:
            _log.info("spool_failing_no_more")
        self.failing = error is not None
