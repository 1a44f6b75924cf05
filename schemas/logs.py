"""Log lines: one JSON object a line, with a constant snake_case `event` name, for every process.

Audit records are such lines too, so one stream serves all. Lines are written whole: two processes
that write more than 4 KiB to one pipe tear each other's lines, so all writing is under one lock.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import select
import sys
import tempfile
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

import msgspec
import structlog
from structlog.processors import ExceptionRenderer
from structlog.typing import EventDict, Processor

from schemas import discretion

# A reader that is slow holds everybody up alike, and rightly so; but a stopped process may hold the
# lock for as long as it likes. After this, torn lines are the lesser evil: readers pass over one,
# and nobody recovers a worker that hangs.
_PATIENCE_SECONDS = 30.0
# A pipe that says it can be written to takes this much at once, and more may have to wait within
# the write, which nothing can end (https://man7.org/linux/man-pages/man7/pipe.7.html).
_PIECE = select.PIPE_BUF

_STANDARD_ERROR = 2

_encode = msgspec.json.Encoder(enc_hook=repr).encode


class Lines:
    """Whole lines to one file descriptor, from several threads and forked processes.

    Make it before the fork. The lock between processes is a POSIX record lock, which dies with its
    holder: a killed process leaves nothing locked.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock_file = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        # Whether somebody began to write and has not come to the end; forked processes share it.
        self._begun = mmap.mmap(-1, 1)
        self._between_threads = threading.Lock()
        self._patience = _PATIENCE_SECONDS
        self._writable = select.poll()
        self._writable.register(descriptor, select.POLLOUT)
        # How long to wait for a reader, in seconds.
        self._patience_with_reader = _PATIENCE_SECONDS
        os.register_at_fork(after_in_child=self._forget_threads)

    def write(self, lines: bytes) -> None:
        """Write lines, each ended by a newline.

        Raises:
            OSError: the other end is closed, or the disk is full, or nobody has read for 30 s.
        """
        with self._between_threads:
            locked = False
            try:
                locked = self._lock()
                if self._begun[0]:
                    # Whoever that was, was killed or broken off, perhaps within a line, which would
                    # swallow the next one. At the worst, this line is empty.
                    lines = b"\n" + lines
                self._begun[0] = True
                rest = memoryview(lines)
                while rest:
                    rest = rest[self._write_some(rest) :]
                self._begun[0] = False
            finally:
                if locked:
                    fcntl.lockf(self._lock_file, fcntl.LOCK_UN)

    def _write_some(self, lines: memoryview) -> int:
        if not self._writable.poll(self._patience_with_reader * 1000):
            # A reader that is gone for so long is not waited for again and again: whoever writes
            # next is told at once.
            self._patience_with_reader = 0.0
            raise TimeoutError(f"nobody has read it for {_PATIENCE_SECONDS:.0f} s")
        self._patience_with_reader = _PATIENCE_SECONDS
        try:
            return os.write(self._descriptor, lines[:_PIECE])
        except BlockingIOError:
            # Whoever shares this pipe or terminal has made it non-blocking, and was faster.
            return 0

    def _lock(self) -> bool:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                fcntl.lockf(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > deadline:
                    # Whoever holds it still will not be waited for again and again.
                    self._patience = 0.0
                    return False
                time.sleep(0.001)
            else:
                self._patience = _PATIENCE_SECONDS
                return True

    def _forget_threads(self) -> None:
        # Only the forking thread lives on in the child; a lock that another one held never opens.
        self._between_threads = threading.Lock()


def iso_milliseconds(microseconds: int) -> str:
    """Write a time in UTC with milliseconds, as every time in a log line or event is written.

    Args:
        microseconds: since 1970. What lies outside the years 1 to 9999 is moved to their edge: a
            time that was worked out from nonsense must not stop what it is written for.
    """
    minutes, rest = divmod(min(max(microseconds, _FIRST), _LAST), 60_000_000)
    return f"{_iso_minutes(minutes)}:{rest // 1_000_000:02d}.{rest // 1000 % 1000:03d}Z"


_FIRST, _LAST = (
    int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000 for year in (1, 9999)
)


# Callbacks come in clusters of the same minute, and formatting a time costs more than finding it.
@lru_cache(maxsize=1024)
def _iso_minutes(minutes: int) -> str:
    return f"{datetime.fromtimestamp(minutes * 60, UTC):%Y-%m-%dT%H:%M}"


class TakesLines(Protocol):
    """Where lines go."""

    def write(self, lines: bytes) -> None:
        """Write lines, each ended by a newline; may raise OSError where nobody takes them."""


def configure_logs(lines: TakesLines, process: str, *, hide_names: bool = False) -> None:
    """Send every log record of this process, ours and the libraries', through `lines`.

    Args:
        lines: where to.
        process: web, worker or beat.
        hide_names: leave out what may quote an identity or a name: the messages of exceptions,
            what libraries have put into theirs, and what others answered.
    """
    told: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        discretion.without_details if hide_names else discretion.errors_in_words,
        ExceptionRenderer(discretion.frames_alone) if hide_names else ExceptionRenderer(),
        _stamp(process),
    ]
    # What libraries say comes by way of Python's own logging, which costs as much again.
    unfilled = [discretion.unfilled] if hide_names else []
    handler = _LinesHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*told, *unfilled, _name_foreign],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    structlog.configure(
        processors=[*told, _render_line],
        logger_factory=lambda *_: _Speaker(lines),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def hear_everything() -> None:
    """Log what Python itself would print: warnings, and what ends a process or a thread."""
    logging.captureWarnings(capture=True)
    log = structlog.get_logger()

    def ended(*what: Any) -> None:
        log.critical("process_failed", exc_info=what)

    def thread_ended(what: threading.ExceptHookArgs) -> None:
        if what.exc_type is not SystemExit:
            told = (what.exc_type, what.exc_value, what.exc_traceback)
            log.critical("thread_failed", thread=what.thread and what.thread.name, exc_info=told)

    sys.excepthook, threading.excepthook = ended, thread_ended


def say(lines: TakesLines, line: bytes) -> None:
    """Write a line, or several; on standard error where nobody takes them."""
    try:
        lines.write(line)
    except OSError:
        # Why nothing goes out any more has to be said somewhere.
        with suppress(OSError):
            os.write(_STANDARD_ERROR, line)


class _Speaker:
    """The end of structlog's chain: every level is a line."""

    def __init__(self, lines: TakesLines) -> None:
        self._lines = lines

    def msg(self, line: bytes) -> None:
        say(self._lines, line)

    debug = info = warning = error = critical = msg


class _LinesHandler(logging.Handler):
    def __init__(self, lines: TakesLines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        say(self._lines, self.format(record).encode() + b"\n")


def _stamp(process: str) -> Processor:
    def stamp(_logger: Any, _method: str, record: EventDict) -> EventDict:
        record["time"] = iso_milliseconds(time.time_ns() // 1000)
        record["process"] = process
        record["pid"] = os.getpid()
        return record

    return stamp


def _name_foreign(_logger: logging.Logger, _method: str, record: EventDict) -> EventDict:
    # A library's message is prose; the constant name of such a line says which library spoke.
    record["message"] = record.pop("event", "")
    record["event"] = "library_log"
    record["logger"] = record["_record"].name
    return record


def _render(_logger: Any, _method: str, record: EventDict) -> str:
    return _encode(record).decode()


def _render_line(_logger: Any, _method: str, record: EventDict) -> bytes:
    return _encode(record) + b"\n"
