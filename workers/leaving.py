"""Leaving: how the processes of a worker are told to end, and when they may. Knows no shard."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawValue


class Leaving:
    """Whether a process is to end; made before the worker forks, and so one for all of them."""

    def __init__(self) -> None:
        # Set once and never back, so it needs no lock.
        self._all = RawValue("b", 0)
        self._one = False

    def tell_all(self) -> None:
        """Tell all processes of the worker. May be called from inside a signal handler."""
        self._all.value = 1

    def is_asked(self) -> bool:
        """Whether this process is to finish what is at hand and begin nothing more."""
        return self._one or bool(self._all.value)

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Put a SIGTERM off until the block is done, and have it seen that one has come.

        Heroku and foreman send it to the children as well as to the main process
        (https://devcenter.heroku.com/articles/dynos#shutdown), and Celery's end on the spot. One
        that holds a shard would leave it to nobody until the lease has run out.
        """
        before = signal.signal(signal.SIGTERM, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
            if self._one:
                signal.raise_signal(signal.SIGTERM)

    def _note(self, *_: object) -> None:
        self._one = True
