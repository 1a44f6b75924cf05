"""The shards: how many there are, who is at them, and what waits or was set aside in them.

Asks with commands that change nothing, and judges apart from that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from redis import Redis

from schemas.connection import CHANGING, keyspace_of
from schemas.settings import Settings
from workers.safety import Finding

# A shard that has callbacks is taken within two sweeps, of a second each. The rest is for a worker
# that is just starting.
_TAKEN_SECONDS = 10.0


class Inbox(NamedTuple):
    """What there is to know of one shard."""

    shard: int
    callbacks: int
    # For how long the oldest has waited.
    seconds: float
    lease: bytes | None

    @property
    def is_held(self) -> bool:
        """Whether a change of shards holds it, and not a worker."""
        return self.lease is not None and CHANGING in self.lease


def look_at_shards(redis: Redis, settings: Settings) -> Finding:
    return judge_shards(redis.get(keyspace_of(settings).shard_count), settings.shards)


def look_at_inboxes(redis: Redis, settings: Settings) -> list[Finding]:
    return judge_inboxes(inboxes_of(redis, settings), settings)


def look_at_dead(redis: Redis, settings: Settings) -> Finding:
    keyspace = keyspace_of(settings)
    streams = {keyspace.shard(number).dead for number in range(settings.shards)}
    counts = {stream: redis.xlen(stream) for stream in sorted(streams)}
    return judge_dead(max(counts, key=lambda stream: counts[stream]), sum(counts.values()))


def judge_shards(stored: Any, configured: int) -> Finding:
    if stored is None:
        return Finding("ok", "shards", f"none yet; the first start makes {configured}")
    if CHANGING in stored:
        to = stored.partition(CHANGING)[2].decode()
        return Finding(
            "error",
            "shards",
            f"they are being changed ({stored.decode()}), and nothing can start",
            f"let `rollcall reshard {to}` finish, or run it again",
        )
    if stored != b"%d" % configured:
        return Finding(
            "error",
            "shards",
            f"ROLLCALL_SHARDS is {configured}, and this Redis is kept with {stored.decode()}",
            "set the same for all processes, or change it with `rollcall reshard`",
        )
    return Finding("ok", "shards", f"{configured}, as configured")


def inboxes_of(redis: Redis, settings: Settings) -> list[Inbox]:
    """Ask for the state of every shard, in one round trip."""
    keyspace = keyspace_of(settings)
    with redis.pipeline(transaction=False) as pipeline:
        for shard in range(settings.shards):
            keys = keyspace.shard(shard)
            pipeline.get(keys.lease)
            pipeline.xlen(keys.inbox)
            pipeline.xrange(keys.inbox, count=1)
        answers: list[Any] = pipeline.execute(raise_on_error=False)
    seconds, microseconds = redis.time()
    now = seconds + microseconds / 1_000_000
    found = []
    for shard in range(settings.shards):
        lease, callbacks, oldest = answers[3 * shard : 3 * shard + 3]
        if isinstance(lease, bytes) and CHANGING in lease:
            # While a change of shards holds it, there is no inbox.
            callbacks, oldest = 0, []
        for answer in (lease, callbacks, oldest):
            if isinstance(answer, Exception):
                raise answer
        arrived = min((int(entry.partition(b"-")[0]) / 1000 for entry, _ in oldest), default=now)
        found.append(Inbox(shard, callbacks, max(0.0, now - arrived), lease))
    return found


def judge_inboxes(inboxes: Sequence[Inbox], settings: Settings) -> list[Finding]:
    checks: tuple[Callable[[Sequence[Inbox], Settings], Finding | None], ...]
    checks = (_held, _full, _left, _behind)
    findings = [found for check in checks if (found := check(inboxes, settings))]
    return findings or [Finding("ok", "inboxes", _waiting(inboxes))]


def _held(inboxes: Sequence[Inbox], _settings: Settings) -> Finding | None:
    if not any(one.is_held for one in inboxes):
        return None
    return Finding(
        "error",
        "held",
        "a change of shards holds them, and nobody can drain",
        "let `rollcall reshard` finish, or run it again",
    )


def _full(inboxes: Sequence[Inbox], settings: Settings) -> Finding | None:
    full = [one for one in inboxes if one.callbacks >= settings.inbox_maxlen]
    if not full:
        return None
    return Finding(
        "error",
        "inbox-full",
        f"{_named(full)} is full, and callbacks are spooled",
        "start more workers, or see their log",
    )


def _left(inboxes: Sequence[Inbox], _settings: Settings) -> Finding | None:
    left = [one for one in inboxes if one.seconds > _TAKEN_SECONDS and not one.lease]
    if not left:
        return None
    return Finding(
        "error", "no-worker", f"nobody is at {_named(left)}", "start a worker, or see its log"
    )


def _behind(inboxes: Sequence[Inbox], settings: Settings) -> Finding | None:
    late = [one for one in inboxes if one.seconds > settings.stalled_seconds and one.lease]
    if not late:
        return None
    return Finding("warning", "behind", f"{_named(late)} is behind", "start more workers")


def _named(inboxes: Sequence[Inbox]) -> str:
    numbers = ", ".join(str(one.shard) for one in inboxes)
    return f"shard {numbers} ({_waiting(inboxes)})"


def _waiting(inboxes: Sequence[Inbox]) -> str:
    callbacks = sum(one.callbacks for one in inboxes)
    oldest = max((one.seconds for one in inboxes), default=0.0)
    told = f"{callbacks} callbacks wait"
    return f"{told}, the oldest for {oldest:.1f} s" if callbacks else told


def judge_dead(stream: str, callbacks: int) -> Finding:
    if not callbacks:
        return Finding("ok", "set-aside", "no callback")
    return Finding(
        "warning",
        "set-aside",
        f"{callbacks} callbacks could not be digested",
        f"see why: XRANGE {stream} - + COUNT 10; delete the stream when it is done with",
    )
