"""A pipe between a process and its log, as a collector of logs holds it, that can be closed."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

_LOOK_SECONDS = 0.05
_STOP_SECONDS = 30.0


class LogPipe:
    """A pipe whose content is appended to a file, until it is closed."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        self.writing = os.fdopen(writing, "wb")
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name="log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take what has been written so far, and close: whoever writes then, is told."""
        self._closing.set()
        self._thread.join(_STOP_SECONDS)

    def _read(self) -> None:
        with self._log.open("ab") as log:
            while True:
                # Before it reads: once more after it was told to close.
                closing = self._closing.is_set()
                with suppress(BlockingIOError):
                    while lines := os.read(self._reading, 1 << 16):
                        log.write(lines)
                log.flush()
                if closing:
                    os.close(self._reading)
                    return
                self._closing.wait(_LOOK_SECONDS)
