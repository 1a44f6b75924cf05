"""Reading the audit lines that a drain writes."""

from __future__ import annotations

import json
import tempfile
from typing import Any


class AuditOutput:
    """A file that audit lines are written to, and read from where the last reading stopped."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the fixture
        self._read_to = 0

    @property
    def writing(self) -> int:
        return self._file.fileno()

    def read(self) -> list[dict[str, Any]]:
        """Read the records written since the last time."""
        self._file.seek(self._read_to)
        lines = self._file.readlines()
        self._read_to = self._file.tell()
        return [json.loads(line) for line in lines]

    def text(self) -> bytes:
        """Read everything that was ever written, as it is."""
        self._file.seek(0)
        return self._file.read()

    def close(self) -> None:
        self._file.close()
