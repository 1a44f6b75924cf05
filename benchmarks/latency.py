"""From the first byte of a POST to the event that another process has read from the stream."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.orders import Stamp
from benchmarks.processes import ROOT, BenchmarkError
from benchmarks.shots import Mark

_STOP_SECONDS = 10.0


@contextmanager
def reading(stream: str, redis_url: str, stamps: Path) -> Iterator[None]:
    """Have a reader note what becomes readable meanwhile; its stamps are in the file afterwards."""
    reader = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.reader", stream, str(stamps)],
        cwd=ROOT,
        env={"REDIS_URL": redis_url},
        stdout=subprocess.PIPE,
    )
    try:
        if reader.stdout is None or not reader.stdout.readline():
            raise BenchmarkError("The reader failed.")
        yield
        reader.terminate()
        reader.wait(_STOP_SECONDS)
    finally:
        reader.kill()
        reader.communicate()


def latencies(sent: Path, read: Path) -> list[float]:
    """Put the two files of stamps together.

    Returns:
        Milliseconds, of each callback that an event followed from. Most do; one that changes
        nothing has none, and one that came twice is counted from the first time.
    """
    first_read = _first(read)
    return [
        (first_read[mark] - at) / 1_000_000
        for mark, at in _first(sent).items()
        # What overtook it may have led to the same conclusion already.
        if first_read.get(mark, 0) > at
    ]


def _first(file: Path) -> dict[Mark, int]:
    first: dict[Mark, int] = {}
    for stamp in msgspec.msgpack.decode(file.read_bytes(), type=list[Stamp]):
        first.setdefault(stamp.mark, stamp.nanoseconds)
    return first
