"""The supervisor: web, worker and beat as an init system runs them; what dies is started again.

It starts the Procfile's commands and knows nothing of what they do. They end with it, even if it is
killed -9.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import IO

import psutil  # type: ignore[import-untyped]  # it carries no types
from faults.log_pipe import LogPipe
from procfile import commands

from console.tether import tethered

_LOOK_SECONDS = 0.05
_STOP_SECONDS = 30.0
# A process that cannot start, since its predecessor has not let go of the port yet, say.
_AGAIN_SECONDS = 0.25


class Supervisor:
    """Keeps processes running until they are stopped.

    Args:
        environment: of all of them.
        folder: where `<name>.log` goes, which has the standard output of all that have the name.
        piped: whose output goes through a pipe, as to a collector of logs.
    """

    def __init__(
        self, environment: Mapping[str, str], folder: Path, *, piped: Collection[str] = ()
    ) -> None:
        self._environment = dict(environment)
        self._folder = folder
        self._piped = piped
        self._pipes: dict[str, LogPipe] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._all: list[subprocess.Popen[bytes]] = []
        self._last_start = 0.0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def start(self, *names: str) -> None:
        """Start processes by their names in the Procfile; one more of a kind is called `beat-2`."""
        with self._lock:
            for name in names:
                self._start(name)
        if not self._thread.is_alive():
            self._thread.start()

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def family(self, name: str) -> list[int]:
        """The process and its children, itself first."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid(name))
            return [process.pid, *(child.pid for child in process.children(recursive=True))]
        return []

    @property
    def seconds_alive(self) -> float:
        """How long the process lives that was started last."""
        return time.monotonic() - self._last_start

    def kill_one(self, random: Random) -> None:
        """Kill any one process, be it a main process or a child."""
        pids = [pid for name in list(self._processes) for pid in self.family(name)]
        if pids:
            with suppress(ProcessLookupError):
                os.kill(random.choice(pids), signal.SIGKILL)

    def kill(self, name: str) -> None:
        """Kill a process, and leave its children to their fate."""
        with suppress(ProcessLookupError):
            os.kill(self.pid(name), signal.SIGKILL)

    def end(self, name: str) -> None:
        """Kill a process and all its children, and do not start it again."""
        with self._lock:
            process = self._processes.pop(name)
        _kill_group(process)

    def close_output(self, name: str) -> None:
        """Have nobody read any more what a process and its children write."""
        with stopped(self.family(name)):
            self._pipes.pop(name).close()

    def stop_gently(self) -> dict[str, int]:
        """Ask all to end; return their exit codes, by name."""
        self._stopping.set()
        with self._lock:
            for process in self._processes.values():
                process.terminate()
        codes = {name: _ended(one) for name, one in self._processes.items()}
        for pipe in self._pipes.values():
            pipe.close()
        return codes

    def close(self) -> None:
        """Kill everything that was ever started and still runs."""
        self._stopping.set()
        with self._lock:
            for process in self._all:
                _kill_group(process)
        self._closed.set()

    def _watch(self) -> None:
        started: dict[str, float] = {}
        while not self._stopping.wait(_LOOK_SECONDS):
            with self._lock:
                # The number of a group that is no more may become somebody else's.
                self._all = [one for one in self._all if _lives(one)]
                for name, process in list(self._processes.items()):
                    late = time.monotonic() - started.get(name, 0.0) > _AGAIN_SECONDS
                    if process.poll() is not None and late and not self._stopping.is_set():
                        started[name] = time.monotonic()
                        self._start(name)
        # What this thread has started would be told to end as soon as it is over.
        self._closed.wait()

    def _start(self, name: str) -> None:
        program, *arguments = commands()[name.partition("-")[0]]
        with self._output(name) as output:
            process = subprocess.Popen(
                tethered([str(Path(sys.executable).parent / program), *arguments]),
                env=self._environment,
                cwd=self._folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._last_start = time.monotonic()
        self._processes[name] = process
        self._all.append(process)

    def _output(self, name: str) -> IO[bytes]:
        if name not in self._piped:
            return self.log(name).open("ab")
        self._pipes[name] = LogPipe(self.log(name))
        return self._pipes[name].writing


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Have processes do nothing at all within the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _ended(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # A worker says then in its log where all its threads are; others end.
        process.send_signal(signal.SIGUSR1)
        time.sleep(1.0)
        raise


def _lives(process: subprocess.Popen[bytes]) -> bool:
    """Whether anything of its group is left: children outlive it, as orphans."""
    if process.poll() is None:
        return True
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_STOP_SECONDS)
