"""What the processes have said: the lines of their logs, passing over what is no line of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def lines_of(*logs: Path) -> Iterator[dict[str, Any]]:
    """Read the lines of some logs that are JSON objects.

    Others are of libraries, or half of one: of a process that was killed at it.
    """
    for log in logs:
        for line in log.read_bytes().splitlines():
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if isinstance(said, dict):
                yield said
