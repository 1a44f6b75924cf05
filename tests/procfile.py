"""The Procfile's processes, started as its reader would, and ended by their ids."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from twilio.request_validator import RequestValidator

ROOT = Path(__file__).parent.parent
PUBLIC_URL = "https://rollcall.example/video"
_BOUND_SECONDS = 30.0


def commands() -> dict[str, list[str]]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: shlex.split(command) for name, _, command in (s.partition(":") for s in lines)}


def wait_for(what: Callable[[], object], *, seconds: float = _BOUND_SECONDS) -> None:
    """Wait until something is so, or fail."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def lines_of(log: Path) -> list[dict[str, Any]]:
    """Read the lines of a log that are whole: the last may be half written still.

    Those of libraries, which are no JSON objects, are passed over.
    """
    whole, _, _ = log.read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]


class Process:
    """One of them; its standard output goes to `log`."""

    def __init__(self, name: str, environment: Mapping[str, str], folder: Path) -> None:
        self.log = folder / f"{name}.log"
        program, *arguments = commands()[name]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / program), *arguments],
                env=dict(environment),
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> int:
        """Wait until it ends by itself; return its exit code."""
        return self._process.wait(_BOUND_SECONDS)

    def terminate(self) -> int:
        """Ask it to end, when it can hear that; return its exit code."""
        # Before it listens, the signal ends it as it would end any process.
        wait_for(self._hears)
        self._process.terminate()
        return self.wait()

    def _hears(self) -> bool:
        """Whether it has a handler of its own for SIGTERM, or has ended."""
        status = Path(f"/proc/{self.pid}/status")
        if self._process.poll() is not None or not status.exists():
            return True
        (caught,) = (line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        # A mask, in which signal 1 is the first bit (https://man7.org/linux/man-pages/man5/proc_pid_status.5.html).
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    def kill(self) -> None:
        """End it and all its children at once, as a power cut would."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_BOUND_SECONDS)

    def stop(self) -> None:
        if self._process.poll() is None:
            self.kill()


@contextmanager
def processes(environment: Mapping[str, str], folder: Path) -> Iterator[Callable[[str], Process]]:
    """Give a function that starts a process by its name; all are ended with the block."""
    started: list[Process] = []

    def start(name: str) -> Process:
        started.append(Process(name, environment, folder))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            process.stop()


def post(port: int, body: str, token: str, params: Mapping[str, str]) -> int:
    """Send a callback as Twilio would; return the status."""
    signature = RequestValidator(token).compute_signature(f"{PUBLIC_URL}/callbacks", dict(params))
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "X-Twilio-Signature": signature,
        "I-Twilio-Idempotency-Token": "f119f19c-b042-4454-8ab0-ce388602ba05",
    }
    connection = HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        connection.request("POST", "/callbacks", body.encode(), headers)
        return connection.getresponse().status
    finally:
        connection.close()


def metrics(port: int) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
    finally:
        connection.close()


def healthy(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
