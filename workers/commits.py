"""The commits: how far the processes of one worker know each shard to have come.

A number that falls is a Redis that has lost its tail: what was committed since then has to be done
again, from what is left. Knows no Redis: whoever asks Redis tells it here.
"""

from __future__ import annotations

from multiprocessing.sharedctypes import RawArray


class Commits:
    """The greatest number of commits that was seen, a shard; shared by all forked processes.

    Without a lock: a shard has one holder at a time, and a number that is written too late can only
    be one too low.
    """

    def __init__(self, shards: int) -> None:
        # 64 bits each.
        self._seen = RawArray("Q", shards)

    def note(self, shard: int, commits: int) -> int:
        """Note what a shard has come to; return how many commits it has lost since."""
        lost = max(0, int(self._seen[shard]) - commits)
        self._seen[shard] = commits
        return lost
