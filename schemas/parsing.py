"""Parameters as Twilio writes them, and how each kind of text is read: SIDs, numbers and times."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# With an offset, the last day of the year 9999 can lie beyond what UTC can say.
_LAST = datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH
_ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
# Fifteen digits hold any count and any millisecond of Twilio's, and fit every integer type that
# they cross on their way.
_COUNT = re.compile(r"\d{1,15}", re.ASCII)


def parse_sid(prefix: str) -> Callable[[str], str]:
    """Make a parser of SIDs: the prefix and 32 hex digits, kept in the case they came in."""
    pattern = re.compile(prefix + "[0-9a-fA-F]{32}", re.ASCII)

    def parse(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"Not {prefix} and 32 hex digits.")
        return value

    return parse


def parse_count(value: str) -> int:
    """Parse a decimal number of at most 15 digits."""
    if not _COUNT.fullmatch(value):
        raise ValueError("Not a whole number of at most 15 digits.")
    return int(value)


def parse_timestamp(value: str) -> int:
    """Parse ISO 8601 with an offset into microseconds since 1970 UTC.

    Room, participant and track callbacks carry 3 decimals, recordings and compositions 6.
    """
    if not _ISO_8601.fullmatch(value):
        raise ValueError("Not an ISO 8601 time with an offset.")
    try:
        since = datetime.fromisoformat(value) - _EPOCH
    except (ValueError, OverflowError):
        raise ValueError("Not a time that exists.") from None
    if not timedelta(0) <= since <= _LAST:
        raise ValueError("Before 1970, or after 9999.")
    return since // _MICROSECOND
