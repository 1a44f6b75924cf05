"""What passes between a drain and the store: a hold, what taking gives, what one commit writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

# One callback of an inbox: its id, and what the door deposited.
Entry = tuple[bytes, dict[bytes, bytes]]
# What every entry came after: an id that none has.
BEFORE_ALL = b"0-0"


class Hold(NamedTuple):
    """A shard that this worker holds, as long as its lease lasts."""

    shard: int
    # Random for each taking, so that no other holder, past or future, has the same.
    nonce: str
    # What the last commit left: its number and its holder. The next commit is made on condition
    # that it still stands.
    token: str

    @property
    def commits(self) -> int:
        """How many commits the shard has seen."""
        return int(self.token.partition(":")[0] or 0)

    @property
    def next_token(self) -> str:
        return f"{self.commits + 1}:{self.nonce}"


class Taken(NamedTuple):
    """What taking a shard gives."""

    hold: Hold
    entries: list[Entry]
    # The lines of the last commit, where its holder may have died before it wrote them.
    audit_lines: bytes
    # Redis's clock.
    now_ms: int


class Stored(NamedTuple):
    """What a commit stores of a room."""

    # Empty: what is stored stays as it is.
    record: bytes
    # 0: until it is removed.
    keep_ms: int = 0
    # When to look at it again, in milliseconds since 1970; 0 for never.
    due_ms: int = 0


class Batch(NamedTuple):
    """What one commit writes, and which inbox entries it removes."""

    # The ids of the oldest ones, in their order; None where it is time alone that is committed.
    taken: Sequence[bytes] | None
    rooms: Mapping[str, Stored]
    # Kept with the commit until they are known to be written.
    audit_lines: bytes
    # How many callbacks had which verdict, for the metrics.
    verdicts: Mapping[str, int]
    # Stream entries: names and values in turn.
    events: Sequence[Sequence[str | bytes]]
    alerts: Sequence[Sequence[str | bytes]]
    dead: Sequence[Sequence[str | bytes]]
