"""Alerts for tests: published as the workers publish them, at a time that the test chooses."""

from __future__ import annotations

from itertools import count
from typing import Any

from redis import Redis
from strategies import sid

from schemas.events import CloudEvent, encode_data
from schemas.logs import iso_milliseconds
from workers.notify.alert import Alert, read_alert

# Milliseconds since 1970: the moment at which these tests happen.
NOON = 1_800_000_000_000
ROOM, OTHER_ROOM = sid("RM", 1), sid("RM", 2)
_numbers = count(1)


class Clock:
    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


def event(change: str = "raised", *, room: str = ROOM, at: int = NOON, **data: Any) -> CloudEvent:
    number = next(_numbers)
    told = {
        "alert": "duplicate-identity",
        "dedup_key": f"duplicate-identity:{room}:0",
        "severity": "warning",
        "summary": f"'Dana' was thrown out, number {number}.",
        "room_sid": room,
        "room_name": "Standup",
        "identity": "Dana",
        "evicted_sid": sid("PA", 1),
        "survivor_sid": sid("PA", 2),
        "count": 1,
        "since": iso_milliseconds(NOON * 1000),
        "evidence": ["00", "01"],
        **data,
    }
    return CloudEvent(
        id=f"{room}:a{number}:0123abcd",
        source=f"/twilio/{sid('AC', 1)}/rooms/{room}",
        type=f"rollcall.alert.{change}",
        subject=sid("PA", 1),
        time=iso_milliseconds(at * 1000),
        data=encode_data(told),
        extensions={"roomsid": room, "roomalert": str(number)},
    )


def publish(
    redis: Redis, one: CloudEvent, at: int = NOON, *, stream: str = "rollcall:alerts"
) -> str:
    """Publish an alert at a time; return its id."""
    redis.xadd(stream, _fields(one), id=f"{at}-{one.extensions['roomalert']}")
    return one.id


def alert(change: str = "raised", *, number: int, **told: Any) -> Alert:
    """An alert as it is read from the stream, where it came at noon as this number."""
    fields = {_bytes(name): _bytes(value) for name, value in _fields(event(change, **told)).items()}
    return read_alert(b"%d-%d" % (NOON, number), fields)


def _fields(one: CloudEvent) -> dict[Any, Any]:
    flat = one.fields()
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
