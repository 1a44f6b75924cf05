"""The children of `rollcall up`: started each in a session of its own, stopped in reverse order.

A session of their own keeps Ctrl-C from them, so that they stop one after the other and none while
another still needs it. What a child prints goes to a file named after it. Nothing here knows what
the children do.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from console.folders import make_private, usable
from console.sentences import printable
from console.tether import tethered
from schemas.errors import ChildEndedError

# A worker finishes its batch and the door its requests within a second; more is a hang.
_STOP_SECONDS = 10.0
# Enough to hold the last line of a log, and to be shown on a screen.
_TAIL_BYTES = 16_384
_SHOWN = 500


class Children:
    """The processes that one `rollcall up` has started."""

    def __init__(
        self, logs: Path, environment: Mapping[str, str], *, stop_seconds: float = _STOP_SECONDS
    ) -> None:
        self._logs = logs
        self._environment = environment
        self._stop_seconds = stop_seconds
        self._children: list[_Child] = []
        make_private(logs)

    def log_of(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def start(self, name: str, command: list[str]) -> None:
        """Start a command; what it prints is appended to `<name>.log`.

        Raises:
            StartError: the log cannot be written.
        """
        with usable(self._logs):
            child = _Child(name, command, self.log_of(name), self._environment)
        self._children.append(child)

    def check(self) -> None:
        """Look whether all are still running.

        Raises:
            ChildEndedError: one is not, with its exit code and its last line.
        """
        for child in self._children:
            if child.ended():
                raise ChildEndedError(child.obituary())

    def stop(self) -> None:
        """Stop all, the one started last first; return when nothing of them is left."""
        while self._children:
            self._children[-1].stop(self._stop_seconds)
            self._children.pop()


class _Child:
    def __init__(
        self, name: str, command: list[str], log_file: Path, environment: Mapping[str, str]
    ) -> None:
        self._name = name
        self._log = log_file
        with self._log.open("ab") as log:
            # Lines before this are of an earlier run.
            self._since = log.tell()
            self._process = subprocess.Popen(
                tethered(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )

    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self, seconds: float) -> None:
        # To the leader alone: it knows best how to end its own children.
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        # What is left of its group, be it the leader itself. The kernel gives the number to nobody
        # else while the group has members. macOS refuses where only the dead are left.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def obituary(self) -> str:
        code = self._process.returncode
        how = f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        return (
            f"{self._name} ended by itself {how}; the last line of {self._log}: {self._last_line()}"
        )

    def _last_line(self) -> str:
        with self._log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._since, end - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return printable(lines[-1])[:_SHOWN] if lines else "(nothing)"
