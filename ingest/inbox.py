"""The inbox as the door sees it: deposit a callback durably, or fail at once.

Knows Redis and nothing of HTTP, Celery or what becomes of a callback.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import repeat, zip_longest
from pathlib import Path
from typing import Any, Literal, cast

from redis import Redis, RedisError
from redis.client import Pipeline
from redis.exceptions import NoScriptError, ResponseError

from ingest.receipts import Backlog, Limits, Placed, Receipt, Redeposit
from ingest.recent import RecentDeposits
from ingest.spool_rows import Spooled
from schemas.connection import claim_shards, connect, keyspace_of, reconnect, servers
from schemas.errors import (
    InboxFullError,
    IndigestibleError,
    NotReplicatedError,
    RollcallError,
    UnavailableError,
)
from schemas.inbox import PARAMS, decode, encode_params
from schemas.keys import WAKE_MS, Keyspace, shard_of
from schemas.reading import room_of
from schemas.settings import Settings

# Replicas that keep up answer within milliseconds. Of the time that a deposit has, they get a part:
# a reply has to fit into what a new connection leaves of it (schemas/connection.py).
_REPLICAS_SHARE = 5

_DEPOSIT = Path(__file__).with_name("deposit.lua").read_text()
# The keys and the arguments of one call of it.
_Call = tuple[list[str], list[Any]]

_USUAL = Limits()


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
        # Registered, since a client of a cluster sends the text by itself where it is not known.
        self._deposit = redis.register_script(_DEPOSIT)

    def place(self, params: Mapping[str, str], token: str) -> Placed:
        """Encode a checked callback, and tell where it belongs."""
        room_sid = room_of(params)
        return Placed(room_sid, shard_of(room_sid, self._shards), encode_params(params), token)

    def deposit(self, params: Mapping[str, str], token: str) -> Receipt:
        """Append one checked callback to the inbox of its room's shard.

        Raises:
            UnavailableError: Redis did not take it; its cause says why.
            InboxFullError: the workers are too far behind.
        """
        (answer,) = self.deposit_all([self.place(params, token)])
        if isinstance(answer, RollcallError):
            raise answer
        return answer

    def deposit_all(self, placed: Sequence[Placed]) -> list[Receipt | RollcallError]:
        """Append callbacks to the inboxes of their shards, in one round trip for all of them.

        After a failure a callback may lie in its inbox or not. That it may come again is harmless:
        the merge is idempotent.

        Returns:
            Of each where it lies, or why its own shard did not take it. At most one of a shard's
            asks for a wake-up.

        Raises:
            UnavailableError: Redis broke off, or too few replicas have them; its cause says why.
        """
        of_shards: dict[int, list[Placed]] = {}
        for one in placed:
            of_shards.setdefault(one.shard, []).append(one)
        try:
            answers = self._ask([self._call(shard, own) for shard, own in of_shards.items()])
        except (RedisError, NotReplicatedError) as error:
            self._reconnect()
            raise UnavailableError from error
        told = {
            shard: self._told(own, answer)
            for (shard, own), answer in zip(of_shards.items(), answers, strict=True)
        }
        return [next(told[one.shard]) for one in placed]

    def _told(self, placed: Sequence[Placed], answer: Any) -> Iterator[Receipt | RollcallError]:
        """Read what the script has answered about callbacks of one shard."""
        if isinstance(answer, Exception):
            self._reconnect()
            yield from repeat(_unavailable(answer), len(placed))
            return
        wake, *entries = answer
        for one, entry in zip_longest(placed, entries):
            if entry is None:
                yield InboxFullError()
                continue
            self.recent.note(one.shard, entry, one.params, one.token)
            yield Receipt(one.room_sid, one.shard, entry.decode(), bool(wake))
            wake = 0

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
        placed = [(one, self._place_again(one)) for one in spooled]
        sent = [(one, to) for one, to in placed if to is not None and to.shard not in without]
        answers = self.deposit_all([to for _, to in sent])
        outcome = Redeposit([], [one for one, to in placed if to is None], set(), {})
        for (one, to), answer in zip(sent, answers, strict=True):
            if isinstance(answer, RollcallError):
                cause = answer.__cause__
                outcome.held[to.shard] = type(cause).__name__ if cause else answer.reason
                continue
            outcome.taken.append(one)
            if answer.wake:
                outcome.wake.add(to.shard)
        return outcome

    def _place_again(self, one: Spooled) -> Placed | None:
        """Tell where a callback belongs; None where nobody can read it."""
        try:
            room_sid = room_of(decode({PARAMS: one.params}).params)
        except (IndigestibleError, KeyError):
            return None
        return Placed(room_sid, shard_of(room_sid, self._shards), one.params, one.token)

    def receipt_of_spooled(self, placed: Placed) -> Receipt:
        """Tell where a callback will lie that is spooled for now."""
        return Receipt(placed.room_sid, placed.shard, "", spooled=True)

    def _ask(self, calls: Sequence[_Call]) -> list[Any]:
        """Run the script once for each shard; an answer may be an exception."""
        began = time.monotonic()
        answers = self._run("evalsha", self._deposit.sha, calls)
        unknown = [place for place, one in enumerate(answers) if isinstance(one, NoScriptError)]
        # Redis was started anew. Where it was slow to say so, there is no time to ask again.
        if unknown and time.monotonic() - began <= self._seconds / 2:
            again = self._run("eval", _DEPOSIT, [calls[place] for place in unknown])
            for place, answer in zip(unknown, again, strict=True):
                answers[place] = answer
        return answers

    def _run(
        self, how: Literal["eval", "evalsha"], script: str, calls: Sequence[_Call]
    ) -> list[Any]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for keys, values in calls:
                getattr(pipeline, how)(script, len(keys), *keys, *values)
            return self._replicated(pipeline)

    def _replicated(self, pipeline: Pipeline) -> list[Any]:
        """Send what is in a pipeline, and with it the question how many replicas have it.

        Both go over one connection, since it is that one's writes which are asked for
        (https://redis.io/docs/latest/commands/wait/).

        Raises:
            NotReplicatedError: too few. What was sent has been done all the same, unless it was a
                script that this Redis did not know.
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

    def _call(self, shard: int, placed: Sequence[Placed]) -> _Call:
        keys = self._keys[shard]
        values: list[Any] = [WAKE_MS, self._maxlen]
        for one in placed:
            values += (one.params, one.token)
        return [keys.inbox, keys.lease, keys.wake], values

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
            except ResponseError:
                # It is forbidden, or there is no such command: some rename what is dangerous.
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

        Of a cluster, one node may be away: then what is told is of the others, and no verdicts,
        since their numbers would seem to go down.

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
                clock, *answers = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            raise UnavailableError from error
        of_shards = [answers[at : at + 3] for at in range(0, len(answers), 3)]
        failed = [one for one in answers if isinstance(one, Exception)]
        told = [of for of in of_shards if not any(isinstance(one, Exception) for one in of)]
        if not told:
            raise UnavailableError from failed[0]
        # It may be the node that is away which was asked for the time.
        now = time.time() if isinstance(clock, Exception) else clock[0] + clock[1] / 1_000_000
        arrivals = [_arrived_at(entry) for _, entries, _ in told for entry, _ in entries]
        verdicts: Counter[str] = Counter()
        for _, _, counts in () if failed else told:
            verdicts.update({name.decode(): int(count) for name, count in counts.items()})
        waiting = sum(length for length, _, _ in told)
        return Backlog(waiting, max(0.0, now - min(arrivals, default=now)), verdicts)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def _unavailable(cause: Exception) -> UnavailableError:
    error = UnavailableError()
    error.__cause__ = cause
    return error


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
