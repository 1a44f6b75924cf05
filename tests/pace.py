"""How steadily callbacks come out as events while `outage.Traffic` sends, and whether all did."""

from __future__ import annotations

from itertools import pairwise

from outage import Traffic
from redis import Redis
from streams import published

from schemas.keys import shard_of


def unpublished(redis: Redis, traffic: Traffic) -> set[str]:
    """The tracks of callbacks that were sent and have not come out; each may come out once."""
    tracks = [e.attributes["subject"] for e in published(redis) if e.kind == "track.published"]
    assert len(tracks) == len(set(tracks)), "a callback was applied twice"
    return {f"MT{number:032x}" for number in range(traffic.sent)} - set(tracks)


def clock(redis: Redis) -> int:
    """What Redis takes the time to be, in milliseconds; the streams' ids are made of it."""
    seconds, microseconds = redis.time()  # type: ignore[misc]  # of a client that does not await
    return int(seconds) * 1000 + int(microseconds) // 1000


def longest_pause(redis: Redis, since: int, until: int) -> float:
    """The longest time, in seconds, for which a shard published nothing between two moments.

    A pause of one shard would not show among the others, so each is looked at by itself.
    """
    commits: dict[int, list[int]] = {}
    for entry_id, fields in redis.xrange("rollcall:events", since, until):
        shard = shard_of(fields[b"roomsid"].decode(), 8)
        commits.setdefault(shard, [since]).append(int(entry_id.partition(b"-")[0]))
    assert commits, "nothing was published"
    times = [[*moments, until] for moments in commits.values()]
    return max(later - earlier for of in times for earlier, later in pairwise(of)) / 1000
