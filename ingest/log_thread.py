"""The log of the door, written by a thread: whoever says something on the event loop need not wait.

A line costs a lock among processes and three calls of the system, at each of which other threads
may take Python's own lock; written together they cost that once. Where nobody reads, lines wait in
memory, up to a bound, and past it they are dropped and counted. Knows not what the lines say.
"""

from __future__ import annotations

import threading

import structlog

from schemas.logs import Lines, say

# How long lines gather: nobody who looks at a log sees it, and a process that is killed loses no
# more of it than that.
_GATHER_SECONDS = 0.02
# Some 15,000 callbacks.
_MOST_BYTES = 4 * 1024 * 1024
_STOP_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class LogThread:
    """Takes lines as `Lines` does, and writes them a moment later."""

    def __init__(self, lines: Lines, *, most_bytes: int = _MOST_BYTES) -> None:
        """Start the thread, which does not survive a fork."""
        self._lines = lines
        self._most_bytes = most_bytes
        self._between_threads = threading.Lock()
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._dropped = 0
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, lines: bytes) -> None:
        """Have lines written, each ended by a newline."""
        if not self._thread.is_alive():
            # It has been stopped, or this process was forked from the one that it ran in.
            say(self._lines, lines)
            return
        with self._between_threads:
            if self._bytes + len(lines) > self._most_bytes:
                self._dropped += 1
                return
            self._waiting.append(lines)
            self._bytes += len(lines)
        if not self._some.is_set():
            self._some.set()

    def stop(self) -> None:
        """Write what waits, and end the thread; give up after a while where nobody reads."""
        self._stopping.set()
        self._some.set()
        self._thread.join(_STOP_SECONDS)
        if not self._thread.is_alive() and (left := self._take()):
            # Somebody was just at it.
            say(self._lines, left)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._some.wait()
            self._stopping.wait(_GATHER_SECONDS)
            self._some.clear()
            while waiting := self._take():
                say(self._lines, waiting)

    def _take(self) -> bytes:
        with self._between_threads:
            waiting, self._waiting, self._bytes = self._waiting, [], 0
            dropped, self._dropped = self._dropped, 0
        if dropped:
            _log.warning("log_lines_dropped", lines=dropped)
        return b"".join(waiting)
