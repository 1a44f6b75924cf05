"""The claim on a port: one process has it, from before it listens until it ends.

Granian shares its port (SO_REUSEPORT), so two web processes of one user would each get half of the
callbacks. To look whether somebody listens is not enough where two start together; the lock is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from schemas.errors import StartError


@contextmanager
def claimed_port(port: int, holder: str, *, setting: str = "PORT") -> Iterator[None]:
    """Hold the claim while the block runs; the kernel ends it with the process at the latest.

    Args:
        port: which.
        holder: who shares it with nobody of the same name. `rollcall up` and the web process that
            it starts hold a claim each.
        setting: where the port was set.

    Raises:
        StartError: another process has it, or it cannot be listened on.
    """
    lock = _lock_file(port, holder)
    try:
        if lock is not None:
            _lock(lock, port, setting)
        _require_free(port, setting)
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _lock_file(port: int, holder: str) -> int | None:
    # Named after the user: the kernel shares a port among processes of one user only.
    name = f"rollcall-{os.geteuid()}-{holder}-{port}.lock"
    # Without a folder to write in there is no lock, and what listens already is found all the same.
    with suppress(OSError):
        path = Path(tempfile.gettempdir()) / name
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if os.fstat(lock).st_uid == os.geteuid():
            return lock
        # Somebody else put it there, perhaps to keep Rollcall from starting.
        os.close(lock)
    return None


def _lock(lock: int, port: int, setting: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(port, setting) from None
    except OSError:
        # The file system has no locks: as above.
        return


def _require_free(port: int, setting: str) -> None:
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still fading away is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _in_use(port, setting) from None
            raise StartError(
                f"{setting}: {port} cannot be used: {error.strerror}; set {setting} to another one."
            ) from None


def _in_use(port: int, setting: str) -> StartError:
    other = port + 1 if port < 65_535 else 8080
    return StartError(
        f"{setting}: {port} is in use by another process; stop it, or set {setting} to a free one,"
        f" as in {setting}={other}."
    )
