"""Where a command belongs in a cluster: to the node that has the slot of its keys. Sends nothing.

It knows the commands that Rollcall sends, and that all keys of one share a slot (schemas/keys.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.crc import key_slot

Host = tuple[str, int]

# The ones about a server and not about a key.
_OF_A_SERVER = frozenset({"PING", "TIME", "INFO", "CONFIG GET"})
_SCRIPTS = frozenset({"EVAL", "EVALSHA"})


class Command(NamedTuple):
    """A command as redis-py has it."""

    args: tuple[Any, ...]
    # How to read its answer.
    options: dict[str, Any]


def slot_of(args: Sequence[Any]) -> int | None:
    """Tell the slot of a command's keys; None where it is about a server."""
    if args[0] in _OF_A_SERVER:
        return None
    key = args[1]
    if args[0] in _SCRIPTS:
        # The text or its hash, the number of keys, then the keys.
        key = args[3]
    elif args[0] == "XREAD":
        # Options of any number come first.
        key = args[args.index(b"STREAMS") + 1]
    return key_slot(key if isinstance(key, bytes) else str(key).encode())
