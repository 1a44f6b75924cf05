"""The lock beside a spool file: who holds it may use the file. It dies with its process.

Knows nothing of what a file holds.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

# What SQLite may have put beside a file.
_ENDS = ("", "-wal", "-shm", "-journal")


def claim(path: Path) -> int:
    """Take the lock, and give the descriptor that holds it.

    Raises:
        BlockingIOError: a living process has it.
        OSError: it cannot be opened.
    """
    # Beside the file: SQLite has locks of its own in it, and loses them when it is closed.
    lock = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def remove(path: Path) -> None:
    """Remove a file whose lock is held; the lock goes last, for without a file it means nothing."""
    for one in (*(path.with_name(path.name + end) for end in _ENDS), _lock_of(path)):
        # What cannot be removed is found, empty, by whoever adopts next.
        with suppress(OSError):
            one.unlink()


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")
