"""What is measured runs in processes; here they are started, watched and ended, each by its id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it has types elsewhere

from console.tether import tethered
from schemas.errors import RollcallError

ROOT = Path(__file__).parent.parent
_BOUND_SECONDS = 60.0
_TAIL_CHARACTERS = 2_000


class BenchmarkError(RollcallError):
    """A measurement went wrong, and means nothing."""

    reason = "benchmark"


def wait_until(
    is_so: Callable[[], bool], what: str, *, seconds: float = _BOUND_SECONDS, look: float = 0.01
) -> float:
    """Wait until something is so; return how many seconds that took.

    Raises:
        BenchmarkError: it did not become so in time.
    """
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > seconds:
            raise BenchmarkError(f"Not within {seconds:g} s: {what}.")
        time.sleep(look)
    return time.monotonic() - began


class Process:
    """A process of what is measured, with the children that it has; ends with this one."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        self.began = time.monotonic()
        with self._log.open("ab") as output:
            # In the project's folder, so that `benchmarks` is found.
            self._process = subprocess.Popen(
                tethered([sys.executable, "-m", *command]),
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, is_ready: Callable[[], bool]) -> float:
        """Wait until it does what it is for; return how many seconds after its start that was.

        Raises:
            BenchmarkError: it ended by itself or did not become ready; with the end of its log.
        """

        def ready() -> bool:
            if self._process.poll() is not None:
                raise BenchmarkError(f"{self.name} ended by itself.")
            return is_ready()

        try:
            wait_until(ready, f"{self.name} is ready")
        except BenchmarkError as error:
            raise BenchmarkError(f"{error} It said:\n{self._last_words()}") from None
        return time.monotonic() - self.began

    def cpu_seconds(self) -> float:
        """How much processor time it and its children have used."""
        times = [one.cpu_times() for one in self._family()]
        return float(sum(one.user + one.system for one in times))

    def resident_bytes(self) -> int:
        """How much memory it and its children hold; what they share is counted to each."""
        return sum(one.memory_info().rss for one in self._family())

    def end(self) -> None:
        """End it and its children at once: what they leave half done is thrown away in any case.

        Asked kindly, a Celery worker that acknowledges late may wait for its queue for ever.
        """
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_BOUND_SECONDS)

    def _family(self) -> list[psutil.Process]:
        leader = psutil.Process(self._process.pid)
        return [leader, *leader.children(recursive=True)]

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-_TAIL_CHARACTERS:]


def cpu_seconds_of(pid: int) -> float:
    """How much processor time a process has used, such as the server of Redis."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
