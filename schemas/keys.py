"""The keyspace: every Redis key of Rollcall, and which shard a room belongs to.

All keys of a shard carry the hash tag `{N}`, so that each script touches one slot of a cluster. The
streams that others read are one for all shards; in a cluster, where no script could write to those
of another slot, each shard has its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

# A wake-up that was promised but lost is promised again after this long; the sweep is faster.
WAKE_MS = 2_000
# Between a target's own name, which never holds it, and the number of a shard.
_LANE = "@"


def shard_of(room_sid: str, shards: int) -> int:
    """Which shard keeps this room: crc32(RoomSid) mod ROLLCALL_SHARDS, a part of the contract."""
    return crc32(room_sid.encode()) % shards


def target_of(lane: str) -> str:
    """Tell which target goes by this name, see `Keyspace.lanes`."""
    return lane.partition(_LANE)[0]


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
    # Those that others read.
    events: str
    alerts: str
    dead: str

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
    clustered: bool = False

    @property
    def events(self) -> str:
        """The derived events, where all shards write them to one stream."""
        return f"{self.prefix}:events"

    @property
    def alerts(self) -> str:
        """Likewise, the alerts."""
        return f"{self.prefix}:alerts"

    @property
    def dead(self) -> str:
        """Likewise, the callbacks that were set aside."""
        return f"{self.prefix}:dead"

    @property
    def probe(self) -> str:
        return f"{self.prefix}:probe"

    @property
    def shard_count(self) -> str:
        return f"{self.prefix}:shards"

    @property
    def resharding(self) -> str:
        return f"{self.prefix}:resharding"

    def shard(self, number: int) -> ShardKeys:
        stem = f"{self.prefix}:{{{number}}}"
        streams = stem if self.clustered else self.prefix
        return ShardKeys(
            inbox=f"{stem}:inbox",
            lease=f"{stem}:lease",
            wake=f"{stem}:wake",
            commit=f"{stem}:commit",
            audit=f"{stem}:audit",
            verdicts=f"{stem}:verdicts",
            due=f"{stem}:due",
            rooms=f"{stem}:room:",
            events=f"{streams}:events",
            alerts=f"{streams}:alerts",
            dead=f"{streams}:dead",
        )

    def streams(self, shards: int) -> list[str]:
        """List the streams of events and alerts."""
        kept = [self.shard(number) for number in range(shards)]
        return list(dict.fromkeys([*(of.events for of in kept), *(of.alerts for of in kept)]))

    def lanes(self, target: str, shards: int) -> list[str]:
        """List what a target of alerts is called, a name for each stream that it reads."""
        if not self.clustered:
            return [target]
        return [f"{target}{_LANE}{shard}" for shard in range(shards)]

    def alerts_of(self, lane: str) -> str:
        """Name the stream that a target reads under this name."""
        return self.shard(int(lane.rpartition(_LANE)[2])).alerts if self.clustered else self.alerts

    def target(self, name: str) -> TargetKeys:
        # A hash tag of its own: a target reads from all shards, and belongs to none.
        stem = f"{self.prefix}:{{target-{name}}}"
        return TargetKeys(state=f"{stem}:state", lease=f"{stem}:lease", firing=f"{stem}:firing")
