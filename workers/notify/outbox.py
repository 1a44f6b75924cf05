"""The outbox: the stream of alerts and how far each target is in it. One method a round trip.

Nothing here retries and nothing decides. Every method may raise `redis.RedisError`. Who delivers to
a target holds its lease, with a nonce of their own; a state is stored only under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple, cast

import structlog
from redis import Redis, RedisError

from schemas.errors import LeaseLostError, UnreadableAlertError, UnreadableRecordError
from schemas.keys import Keyspace
from workers.lease import is_held
from workers.notify import state as states
from workers.notify.alert import Alert, order, read_alert
from workers.notify.state import State
from workers.notify.steps import FiringChanges

# Longer than a delivery may take, see its limits; the target of a worker that died waits so long.
LEASE_MS = 30_000
# A target that was taken out of the settings is forgotten after a week without a worker that has
# it; put back later, it begins anew instead of with what is long over.
STATE_MS = 7 * 24 * 3_600_000
# What is looked at together; it bounds how far a room can overtake another.
READ_AT_ONCE = 256
_NOTHING = "0-0"

log = structlog.get_logger()


class Hold(NamedTuple):
    """A target that this worker delivers to, as long as its lease lasts."""

    target: str
    # Random for each taking.
    nonce: str


class Glance(NamedTuple):
    """What the sweep sees of a target."""

    held: bool
    # None where nobody has begun with it.
    state: State | None
    expires_in_ms: int
    # Of the last alert in its stream.
    last_id: str


class Outbox:
    """The alerts of one keyspace in one Redis.

    In a cluster each shard has a stream of its own, and a target a place in each: by a name for
    each (`Keyspace.lanes`), as if it were several targets. Order matters within a room only.
    """

    def __init__(self, redis: Redis, keyspace: Keyspace) -> None:
        self._redis = redis
        self._keys = keyspace
        self._take = redis.register_script(_script("take"))
        self._commit = redis.register_script(_script("commit"))
        self._release = redis.register_script(_script("release"))

    def glance(self, targets: Sequence[str]) -> dict[str, Glance]:
        """Return how each target stands that can be read."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for target in targets:
                keys = self._keys.target(target)
                pipeline.pttl(keys.lease)
                pipeline.get(keys.state)
                pipeline.pttl(keys.state)
                pipeline.xrevrange(self._keys.alerts_of(target), count=1)
            answers = pipeline.execute(raise_on_error=False)
        glances: dict[str, Glance] = {}
        for target, of in zip(targets, zip(*[iter(answers)] * 4, strict=True), strict=True):
            try:
                glances[target] = _glance(*of)
            except (UnreadableRecordError, RedisError) as error:
                # One target's trouble must not hide the others: of a cluster, some may be away.
                log.error("target_not_looked_at", target=target, error=error)  # noqa: TRY400  # it says all
        return glances

    def begin(self, target: str, last_id: str) -> None:
        """Begin with a new target after an entry, unless another worker has begun before."""
        state = states.encode(State(cursor=last_id, seen=last_id))
        self._redis.set(self._keys.target(target).state, state, px=STATE_MS, nx=True)

    def keep(self, target: str) -> None:
        """Say that a target is still in use."""
        keys = self._keys.target(target)
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.pexpire(keys.state, STATE_MS)
            pipeline.pexpire(keys.firing, STATE_MS)
            pipeline.execute()

    def take(self, hold: Hold) -> State | None:
        """Take a target's lease; None where another holds it, or nobody has begun with it."""
        keys = self._keys.target(hold.target)
        stored = self._take([keys.lease, keys.state], [hold.nonce, LEASE_MS])
        return states.decode(stored) if stored is not None else None

    def read(self, target: str, after: str) -> list[tuple[str, Alert | None]]:
        """Read what comes after an entry, oldest first; None stands for what nobody can read."""
        stream = self._keys.alerts_of(target)
        entries = self._redis.xrange(stream, f"({after}", count=READ_AT_ONCE)
        return [
            (entry_id.decode(), _read(entry_id, entry))
            for entry_id, entry in cast("list[tuple[bytes, dict[bytes, bytes]]]", entries)
        ]

    def lost_after(self, target: str, cursor: str) -> str | None:
        """Return the first entry of the stream, where some after the cursor were trimmed away."""
        entries = self._redis.xrange(self._keys.alerts_of(target), count=1)
        first = cast("list[tuple[bytes, Any]]", entries)
        if not first or cursor == _NOTHING:
            return None
        first_id = first[0][0].decode()
        return first_id if order(first_id) > order(cursor) else None

    def firing(self, target: str) -> dict[str, bytes]:
        """Read what an Alertmanager was told to be firing."""
        stored = self._redis.hgetall(self._keys.target(target).firing)
        return {key.decode(): value for key, value in cast("dict[bytes, bytes]", stored).items()}

    def commit(self, hold: Hold, state: State, firing: FiringChanges) -> None:
        """Store a target's state and renew the lease.

        Raises:
            LeaseLostError: nothing was stored, the target is another worker's by now.
        """
        keys = self._keys.target(hold.target)
        values: list[Any] = [hold.nonce, LEASE_MS, states.encode(state), STATE_MS]
        for key, stored in firing.items():
            values += [key, stored or b""]
        if self._commit([keys.lease, keys.state, keys.firing], values) != 1:
            raise LeaseLostError("The target's lease is no longer this worker's.")

    def release(self, hold: Hold) -> None:
        """Give the lease back, if it is still this worker's."""
        self._release([self._keys.target(hold.target).lease], [hold.nonce])


def _glance(lease: Any, stored: Any, expires_in_ms: Any, last: Any) -> Glance:
    for answer in (lease, stored, expires_in_ms, last):
        if isinstance(answer, Exception):
            raise answer
    state = states.decode(stored) if stored else None
    return Glance(
        is_held(lease, LEASE_MS), state, expires_in_ms, last[0][0].decode() if last else _NOTHING
    )


def _read(entry_id: bytes, entry: dict[bytes, bytes]) -> Alert | None:
    try:
        return read_alert(entry_id, entry)
    except UnreadableAlertError:
        # It would come again for ever. It stays in the stream, for a person to look at.
        log.exception("alert_unreadable", entry_id=entry_id.decode())
        return None


def _script(name: str) -> str:
    return (files("workers") / "notify" / "scripts" / f"{name}.lua").read_text()
