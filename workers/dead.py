"""The dead: what is kept of a callback that could not be digested, and what is said of it.

It is told twice: in the audit, and whole in the stream `rollcall:dead`, for a person to look at.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from itertools import islice
from typing import Any

from schemas.logs import iso_milliseconds
from schemas.parsing import parse_sid
from workers.arrivals import Arrival, Fault
from workers.scribe import Scribe

# The door writes two fields; what else may lie in an inbox is kept as far as is sensible.
_STRANGE_FIELDS = 32


def on_record(arrival: Arrival, fault: Fault, scribe: Scribe, *, noted: bool) -> dict[str, Any]:
    """Say in the audit what was wrong.

    Args:
        arrival: the callback.
        fault: what was wrong.
        scribe: knows how names are written.
        noted: whether the room could take note of it.
    """
    # As it lies in the inbox, for where it could not even be read.
    entry = {repr(name): b64encode(value).decode() for name, value in _fields(arrival)}
    return {
        "reason": fault.reason,
        "detail": scribe.detail(fault.detail),
        "entry": scribe.entry(entry),
        "key": scribe.digest(arrival.digest),
        "noted": noted,
    }


def entry_of(arrival: Arrival, fault: Fault, now: int) -> list[str | bytes]:
    """Make an entry of the stream of the dead: names and values in turn."""
    dead: list[str | bytes] = ["entry_id", arrival.entry_id, "room_sid", arrival.room_sid]
    dead += ["reason", fault.reason, "detail", fault.detail, "at", iso_milliseconds(now)]
    for name, value in _fields(arrival):
        dead += [b"entry." + name, value]
    return dead


def account_of(params: Mapping[str, str] | None) -> str:
    """Return the AccountSid that a callback tells, as far as it tells one."""
    try:
        return parse_sid("AC")((params or {}).get("AccountSid", ""))
    except ValueError:
        return ""


def _fields(arrival: Arrival) -> list[tuple[bytes, bytes]]:
    return [*islice(arrival.fields.items(), _STRANGE_FIELDS)]
