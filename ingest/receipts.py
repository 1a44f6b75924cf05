"""What goes to the inbox and what comes back: plain values, which know no Redis."""

from __future__ import annotations

from typing import NamedTuple

from ingest.spool_rows import Spooled
from schemas.settings import INBOX_MAXLEN


class Limits(NamedTuple):
    """What bounds a deposit."""

    # How many callbacks a shard's inbox may hold.
    maxlen: int = INBOX_MAXLEN
    # How long it may take.
    seconds: float = 0.5
    # How many replicas must have it before it counts.
    replicas: int = 0


class Placed(NamedTuple):
    """A callback that is to be deposited, and where."""

    room_sid: str
    shard: int
    # As `schemas.inbox` encodes them.
    params: bytes
    # Twilio's idempotency token, kept for the audit.
    token: str

    @property
    def size(self) -> int:
        return len(self.params) + len(self.token)


class Receipt(NamedTuple):
    """Where a callback lies from now on."""

    room_sid: str
    shard: int
    # The id that Redis gave the entry: its arrival time, and its name in the audit.
    entry: str
    # Whether whoever deposited it is to send a wake-up for the shard.
    wake: bool = False
    # Where Redis did not take it: it lies on the disk, and has no entry yet.
    spooled: bool = False


class Redeposit(NamedTuple):
    """What became of callbacks that were spooled."""

    taken: list[Spooled]
    # Those that nobody can read.
    unreadable: list[Spooled]
    # The shards that are to be woken.
    wake: set[int]
    # The shards that took nothing more, and why.
    held: dict[int, str]


class Backlog(NamedTuple):
    """What waits for the workers, and what they are done with."""

    callbacks: int
    # How long the oldest has waited, by Redis's own clock.
    oldest_seconds: float
    # How many callbacks had which verdict, since these shards were first used.
    verdicts: dict[str, int]
