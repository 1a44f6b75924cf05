"""The keyspace: every Redis key of Rollcall, and which shard a room belongs to.

All keys of a shard carry the hash tag `{N}`, so that each script touches one slot of a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

# A wake-up that was promised but lost is promised again after this long; the sweep is faster.
WAKE_MS = 2_000


def shard_of(room_sid: str, shards: int) -> int:
    """Which shard keeps this room: crc32(RoomSid) mod ROLLCALL_SHARDS, a part of the contract."""
    return crc32(room_sid.encode()) % shards


@dataclass(frozen=True, slots=True)
class ShardKeys:
    """The keys of one shard."""

    inbox: str
    lease: str
    wake: str
    commit: str
    audit: str
    verdicts: str
    due: str
    rooms: str

    def room(self, room_sid: str) -> str:
        return self.rooms + room_sid


@dataclass(frozen=True, slots=True)
class TargetKeys:
    """The keys of one target of alerts."""

    state: str
    lease: str
    firing: str


@dataclass(frozen=True, slots=True)
class Keyspace:
    """All keys under one ROLLCALL_PREFIX."""

    prefix: str

    @property
    def events(self) -> str:
        return f"{self.prefix}:events"

    @property
    def alerts(self) -> str:
        return f"{self.prefix}:alerts"

    @property
    def dead(self) -> str:
        return f"{self.prefix}:dead"

    @property
    def probe(self) -> str:
        return f"{self.prefix}:probe"

    @property
    def shard_count(self) -> str:
        return f"{self.prefix}:shards"

    def shard(self, number: int) -> ShardKeys:
        stem = f"{self.prefix}:{{{number}}}"
        return ShardKeys(
            inbox=f"{stem}:inbox",
            lease=f"{stem}:lease",
            wake=f"{stem}:wake",
            commit=f"{stem}:commit",
            audit=f"{stem}:audit",
            verdicts=f"{stem}:verdicts",
            due=f"{stem}:due",
            rooms=f"{stem}:room:",
        )

    def target(self, name: str) -> TargetKeys:
        # A hash tag of its own: a target reads from all shards, and belongs to none.
        stem = f"{self.prefix}:{{target-{name}}}"
        return TargetKeys(state=f"{stem}:state", lease=f"{stem}:lease", firing=f"{stem}:firing")
