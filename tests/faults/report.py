"""The report: the table as it is printed, and as `docs/reliability.md` keeps it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from faults.play import Row

from console.embedded import find_server

_WIDTH = 56
_NOTE = 90
HEAD = f"{'fault':{_WIDTH}} {'times':>5} {'sent':>6} {'lost':>4} {'doubled':>7} {'pause':>7}"
# In the document, the table stands between these two.
_BEGIN, _END = "<!-- make faults -->", "<!-- as printed -->"


def line(row: Row) -> str:
    """Write a row down as it is printed."""
    # What failed must not pass for nothing lost.
    note = f"FAILED: {row.problems[0]}"[:_NOTE] if row.problems else row.note
    numbers = f"{row.times:5} {row.sent:6} {row.lost:4} {row.doubled:7} {row.pause:5.1f} s"
    return f"{row.fault:{_WIDTH}} {numbers}  {note}".rstrip()


def machine(seed: int) -> str:
    """Say where and when this was measured."""
    said = subprocess.run([find_server(), "--version"], capture_output=True, text=True, check=True)
    redis = next(word for word in said.stdout.split() if word.startswith("v="))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, seed {seed}, {os.cpu_count()} cores ({platform.machine()}),"
        f" {platform.system()} {platform.release()}, Python {platform.python_version()},"
        f" Redis {redis.removeprefix('v=')}"
    )


def write(document: Path, where: str, rows: Iterable[Row]) -> None:
    """Put the table of a run into the document, in the place of the one before."""
    text = document.read_text()
    before, rest = text.split(_BEGIN)
    table = "\n".join([where, "", HEAD, *map(line, rows)])
    document.write_text(f"{before}{_BEGIN}\n\n```text\n{table}\n```\n\n{_END}{rest.split(_END)[1]}")
