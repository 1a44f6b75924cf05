"""Another number of shards: every room moves to where the new count has it looked for.

Each shard is held first, with a lease that does not end: nobody drains, and nothing is deposited.
No room moves before all are held, and none is let go before all have moved. So whatever dies when,
the same done again finishes it. Knows nothing of what a record means, and nothing of who asks.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, cast

from redis import Redis

from schemas.connection import CHANGING
from schemas.errors import ReshardError
from schemas.keys import Keyspace, ShardKeys
from workers.moves import AT_ONCE, Moves, Place
from workers.notify.rehouse import Places
from workers.store import LEASE_MS

# What ROLLCALL_SHARDS takes at the most.
MOST_SHARDS = 1024
# One at a time. Renewed with each round trip; to find the rooms among ten million keys takes half
# of it.
_LOCK_MS = 60_000

_WHY = {
    b"lease": "a worker is at shard {}",
    b"inbox": "callbacks wait in shard {}",
    b"audit": "audit lines of shard {} wait for a worker to write them",
}


class Reshard:
    """One change of the number of shards: `begin` it, `move` what is `misplaced`, `finish` it."""

    def __init__(
        self, redis: Redis, keyspace: Keyspace, to: int, *, targets: Sequence[str] = ()
    ) -> None:
        """Set up; nothing is sent yet.

        Args:
            redis: the data.
            keyspace: the keys.
            to: how many shards there are to be.
            targets: the names of those of alerts.
        """
        self._redis = redis
        self._keyspace = keyspace
        self._was = self._to = to
        self._nonce = secrets.token_hex(8)
        self._renew = redis.register_script(_script("renew"))
        self._hold = redis.register_script(_script("hold"))
        self._release = redis.register_script(_script("let_go"))
        self._inherit = redis.register_script(_script("inherit"))
        self._moves = Moves(redis, keyspace, to)
        self._places = Places(redis, keyspace, targets)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from doing the same meanwhile.

        Raises:
            ReshardError: another one is at it.
            RedisError: Redis did not answer.
        """
        if not self._redis.set(self._keyspace.resharding, self._nonce, nx=True, px=_LOCK_MS):
            raise ReshardError(
                "Another `rollcall reshard` is at work, or was killed"
                f" less than {_LOCK_MS // 1000} s ago; try again then."
            )
        try:
            yield
        finally:
            self._renew([self._keyspace.resharding], [self._nonce, 0])

    def begin(self) -> bool | list[str]:
        """Have no door deposit any more and no process start, and hold all shards.

        Returns:
            false where nothing is to be changed; or why shards cannot be held yet. Then the same is
            done again, or called off.

        Raises:
            ReshardError: another change was begun.
            RedisError: Redis broke off.
        """
        stored = cast("bytes | None", self._redis.get(self._keyspace.shard_count))
        if stored is None:
            raise ReshardError(
                f"There are no shards here yet: set ROLLCALL_SHARDS={self._to}, and start."
            )
        was, _, changing_to = stored.partition(CHANGING)
        if changing_to and int(changing_to) != self._to:
            raise ReshardError(
                f"A change from {was.decode()} to {changing_to.decode()} shards was begun; finish"
                f" it first, with `rollcall reshard {changing_to.decode()}`."
            )
        self._was = int(was)
        if self._was == self._to:
            # One that was killed at its very end holds some still, of whatever number there were.
            self._let_go(range(MOST_SHARDS))
            return False
        self._redis.set(self._keyspace.shard_count, self._mark)
        return self._hold_all() or True

    def call_off(self) -> None:
        """Leave all as it was before a beginning that was refused.

        Nothing has moved: nothing does before all are held.
        """
        self._redis.set(self._keyspace.shard_count, self._was)
        self._let_go(self._all)

    def misplaced(self) -> list[Place]:
        """List the rooms that do not lie where the new count has them looked for."""
        return self._moves.misplaced(max(self._was, self._to))

    def move(self, places: list[Place]) -> Iterator[int]:
        """Move rooms; tell how many each time.

        Raises:
            ReshardError: one cannot be moved; or this was held up for so long that it is another's.
            RedisError: Redis broke off.
        """
        for first in range(0, len(places), AT_ONCE):
            self._go_on()
            some = places[first : first + AT_ONCE]
            self._moves.move(some)
            yield len(some)

    def finish(self) -> None:
        """Look once more, store the new count and let go of the shards.

        Raises:
            ReshardError: a room is not in its place.
            RedisError: Redis broke off.
        """
        self._go_on()
        if self.misplaced():
            raise ReshardError("Rooms are left where they do not belong; run the same again.")
        self._places.move(max(self._was, self._to), self._moves.home)
        self._hand_down_verdicts()
        self._hand_down_commits()
        for number in range(self._to, self._was):
            keys = self._keys(number)
            self._redis.delete(keys.commit, keys.verdicts)
        self._redis.set(self._keyspace.shard_count, self._to)
        # Inboxes of shards that are given up stay such that nothing can be appended: a door that
        # stood still all the while, and has not noticed, keeps callbacks on its disk.
        self._let_go(range(self._to))
        for number in range(self._to, self._was):
            self._redis.delete(self._keys(number).lease)

    @property
    def _mark(self) -> bytes:
        return b"%d%s%d" % (self._was, CHANGING, self._to)

    @property
    def _all(self) -> range:
        return range(max(self._was, self._to))

    def _keys(self, shard: int) -> ShardKeys:
        return self._keyspace.shard(shard)

    def _go_on(self) -> None:
        if not self._renew([self._keyspace.resharding], [self._nonce, _LOCK_MS]):
            raise ReshardError("This was held up for too long; run the same again.")

    def _hold_all(self) -> list[str]:
        """Hold all shards; tell why not, where one cannot be held."""
        refused = []
        for number in self._all:
            keys = self._keys(number)
            answer = self._hold(
                [keys.lease, keys.wake, keys.inbox, keys.audit], [self._mark, LEASE_MS]
            )
            if answer in _WHY:
                refused.append(_WHY[answer].format(number))
        # Nobody reads the stream of a shard that is given up any further.
        undelivered = self._places.undelivered(range(self._to, self._was))
        return refused + [
            f"alerts of shard {number} are not delivered yet" for number in undelivered
        ]

    def _let_go(self, shards: range) -> None:
        """Let go of those shards that a change holds."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for number in shards:
                pipeline.get(self._keys(number).lease)
            leases: list[bytes | None] = pipeline.execute()
        for number, lease in zip(shards, leases, strict=True):
            if lease and CHANGING in lease:
                keys = self._keys(number)
                self._release([keys.lease, keys.inbox], [lease])

    def _hand_down_verdicts(self) -> None:
        """Keep the sums that /metrics tells: shard 0 inherits the counts of those given up."""
        counts: Counter[bytes] = Counter()
        for number in range(self._to, self._was):
            told: Any = self._redis.hgetall(self._keys(number).verdicts)
            counts.update({name: int(count) for name, count in told.items()})
        if counts:
            heir = self._keys(0)
            values = [self._mark + b" counted"]
            for name, count in counts.items():
                values += [name, b"%d" % count]
            self._inherit([heir.verdicts, heir.inbox], values)

    def _hand_down_commits(self) -> None:
        """Have every shard count its commits on from the highest: no token comes twice."""
        tokens = [self._redis.get(self._keys(number).commit) for number in self._all]
        numbers = [int(cast("bytes", token or b"0").partition(b":")[0]) for token in tokens]
        for number in range(self._to):
            self._redis.set(self._keys(number).commit, f"{max(numbers) + 1}:reshard")


def _script(name: str) -> str:
    return (files("workers") / "scripts" / f"{name}.lua").read_text()
