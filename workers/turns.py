"""What passes between the work on one shard and whoever has several of them served in turn."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from workers.asking import Ask
from workers.batch import Entry


class Turn(NamedTuple):
    """What a shard is told when its next turn has come."""

    entries: Sequence[Entry] = ()
    # Nothing has come to any for a while: let it go, unless something is left to do.
    quiet: bool = False
    # Let it go in any case.
    over: bool = False
    # And do no more before that than is at hand: the process is to end.
    leaving: bool = False


class Done(NamedTuple):
    """What a shard says when it waits for its next turn."""

    callbacks: int = 0
    # More callbacks wait than one batch takes.
    flooded: bool = False


class Drained(NamedTuple):
    """What became of a shard."""

    shard: int
    callbacks: int
    # It was let go with work left: the caller sends a wake-up.
    handed_on: bool
    error: Exception | None = None


# One shard, from the taking of its lease to the giving back: it asks, and waits for its turns.
Work = Generator[Ask[Any] | Done, Any, Drained]
