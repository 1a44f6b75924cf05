"""Once: what follows from the very same sessions is worked out once.

Facts are never changed in place, and a callback about a person changes one session at most. Views
are made of the same sessions again and again: before and after, and when time has passed.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import is_
from typing import Any


class Once:
    """What a conclusion is drawn from: equal to what holds the very same objects, and to no other.

    A key for `functools.lru_cache`. It keeps its objects alive, so that no other can take the place
    of one in memory.
    """

    __slots__ = ("about", "of")

    def __init__(self, of: Iterable[Any], *about: Any) -> None:
        """Take what is compared by identity, and what beside it is compared by value."""
        self.of = tuple(of)
        self.about = about

    def __hash__(self) -> int:
        return hash(tuple(map(id, self.of)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Once)
            and len(self.of) == len(other.of)
            and all(map(is_, self.of, other.of))
            and self.about == other.about
        )
