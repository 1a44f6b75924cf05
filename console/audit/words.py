"""How times, durations and names are written for people who read an audit. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from console.audit.story import Span
from console.sentences import printable
from schemas.logs import iso_milliseconds
from schemas.parsing import parse_timestamp

_SECOND = 1_000_000
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(\.\d{1,3})?)?", re.ASCII)
# Enough of a SID to tell those of a room apart: 2 letters and 8 of 32 hex digits.
_OF_A_SID = 10
# What a person without an identity is called.
UNKNOWN = "(identity not heard)"


def clock(moment: int) -> str:
    """Write a time of day, to the millisecond."""
    return iso_milliseconds(moment)[11:23]


def day(moment: int) -> str:
    """Write a date."""
    return iso_milliseconds(moment)[:10]


def stamp(moment: int) -> str:
    """Write date and time of day."""
    return f"{day(moment)} {clock(moment)}"


def when(moment: int, beside: int) -> str:
    """Write a time of day, with the date where that is another than that of `beside`."""
    return clock(moment) if day(moment) == day(beside) else stamp(moment)


def lasting(microseconds: int) -> str:
    """Write how long something was."""
    if microseconds < _SECOND:
        return f"{microseconds // 1000} ms"
    seconds = microseconds // _SECOND
    if seconds < 60:
        return f"{microseconds / _SECOND:.1f} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def short(sid: str) -> str:
    """Write a SID as briefly as it still names one thing of a room."""
    return sid[:_OF_A_SID]


def named(identity: str | None) -> str:
    """Write who somebody is."""
    return UNKNOWN if identity is None else identity


def shown(identity: str | None) -> str:
    """Write who somebody is so that it can be read and typed: blanks at its ends are seen."""
    text = printable(named(identity))
    return text if text == text.strip() != "" else f"“{text}”"


def numbers(least: int, most: int) -> str:
    """Write a range of sequence numbers."""
    return f"#{least}" if least == most else f"#{least} to #{most}"


def many(count: int, one: str, more: str | None = None) -> str:
    """Write how many there are of something."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def times(count: int) -> str:
    """Write how often something was."""
    return "once" if count == 1 else f"{count} times"


def read_moment(text: str, span: Span) -> int:
    """Read the time that somebody asks about.

    Args:
        text: a time of day, of the first day of the room on which that lies within it; or a date
            and time in ISO 8601. Without an offset it is UTC.
        span: of the room.

    Raises:
        click.BadParameter: it is neither.
    """
    told = text.strip().removesuffix(" UTC").replace(" ", "T")
    if found := _CLOCK.fullmatch(told):
        hours, minutes, seconds, rest = found.groups()
        midnight = datetime.fromtimestamp(span.start / _SECOND, UTC).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        day_one = midnight + timedelta(
            hours=int(hours), minutes=int(minutes), seconds=float((seconds or "0") + (rest or ""))
        )
        moment = round(day_one.timestamp() * _SECOND)
        a_day = 24 * 3600 * _SECOND
        # Rooms last a day at the most, so it is this day or the next.
        return moment if moment >= span.start or moment + a_day > span.end else moment + a_day
    try:
        whole = datetime.fromisoformat(told)
    except ValueError:
        raise click.BadParameter(f"--at: {text!r} is neither like 20:25 nor ISO 8601.") from None
    aware = whole if whole.tzinfo else whole.replace(tzinfo=UTC)
    return parse_timestamp(aware.isoformat(timespec="milliseconds"))
