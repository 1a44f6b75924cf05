"""What Redis was made to forget, and whether what was said of it can be true.

It is counted where Redis had written it down: in the end of its append-only file, which is cut off,
or which a replica never got. Knows the keys of Rollcall and nobody's code.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# Scripts are written down as the commands that they sent.
_DEPOSIT = re.compile(rb"\r\nXADD\r\n\$\d+\r\nrollcall:\{\d+\}:inbox\r\n")
_COMMIT = re.compile(rb"\r\nSET\r\n\$\d+\r\nrollcall:\{(\d+)\}:commit\r\n")
# So many commits of a shard may be counted each time that no worker misses: one whose reply was on
# its way, and one that reached the replica while it was being cut off.
_UNCERTAIN = 2
# What the processes say: the door of callbacks, the workers of commits.
LOST_CALLBACKS, LOST_COMMITS = "redis_lost_its_tail", "redis_lost_commits"


@dataclass
class Forgotten:
    """What Redis had answered for and knows no more, over all faults of a scenario."""

    # Entries of inboxes.
    deposits: int = 0
    # By the number of the shard.
    commits: Counter[int] = field(default_factory=Counter)
    # How often it forgot something.
    times: int = 0

    def note(self, tail: bytes) -> None:
        """Count what stands in the end of a file that is forgotten from here on."""
        self.deposits += len(_DEPOSIT.findall(tail))
        self.commits.update(int(shard) for shard in _COMMIT.findall(tail))
        self.times += 1


def doubts(forgotten: Forgotten, said: Iterable[dict[str, Any]], *, all_taken: bool) -> list[str]:
    """Tell which of the numbers that were said cannot be true.

    The door knows what it has deposited itself, and not what came of it where somebody wrote since:
    it may say too little, and never too much. Workers know a shard's commits as of the last reply
    that they got.

    Args:
        forgotten: what was.
        said: the lines of all logs.
        all_taken: whether each shard was taken by a worker again since, and so compared.
    """
    callbacks, commits = 0, Counter[int]()
    for line in said:
        if line.get("event") == LOST_CALLBACKS:
            callbacks += line["lost_at_least"]
        elif line.get("event") == LOST_COMMITS:
            commits[line["shard"]] += line["lost"]
    found = []
    if callbacks > forgotten.deposits:
        found.append(f"{callbacks} callbacks are said to be lost, and {forgotten.deposits} were")
    for shard in sorted(forgotten.commits | commits):
        lost = forgotten.commits[shard]
        least = lost - _UNCERTAIN * forgotten.times if all_taken else 0
        if not least <= commits[shard] <= lost:
            found.append(
                f"{commits[shard]} commits of shard {shard} are said to be lost, and {lost} were"
            )
    return found
