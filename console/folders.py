"""The folders that `rollcall up` keeps its data and logs in: the operator's alone.

What the system refuses there becomes one sentence that names the folder and how to have another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import StartError


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Use a folder.

    Raises:
        StartError: the system refused something in it.
    """
    try:
        yield
    except OSError as error:
        raise StartError(
            f"{folder}: cannot be made or written to ({error.strerror}); set XDG_STATE_HOME to a"
            " folder of yours, under which Rollcall keeps its data and logs."
        ) from None


def make_private(folder: Path) -> None:
    """Make a folder that nobody else can look into, or make it so where it is there already.

    Raises:
        StartError: it cannot be made, or belongs to somebody else.
    """
    with usable(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)


def write_private(file: Path, text: str) -> None:
    """Write a file that nobody else can read, at no moment.

    Raises:
        StartError: it cannot be written.
    """
    with usable(file.parent):
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as new:
            new.write(text)
