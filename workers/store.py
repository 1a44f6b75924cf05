"""The store: what a drain asks of Redis. Asks of several shards are sent in one round trip.

Nothing here retries and nothing decides: the scripts check, this module carries. Whatever is asked
may fail with a `redis.RedisError`; what a caller must tell apart has an error of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import chain
from typing import Any, Literal, cast

import msgspec
import structlog
from redis import Redis, RedisError, ResponseError

from schemas.connection import reconnect
from schemas.errors import LeaseLostError
from schemas.keys import WAKE_MS, Keyspace
from workers.asking import Ask, send
from workers.batch import BEFORE_ALL, Batch, Hold, Taken
from workers.lease import is_held

# Long enough for any batch, short enough that a dead worker's shard is taken over soon. Each commit
# renews it.
LEASE_MS = 3_000
# A batch blocks Redis while it commits: 5,000 callbacks did so for 50 ms.
BATCH_CALLBACKS = 256
# How often several nodes of a cluster are looked at for a callback that is waited for.
_LOOK_MS = 10
# Rooms are due one by one, and all of a shard after an outage.
DUE_ROOMS = 64
# The dead are for a person to look at. Each has a line in the audit as well, so that what is
# trimmed away is not lost.
DEAD_MAXLEN = 10_000

log = structlog.get_logger()
_encode = msgspec.msgpack.Encoder().encode
# A text of up to 4 GiB follows (https://github.com/msgpack/msgpack/blob/master/spec.md, str 32).
_TEXT = b"\xdb"

Released = Literal["released", "handed-on", "waiting", "due", "lost"]
# What the script of a commit answers.
_COMMITTED, _CALLBACKS_WAIT = 1, 2


class Store:
    """The shards of one keyspace in one Redis."""

    def __init__(self, redis: Redis, keyspace: Keyspace, *, shards: int, maxlen: int) -> None:
        self._redis = redis
        self._maxlen = maxlen
        self._clustered = keyspace.clustered
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

    def send(self, asks: Sequence[Ask[Any]]) -> list[Any]:
        """Send what is asked of the shards, see `asking.send`."""
        return send(self._redis, asks)

    def take(self, shard: int, nonce: str) -> Ask[Taken | None]:
        """Take a shard's lease and read its first batch; None where another worker holds it."""
        keys = self._shards[shard]

        def read(taken: Any) -> Taken | None:
            if taken is None:
                return None
            token, raw, audit_lines, now_ms = taken
            entries = [(id_, dict(zip(flat[::2], flat[1::2], strict=True))) for id_, flat in raw]
            return Taken(Hold(shard, nonce, token.decode()), entries, audit_lines, now_ms)

        names = [keys.lease, keys.wake, keys.commit, keys.inbox, keys.audit]
        return Ask("lease", self._take, names, [nonce, LEASE_MS, BATCH_CALLBACKS], read)

    def is_free(self, shard: int) -> Ask[bool]:
        """Tell whether nobody holds a shard."""

        def read(pttl: Any) -> bool:
            return not is_held(pttl, LEASE_MS)

        return Ask("look", None, [self._shards[shard].lease], ["PTTL"], read)

    def read(self, shards: Sequence[int], *, wait_ms: int = 0) -> dict[int, Any]:
        """Read the next batches of some inboxes, each oldest first, in one round trip.

        Args:
            shards: which; they are held.
            wait_ms: how long to wait for the first callback, where there is none. In a cluster,
                where no command reaches several slots, this waits a little and looks once.

        Returns:
            the entries of each shard that has any, or the error that it cannot be read for.
        """
        inboxes = {self._shards[shard].inbox.encode(): shard for shard in shards}
        if self._clustered:
            time.sleep(min(wait_ms, _LOOK_MS) / 1000)
            return self._read_each(inboxes)
        try:
            found: Any = self._redis.xread(
                dict.fromkeys(inboxes, BEFORE_ALL), BATCH_CALLBACKS, wait_ms or None
            )
        except ResponseError:
            # It fails for all where one of them is no stream.
            return self._read_each(inboxes)
        except Exception as error:  # noqa: BLE001  # handed to the work on each, which raises it
            return dict.fromkeys(shards, error)
        return {inboxes[name]: entries for name, entries in found}

    def _read_each(self, inboxes: Mapping[bytes, int]) -> dict[int, Any]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for inbox in inboxes:
                pipeline.xrange(inbox, count=BATCH_CALLBACKS)
            try:
                answers = pipeline.execute(raise_on_error=False)
            except Exception as error:  # noqa: BLE001  # as above
                return dict.fromkeys(inboxes.values(), error)
        found = zip(inboxes.values(), answers, strict=True)
        return {shard: answer for shard, answer in found if answer}

    def due(self, hold: Hold, *, by_ms: int | None = None) -> Ask[tuple[int, list[str]]]:
        """Tell which rooms are due, and by when.

        Args:
            hold: the shard.
            by_ms: a moment in milliseconds since 1970; by default that of Redis's clock.

        Returns:
            that moment, in microseconds, and the RoomSids.
        """
        keys = self._shards[hold.shard]

        def read(answer: Any) -> tuple[int, list[str]]:
            now, rooms = answer
            return now * 1000, [room.decode().removeprefix(keys.rooms) for room in rooms]

        return Ask("due", self._due, [keys.due], [DUE_ROOMS, "" if by_ms is None else by_ms], read)

    def load(self, hold: Hold, room_sids: Iterable[str]) -> Ask[dict[str, bytes | None]]:
        """Read the stored records of some rooms, at least one, in one call for all of them."""
        sids = list(room_sids)
        keys = self._shards[hold.shard]

        def read(found: Any) -> dict[str, bytes | None]:
            return dict(zip(sids, found, strict=True))

        return Ask("load", None, [keys.room(sid) for sid in sids], ["MGET"], read)

    def commit(self, hold: Hold, batch: Batch) -> Ask[Hold | None]:
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
        values += [*_removed(batch.taken), batch.audit_lines]
        # As arguments, the fields of all entries would take about 10 µs a callback more.
        streams = (batch.events, batch.alerts, batch.dead)
        values += [_encode([[_as_texts(entry) for entry in entries] for entries in streams])]
        values += [self._maxlen, self._maxlen, DEAD_MAXLEN]
        values += chain.from_iterable(batch.rooms.values())
        values += chain.from_iterable(batch.verdicts.items())

        def read(answer: Any) -> Hold | None:
            if answer == _CALLBACKS_WAIT:
                return None
            if answer != _COMMITTED:
                raise LeaseLostError
            return hold._replace(token=hold.next_token)

        return Ask("commit", self._commit, names, values, read)

    def release(self, hold: Hold, *, hand_on: bool, audited: bool) -> Ask[Released]:
        """Give the lease back if nothing is left to do; with `hand_on` in any case.

        Args:
            hold: which.
            hand_on: also when callbacks are waiting; the caller then sends a wake-up.
            audited: whether the lines of the last commit are known to be written.
        """
        keys = self._shards[hold.shard]

        def read(answer: Any) -> Released:
            return cast("Released", answer.decode())

        names = [keys.lease, keys.wake, keys.inbox, keys.audit, keys.due]
        values = [hold.nonce, int(hand_on), int(audited), WAKE_MS]
        return Ask("release", self._release, names, values, read)

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


def _as_texts(entry: Sequence[str | bytes]) -> list[str | msgspec.Raw]:
    """Have bytes written as MessagePack writes text: of the two, Redis's scripts read only that."""
    return [
        one if isinstance(one, str) else msgspec.Raw(_TEXT + len(one).to_bytes(4, "big") + one)
        for one in entry
    ]


def _removed(taken: Sequence[bytes] | None) -> tuple[bytes, bytes, int]:
    """Tell the script which id is the first to keep, which the first to go, and how many go."""
    if taken is None:
        return b"", b"", 0
    if not taken:
        return BEFORE_ALL, b"", 0
    milliseconds, _, sequence = taken[-1].partition(b"-")
    return b"%s-%d" % (milliseconds, int(sequence) + 1), taken[0], len(taken)


def _script(name: str) -> str:
    return (files("workers") / "scripts" / f"{name}.lua").read_text()
