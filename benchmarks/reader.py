"""The reader: a process of its own that notes when each event became readable in the stream.

`python -m benchmarks.reader STREAM FILE` begins with the next event, says so on standard output,
and writes the stamps to the file at SIGTERM. The URL of Redis is in REDIS_URL.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from redis import Redis

from benchmarks.orders import Stamp
from benchmarks.shots import Mark

# How long it may take to see that it is to end.
_LOOK_MS = 200
_AT_ONCE = 1_000


def main() -> None:
    stream, file = sys.argv[1:]
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    redis = Redis.from_url(os.environ["REDIS_URL"])
    newest: Any = redis.xrevrange(stream, count=1)
    last = newest[0][0] if newest else b"0"
    print("reading", flush=True)
    read: list[tuple[int, list[Any]]] = []
    while not asked:
        answer: Any = redis.xread({stream: last}, count=_AT_ONCE, block=_LOOK_MS)
        now = time.monotonic_ns()
        for _, entries in answer:
            last = entries[-1][0]
            read.append((now, entries))
    stamps = [
        Stamp(Mark(fields[b"subject"].decode(), fields[b"time"].decode()), now)
        for now, entries in read
        for _, fields in entries
    ]
    Path(file).write_bytes(msgspec.msgpack.encode(stamps))


if __name__ == "__main__":
    main()
