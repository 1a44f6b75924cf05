"""The store: what a drain asks of Redis, one method a round trip.

Nothing here retries and nothing decides: the scripts check, this module carries. Every method may
raise `redis.RedisError`; what a caller must tell apart has an error of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import chain
from typing import Any, Literal, NamedTuple, cast

import structlog
from redis import Redis, RedisError

from schemas.connection import reconnect
from schemas.errors import LeaseLostError
from schemas.keys import WAKE_MS, Keyspace
from workers.lease import is_held

# Long enough for any batch, short enough that a dead worker's shard is taken over soon. Each commit
# renews it.
LEASE_MS = 3_000
# A batch blocks Redis while it commits: 5,000 callbacks did so for 50 ms.
BATCH_CALLBACKS = 256
# Rooms are due one by one, and all of a shard after an outage.
DUE_ROOMS = 64
# The dead are for a person to look at. Each has a line in the audit as well, so that what is
# trimmed away is not lost.
DEAD_MAXLEN = 10_000

log = structlog.get_logger()

Entry = tuple[bytes, dict[bytes, bytes]]
Released = Literal["released", "handed-on", "waiting", "due", "lost"]
# Before every entry: a batch that took none of them removes none.
NOTHING_TAKEN = b"0-0"
# What the script of a commit answers.
_COMMITTED, _CALLBACKS_WAIT = 1, 2


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
    """What one commit writes, and up to which inbox entry it removes."""

    # Empty where it is time alone that is committed.
    last_id: bytes
    rooms: Mapping[str, Stored]
    # Kept with the commit until they are known to be written.
    audit_lines: bytes
    # How many callbacks had which verdict, for the metrics.
    verdicts: Mapping[str, int]
    # Stream entries: names and values in turn.
    events: Sequence[Sequence[str | bytes]]
    alerts: Sequence[Sequence[str | bytes]]
    dead: Sequence[Sequence[str | bytes]]


class Store:
    """The shards of one keyspace in one Redis."""

    def __init__(self, redis: Redis, keyspace: Keyspace, *, shards: int, maxlen: int) -> None:
        self._redis = redis
        self._maxlen = maxlen
        self._shards = [keyspace.shard(number) for number in range(shards)]
        self._take = redis.register_script(_script("take"))
        self._commit = redis.register_script(_script("commit"))
        self._release = redis.register_script(_script("release"))
        self._due = redis.register_script(_script("due"))

    @property
    def shards(self) -> int:
        """How many there are."""
        return len(self._shards)

    def reconnect(self) -> None:
        """Have the next command open a connection of its own: to who is master by then."""
        reconnect(self._redis)

    def take(self, shard: int, nonce: str) -> Taken | None:
        """Take a shard's lease and read its first batch; None where another worker holds it."""
        keys = self._shards[shard]
        taken = self._take(
            [keys.lease, keys.wake, keys.commit, keys.inbox, keys.audit],
            [nonce, LEASE_MS, BATCH_CALLBACKS],
        )
        if taken is None:
            return None
        token, raw, audit_lines, now_ms = taken
        entries = [(id_, dict(zip(flat[::2], flat[1::2], strict=True))) for id_, flat in raw]
        return Taken(Hold(shard, nonce, token.decode()), entries, audit_lines, now_ms)

    def read(self, hold: Hold) -> list[Entry]:
        """Read the next batch of an inbox, oldest first."""
        inbox = self._shards[hold.shard].inbox
        return cast("list[Entry]", self._redis.xrange(inbox, count=BATCH_CALLBACKS))

    def due(self, hold: Hold, *, by_ms: int | None = None) -> tuple[int, list[str]]:
        """Tell which rooms are due, and by when.

        Args:
            hold: the shard.
            by_ms: a moment in milliseconds since 1970; by default that of Redis's clock.

        Returns:
            that moment, in microseconds, and the RoomSids.
        """
        keys = self._shards[hold.shard]
        now, rooms = self._due([keys.due], [DUE_ROOMS, "" if by_ms is None else by_ms])
        return now * 1000, [room.decode().removeprefix(keys.rooms) for room in rooms]

    def load(self, hold: Hold, room_sids: Iterable[str]) -> dict[str, bytes | None]:
        """Read the stored records of some rooms, in one call for all of them."""
        sids = list(room_sids)
        keys = self._shards[hold.shard]
        if not sids:
            return {}
        found = cast("list[bytes | None]", self._redis.mget([keys.room(sid) for sid in sids]))
        return dict(zip(sids, found, strict=True))

    def commit(self, hold: Hold, batch: Batch) -> Hold | None:
        """Commit a batch: all of it or nothing, and only while the shard is still this worker's.

        Returns:
            the hold to go on with; None where time alone was to be committed, and was not, since
            callbacks have come.

        Raises:
            LeaseLostError: nothing was committed, the shard is another's by now.
            RedisError: no answer came, and the commit may have taken effect or not. It must not be
                sent again: whoever takes the shard next finds out from what is there.
        """
        keys = self._shards[hold.shard]
        names = [keys.lease, keys.commit, keys.inbox]
        names += [keys.events, keys.alerts, keys.dead, keys.audit, keys.verdicts]
        names += [keys.due, *(keys.room(sid) for sid in batch.rooms)]
        values: list[Any] = [hold.nonce, hold.token, hold.next_token, LEASE_MS]
        values += [_after(batch.last_id) if batch.last_id else b"", batch.audit_lines]
        values += [len(batch.events), self._maxlen, len(batch.alerts), self._maxlen]
        values += [len(batch.dead), DEAD_MAXLEN]
        values += chain.from_iterable(batch.rooms.values())
        values += [len(batch.verdicts), *chain.from_iterable(batch.verdicts.items())]
        for entry in (*batch.events, *batch.alerts, *batch.dead):
            values += [len(entry), *entry]
        answer = self._commit(names, values)
        if answer == _CALLBACKS_WAIT:
            return None
        if answer != _COMMITTED:
            raise LeaseLostError
        return hold._replace(token=hold.next_token)

    def release(self, hold: Hold, *, hand_on: bool, audited: bool) -> Released:
        """Give the lease back if nothing is left to do; with `hand_on` in any case.

        Args:
            hold: which.
            hand_on: also when callbacks are waiting; the caller then sends a wake-up.
            audited: whether the lines of the last commit are known to be written.
        """
        keys = self._shards[hold.shard]
        answer = self._release(
            [keys.lease, keys.wake, keys.inbox, keys.audit, keys.due],
            [hold.nonce, int(hand_on), int(audited), WAKE_MS],
        )
        return cast("Released", answer.decode())

    def waiting(self) -> list[int]:
        """List the shards that have work and nobody at it: callbacks, audit lines, rooms due."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for keys in self._shards:
                pipeline.pttl(keys.lease)
                pipeline.exists(keys.audit)
                pipeline.xlen(keys.inbox)
                self._due([keys.due], [1, ""], client=pipeline)
            answers = pipeline.execute(raise_on_error=False)
        if all(isinstance(answer, RedisError) for answer in answers):
            raise answers[0]
        shards = zip(*(answers[index::4] for index in range(4)), strict=True)
        return [shard for shard, of in enumerate(shards) if self._is_waiting(shard, *of)]

    def _is_waiting(self, shard: int, lease: Any, audit: Any, length: Any, due: Any) -> bool:
        for answer in (lease, audit, length, due):
            if isinstance(answer, RedisError):
                # One shard's trouble must not hide the others: of a cluster, some may be away.
                log.error("shard_not_looked_at", shard=shard, error=answer)
                return False
            if isinstance(answer, Exception):
                raise answer
        return not is_held(lease, LEASE_MS) and bool(audit or length or due[1])


def _after(entry_id: bytes) -> bytes:
    """Return the least entry id that is greater than this one."""
    milliseconds, _, sequence = entry_id.partition(b"-")
    return b"%s-%d" % (milliseconds, int(sequence) + 1)


def _script(name: str) -> str:
    return (files("workers") / "scripts" / f"{name}.lua").read_text()
