"""What a drain asks of Redis, asked alone: for tests of the store."""

from __future__ import annotations

from workers.asking import Answer, Ask
from workers.batch import Entry
from workers.store import Store


def asked(store: Store, ask: Ask[Answer]) -> Answer:
    """Ask; a failure is raised."""
    (answer,) = store.send([ask])
    if isinstance(answer, Exception):
        raise answer
    return ask.read(answer)


def waiting_in(store: Store, shard: int) -> list[Entry]:
    """Read what waits in an inbox."""
    entries = store.read([shard]).get(shard, [])
    if isinstance(entries, Exception):
        raise entries
    return list(entries)
