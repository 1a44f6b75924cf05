"""The gathering: one thread carries what many wait for, all that came meanwhile at once.

While one round trip is under way, or one fsync, the next ones gather, and nobody waits for ever.
Knows neither Redis nor disks: it is told how to carry.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

from ingest.waiting import Wait, end_all, new_wait
from schemas.errors import UnavailableError

# What is carried at once, of whatever size one may be: what Redis takes in a few milliseconds.
_MOST = 256
_MOST_BYTES = 1 << 20

_UNDER_WAY = object()

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class _Ticket(Generic[Item, Outcome]):
    """Something on its way, and what became of it."""

    __slots__ = ("item", "outcome", "size", "wait")

    def __init__(self, item: Item, size: int) -> None:
        self.item = item
        self.size = size
        self.wait: Wait = new_wait()
        self.outcome: Outcome | Exception | object = _UNDER_WAY


class Gathering(Generic[Item, Outcome]):
    """Items that wait to be carried."""

    def __init__(
        self,
        name: str,
        carry: Callable[[list[Item]], Sequence[Outcome | Exception]],
        admit: Callable[[], None] = lambda: None,
    ) -> None:
        """Start nothing yet.

        Args:
            name: of the thread.
            carry: tells of each item what became of it; what it raises became of them all. Only
                ever called by one thread.
            admit: raises where nothing more is to be taken. `size` stays as it is meanwhile.
        """
        self._name = name
        self._carry = carry
        self._admit = admit
        self._changed = threading.Condition()
        # In their order; a dictionary, since whoever gives up leaves from the middle.
        self._waiting: dict[_Ticket[Item, Outcome], None] = {}
        # Of what waits and of what is being carried, in bytes.
        self.size = 0
        self._stopping = False
        self._thread: threading.Thread | None = None

    def put(self, item: Item, *, size: int, seconds: float) -> Outcome:
        """Wait until the item was carried, and return what became of it.

        Args:
            item: what is to be carried.
            size: of it, in bytes.
            seconds: how long to wait.

        Raises:
            TimeoutError: it was not in time, and may be carried all the same.
            UnavailableError: this has been stopped, or there is no thread to be had.
            Exception: what `admit` or `carry` raised, or the latter told of the item.
        """
        ticket: _Ticket[Item, Outcome] = _Ticket(item, size)
        with self._changed:
            self._join(ticket)
        ticket.wait.wait(seconds)
        # After a stop of the whole process, both may be so: the time is up, and it was carried.
        if ticket.outcome is _UNDER_WAY:
            self._leave(ticket)
            raise TimeoutError
        if isinstance(ticket.outcome, Exception):
            # Others may be told of the same one.
            raise ticket.outcome.with_traceback(None)
        return cast("Outcome", ticket.outcome)

    def stop(self, seconds: float) -> None:
        """Carry what waits, for at most `seconds`, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)

    def _join(self, ticket: _Ticket[Item, Outcome]) -> None:
        self._admit()
        if self._stopping:
            raise UnavailableError
        # A thread does not survive a fork, and is seen not to be alive after one.
        if self._thread is None or not self._thread.is_alive():
            self._start()
        self._waiting[ticket] = None
        self.size += ticket.size
        self._changed.notify()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            # The system has no thread left; the next one tries again.
            self._thread = None
            raise UnavailableError from error

    def _leave(self, ticket: _Ticket[Item, Outcome]) -> None:
        with self._changed:
            if ticket in self._waiting:
                del self._waiting[ticket]
                self.size -= ticket.size

    def _serve(self) -> None:
        while tickets := self._next():
            outcomes = self._carried([ticket.item for ticket in tickets])
            for ticket, outcome in zip(tickets, outcomes, strict=True):
                ticket.outcome = outcome
            with self._changed:
                self.size -= sum(ticket.size for ticket in tickets)
            end_all(ticket.wait for ticket in tickets)

    def _carried(self, items: list[Item]) -> Sequence[Outcome | Exception]:
        try:
            return self._carry(items)
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait must be told
            return [error] * len(items)

    def _next(self) -> list[_Ticket[Item, Outcome]]:
        """Take what has waited longest. Empty when stopped and nobody waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            tickets: list[_Ticket[Item, Outcome]] = []
            room = _MOST_BYTES
            for ticket in self._waiting:
                room -= ticket.size
                if tickets and (room < 0 or len(tickets) == _MOST):
                    break
                tickets.append(ticket)
            for ticket in tickets:
                del self._waiting[ticket]
            return tickets
