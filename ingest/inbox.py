"""The inbox as the door sees it: deposit a callback durably, or fail at once.

Knows Redis and nothing of HTTP, Celery or what becomes of a callback.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from redis import Redis, RedisError
from redis.client import Pipeline
from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from ingest.recent import RecentDeposits
from ingest.spool_rows import Spooled
from schemas.callbacks import room_of
from schemas.connection import claim_shards, connect, keyspace_of, reconnect, servers
from schemas.errors import (
    InboxFullError,
    IndigestibleError,
    NotReplicatedError,
    UnavailableError,
)
from schemas.inbox import PARAMS, decode, encode_params
from schemas.keys import WAKE_MS, Keyspace, shard_of
from schemas.settings import INBOX_MAXLEN, Settings

# Replicas that keep up answer within milliseconds. Of the time that a deposit has, they get a part:
# a reply has to fit into what a new connection leaves of it (schemas/connection.py).
_REPLICAS_SHARE = 5

_DEPOSIT = Path(__file__).with_name("deposit.lua").read_text()


class Limits(NamedTuple):
    """What bounds a deposit."""

    # How many callbacks a shard's inbox may hold.
    maxlen: int = INBOX_MAXLEN
    # How long it may take.
    seconds: float = 0.5
    # How many replicas must have it before it counts.
    replicas: int = 0


_USUAL = Limits()


class Receipt(NamedTuple):
    """Where a callback lies from now on."""

    room_sid: str
    shard: int
    # The id that Redis gave the entry: its arrival time, and its name in the audit.
    entry: str
    # Whether whoever deposited it is to send a wake-up for the shard.
    wake: bool
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


class Inbox:
    """The inboxes of all shards.

    Nothing is tried twice. A connection that Redis closed while it was idle is no failure: the pool
    sees that before it hands the connection out, and opens another.
    """

    def __init__(
        self, redis: Redis, keyspace: Keyspace, shards: int, limits: Limits = _USUAL
    ) -> None:
        self._redis = redis
        self._keyspace = keyspace
        self._shards = shards
        self._maxlen, self._seconds, self._replicas = limits
        self.recent = RecentDeposits()
        self._keys = [keyspace.shard(number) for number in range(shards)]
        # Sent by its hash; the client sends the text once to a Redis that does not know it yet.
        self._deposit = redis.register_script(_DEPOSIT)

    def deposit(self, params: Mapping[str, str], token: str) -> Receipt:
        """Append a checked callback to the inbox of its room's shard, in one round trip.

        After a failure the callback may lie in the inbox or not. That it may come again is
        harmless: the merge is idempotent.

        Args:
            params: as they came, in their order.
            token: Twilio's idempotency token, kept for the audit.

        Raises:
            UnavailableError: Redis did not take it; its cause says why.
            InboxFullError: the workers are too far behind.
        """
        room_sid = room_of(params)
        shard = shard_of(room_sid, self._shards)
        encoded = encode_params(params)
        keys, values = self._call(shard, encoded, token)
        try:
            answer = self._run(keys, values)
        except (RedisError, NotReplicatedError) as error:
            self._reconnect()
            raise UnavailableError from error
        if answer is None:
            raise InboxFullError
        entry, wake = answer
        self.recent.note(shard, entry, encoded, token)
        return Receipt(room_sid, shard, entry.decode(), bool(wake))

    def deposit_again(
        self, spooled: Sequence[Spooled], *, without: Collection[int] = ()
    ) -> Redeposit:
        """Append what was spooled, in one round trip for all of it.

        Args:
            spooled: in the order in which it came.
            without: the shards to pass over.

        Raises:
            UnavailableError: Redis broke off; some of it may have been taken.
        """
        placed = [(one, self._shard_of_spooled(one)) for one in spooled]
        sent = [(one, shard) for one, shard in placed if shard is not None and shard not in without]
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for one, shard in sent:
                    self._deposit(*self._call(shard, one.params, one.token), client=pipeline)
                # One shard that fails must not hide what became of the others.
                answers = self._replicated(pipeline)
        except (RedisError, NotReplicatedError) as error:
            self._reconnect()
            raise UnavailableError from error
        outcome = Redeposit([], [one for one, shard in placed if shard is None], set(), {})
        for (one, shard), answer in zip(sent, answers, strict=True):
            if isinstance(answer, Exception):
                outcome.held[shard] = type(answer).__name__
            elif answer is None:
                outcome.held[shard] = InboxFullError.reason
            else:
                outcome.taken.append(one)
                self.recent.note(shard, answer[0], one.params, one.token)
                if answer[1]:
                    outcome.wake.add(shard)
        return outcome

    def _shard_of_spooled(self, one: Spooled) -> int | None:
        """Tell where a callback belongs; None where nobody can read it."""
        try:
            return shard_of(room_of(decode({PARAMS: one.params}).params), self._shards)
        except (IndigestibleError, KeyError):
            return None

    def receipt_of_spooled(self, params: Mapping[str, str]) -> Receipt:
        """Tell where a callback will lie that is spooled for now."""
        room_sid = room_of(params)
        return Receipt(room_sid, shard_of(room_sid, self._shards), "", wake=False, spooled=True)

    def _run(self, keys: list[str], values: list[Any]) -> Any:
        began = time.monotonic()
        try:
            return self._ask("evalsha", self._deposit.sha, keys, values)
        except NoScriptError:
            # Redis was started anew. Where it was slow to say so, there is no time to ask again.
            if time.monotonic() - began > self._seconds / 2:
                raise
            return self._ask("eval", _DEPOSIT, keys, values)

    def _ask(
        self, how: Literal["eval", "evalsha"], script: str, keys: list[str], values: list[Any]
    ) -> Any:
        if not self._replicas:
            return getattr(self._redis, how)(script, len(keys), *keys, *values)
        with self._redis.pipeline(transaction=False) as pipeline:
            getattr(pipeline, how)(script, len(keys), *keys, *values)
            (answer,) = self._replicated(pipeline)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _replicated(self, pipeline: Pipeline) -> list[Any]:
        """Send what is in a pipeline, and with it the question how many replicas have it.

        Both go over one connection, since it is that one's writes which are asked for
        (https://redis.io/docs/latest/commands/wait/).

        Raises:
            NotReplicatedError: too few. What was sent has been done all the same.
        """
        if not self._replicas:
            return pipeline.execute(raise_on_error=False)
        pipeline.wait(self._replicas, int(self._seconds * 1000 / _REPLICAS_SHARE))
        *answers, replicas = pipeline.execute(raise_on_error=False)
        if isinstance(replicas, Exception):
            raise replicas
        if replicas < self._replicas:
            raise NotReplicatedError
        return answers

    def _reconnect(self) -> None:
        """Have the next call open a connection of its own.

        What answers on an old one may be a master no longer, and would say so for ever.
        """
        reconnect(self._redis)

    def _call(self, shard: int, params: bytes, token: str) -> tuple[list[str], list[Any]]:
        keys = self._keys[shard]
        return [keys.inbox, keys.lease, keys.wake], [params, token, WAKE_MS, self._maxlen]

    def check(self) -> None:
        """Ask whether Redis is there, and kept with as many shards as are counted here.

        Raises:
            UnavailableError: it is not; the cause says why.
            StartError: other processes count the shards differently, and none of them would look
                where this one deposits.
        """
        try:
            claim_shards(self._redis, self._keyspace, self._shards)
            self._check_writing()
        except (RedisError, NotReplicatedError) as error:
            self._reconnect()
            raise UnavailableError from error

    def _check_writing(self) -> None:
        # A Redis that is full, or a replica by now, answers and takes nothing; and something has to
        # be written, for there to be something that replicas can have.
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.set(self._keyspace.probe, b"", px=1)
            (answer,) = self._replicated(pipeline)
        if isinstance(answer, Exception):
            raise answer

    def servers(self) -> frozenset[str]:
        """Tell which masters answer, with which history: another after a restart or a failover.

        A master that was a replica for a while and is one again has a new history in the same
        process (https://redis.io/docs/latest/operate/oss_and_stack/management/replication/).

        Raises:
            UnavailableError: none answers; the cause says why.
        """
        runs: set[str] = set()
        failed: RedisError | None = None
        for server in servers(self._redis):
            try:
                history = server.info("replication")
                if history["role"] == "master":
                    runs.add(f"{server.info('server')['run_id']} {history['master_replid']}")
            except NoPermissionError:
                # Where Redis does not tell us, it cannot be told.
                return frozenset()
            except RedisError as error:
                failed = error
        if failed and not runs:
            self._reconnect()
            raise UnavailableError from failed
        return frozenset(runs)

    def newest(self) -> list[bytes]:
        """Tell the id of the newest entry that each shard's inbox ever had, as far as it knows.

        Raises:
            UnavailableError: Redis did not answer; its cause says why.
        """
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for keys in self._keys:
                    pipeline.xinfo_stream(keys.inbox)
                answers = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            self._reconnect()
            raise UnavailableError from error
        return [_newest(answer) for answer in answers]

    def backlog(self) -> Backlog:
        """Tell how far behind the workers are, in one round trip.

        Raises:
            UnavailableError: Redis did not answer; its cause says why.
        """
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.time()
                for keys in self._keys:
                    pipeline.xlen(keys.inbox)
                    pipeline.xrange(keys.inbox, count=1)
                    pipeline.hgetall(keys.verdicts)
                (seconds, microseconds), *answers = pipeline.execute()
        except RedisError as error:
            raise UnavailableError from error
        now = seconds + microseconds / 1_000_000
        arrivals = [_arrived_at(entry) for entries in answers[1::3] for entry, _ in entries]
        verdicts: Counter[str] = Counter()
        for counts in answers[2::3]:
            verdicts.update({name.decode(): int(count) for name, count in counts.items()})
        return Backlog(sum(answers[::3]), max(0.0, now - min(arrivals, default=now)), verdicts)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def _arrived_at(entry: bytes) -> float:
    """Tell when an entry was made, in seconds since 1970: its id begins with the milliseconds."""
    return int(entry.partition(b"-")[0]) / 1000


def _newest(answer: Any) -> bytes:
    if isinstance(answer, ResponseError):
        # There is no such stream, or none any more.
        return b"0-0"
    if isinstance(answer, Exception):
        raise answer
    return cast("bytes", answer["last-generated-id"])


def open_inbox(settings: Settings) -> Inbox:
    """Make the inbox that the settings name. Nothing is sent yet."""
    seconds = settings.deposit_timeout_ms / 1000
    return Inbox(
        connect(settings, timeout=seconds),
        keyspace_of(settings),
        settings.shards,
        Limits(settings.inbox_maxlen, seconds, settings.wait_replicas),
    )
