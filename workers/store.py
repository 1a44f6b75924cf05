"""The store: what a drain asks of Redis, one method a round trip.

Nothing here retries and nothing decides: the scripts check, this module carries. Every method may
raise `redis.RedisError`; what a caller must tell apart has an error of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, Literal, NamedTuple, cast

from redis import Redis, RedisError, ResponseError

from schemas.errors import CommitUnknownError, LeaseLostError
from schemas.keys import WAKE_MS, Keyspace

# Long enough for any batch, short enough that a dead worker's shard is taken over soon. Each commit
# renews it.
LEASE_MS = 3_000
# A batch blocks Redis while it commits: 5,000 callbacks did so for 50 ms.
BATCH_CALLBACKS = 256

Entry = tuple[bytes, dict[bytes, bytes]]
Released = Literal["released", "handed-on", "waiting", "lost"]


class Hold(NamedTuple):
    """A shard that this worker holds, as long as its lease lasts."""

    shard: int
    # Random for each taking, so that no other holder, past or future, has the same.
    nonce: str
    # What the last commit left: its number and its holder. The next commit is made on condition
    # that it still stands.
    token: str

    @property
    def next_token(self) -> str:
        number = int(self.token.partition(":")[0] or 0)
        return f"{number + 1}:{self.nonce}"


class Batch(NamedTuple):
    """What one commit writes, and up to which inbox entry it removes."""

    last_id: bytes
    rooms: dict[str, bytes]
    # Stream entries: names and values in turn.
    events: Sequence[Sequence[str | bytes]]
    alerts: Sequence[Sequence[str | bytes]]
    dead: Sequence[Sequence[str | bytes]]


class Store:
    """The shards of one keyspace in one Redis."""

    def __init__(self, redis: Redis, keyspace: Keyspace, *, shards: int, maxlen: int) -> None:
        self._redis = redis
        self._keys = keyspace
        self._maxlen = maxlen
        self._shards = [keyspace.shard(number) for number in range(shards)]
        self._take = redis.register_script(_script("take"))
        self._commit = redis.register_script(_script("commit"))
        self._release = redis.register_script(_script("release"))

    def take(self, shard: int, nonce: str) -> tuple[Hold, list[Entry]] | None:
        """Take a shard's lease and read its first batch; None where another worker holds it."""
        keys = self._shards[shard]
        taken = self._take(
            [keys.lease, keys.wake, keys.commit, keys.inbox], [nonce, LEASE_MS, BATCH_CALLBACKS]
        )
        if taken is None:
            return None
        token, raw = taken
        entries = [(id_, dict(zip(flat[::2], flat[1::2], strict=True))) for id_, flat in raw]
        return Hold(shard, nonce, token.decode()), entries

    def read(self, hold: Hold) -> list[Entry]:
        """Read the next batch of an inbox, oldest first."""
        inbox = self._shards[hold.shard].inbox
        return cast("list[Entry]", self._redis.xrange(inbox, count=BATCH_CALLBACKS))

    def load(self, hold: Hold, room_sids: Iterable[str]) -> dict[str, bytes | None]:
        """Read the stored records of some rooms, in one call for all of them."""
        sids = list(room_sids)
        keys = self._shards[hold.shard]
        if not sids:
            return {}
        found = cast("list[bytes | None]", self._redis.mget([keys.room(sid) for sid in sids]))
        return dict(zip(sids, found, strict=True))

    def commit(self, hold: Hold, batch: Batch) -> Hold:
        """Commit a batch: all of it or nothing, and only while the shard is still this worker's.

        Returns:
            the hold to go on with.

        Raises:
            LeaseLostError: nothing was committed, the shard is another's by now.
            CommitUnknownError: no answer came; `committed` tells what happened.
        """
        keys = self._shards[hold.shard]
        names = [keys.lease, keys.commit, keys.inbox]
        names += [self._keys.events, self._keys.alerts, self._keys.dead]
        names += [keys.room(sid) for sid in batch.rooms]
        values: list[Any] = [hold.nonce, hold.token, hold.next_token, LEASE_MS]
        values += [_after(batch.last_id), self._maxlen]
        values += [len(batch.events), len(batch.alerts), len(batch.dead)]
        values += batch.rooms.values()
        for entry in (*batch.events, *batch.alerts, *batch.dead):
            values += [len(entry), *entry]
        try:
            done = self._commit(names, values)
        except ResponseError:
            # Redis answered, and refused before the first write.
            raise
        except RedisError as error:
            raise CommitUnknownError from error
        if done != 1:
            raise LeaseLostError
        return hold._replace(token=hold.next_token)

    def committed(self, hold: Hold) -> bool:
        """Tell whether the commit that this hold last tried has taken effect."""
        token = self._redis.get(self._shards[hold.shard].commit)
        return token == hold.next_token.encode()

    def release(self, hold: Hold, *, hand_on: bool) -> Released:
        """Give the lease back if the inbox is empty; with `hand_on` in any case."""
        keys = self._shards[hold.shard]
        answer = self._release(
            [keys.lease, keys.wake, keys.inbox], [hold.nonce, int(hand_on), WAKE_MS]
        )
        return cast("Released", answer.decode())

    def waiting(self) -> list[int]:
        """List the shards that have callbacks in their inbox and nobody at work on them."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for keys in self._shards:
                pipeline.xlen(keys.inbox)
                pipeline.exists(keys.lease)
            answers = pipeline.execute()
        return [
            shard
            for shard, (length, held) in enumerate(zip(answers[::2], answers[1::2], strict=True))
            if length and not held
        ]


def _after(entry_id: bytes) -> bytes:
    """Return the least entry id that is greater than this one."""
    milliseconds, _, sequence = entry_id.partition(b"-")
    return b"%s-%d" % (milliseconds, int(sequence) + 1)


def _script(name: str) -> str:
    return (files("workers") / "scripts" / f"{name}.lua").read_text()
