"""The tail: derived events and alerts from their streams, printed one line each as they come.

It reads and remembers its place; it changes nothing in Redis. Colour reaches a terminal only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click
from redis import Redis, RedisError
from redis.typing import KeyT, StreamIdT

from console.readiness import check_redis
from console.sentences import sentence
from schemas.connection import connect, keyspace_of
from schemas.settings import Settings

_COUNT = 200
# A look must end well before its reply counts as lost.
_LOOK_SECONDS = 1.0
_REPLY_SECONDS = 5.0
# How soon streams are looked at again that cannot be waited for.
_AGAIN_SECONDS = 0.1

_COLOURS = {
    "rollcall.participant.joined": "green",
    "rollcall.participant.left": "yellow",
    "rollcall.participant.evicted": "red",
    "rollcall.alert.raised": "red",
    "rollcall.alert.changed": "red",
    "rollcall.alert.resolved": "green",
}


def follow(settings: Settings, *, from_beginning: bool) -> None:
    """Print what comes until interrupted.

    Raises:
        StartError: Redis does not answer to begin with.
    """
    check_redis(settings)
    with connect(settings, timeout=_REPLY_SECONDS) as client:
        tail = Tail(client, settings, from_beginning=from_beginning)
        while True:
            tail.show(_LOOK_SECONDS)


class Tail:
    """The reader's place in the streams."""

    def __init__(self, client: Redis, settings: Settings, *, from_beginning: bool = False) -> None:
        keys = keyspace_of(settings)
        self._client = client
        # The streams of a cluster lie on several nodes, and no command waits for them together.
        self._apart = keys.clustered
        self._away = False
        self._places: dict[KeyT, StreamIdT] = {
            stream.encode(): b"0-0" if from_beginning else self._newest(stream)
            for stream in keys.streams(settings.shards)
        }

    def show(self, seconds: float) -> None:
        """Print what came, waiting up to `seconds` for the first of it.

        A Redis that is away is said once and asked again; no entry is lost by it.
        """
        deadline = time.monotonic() + seconds
        try:
            entries = self._read(seconds)
        except RedisError as error:
            if not self._away:
                click.echo(f"Redis does not answer ({error}); asking again.", err=True)
            self._away = True
            time.sleep(max(0.0, deadline - time.monotonic()))
            return
        self._away = False
        for fields in entries:
            click.echo(click.style(sentence(fields), fg=_COLOURS.get(fields.get("type", ""))))

    def _read(self, seconds: float) -> list[dict[str, str]]:
        found = []
        for stream, entries in self._looked(seconds) if self._apart else self._waited(seconds):
            found += entries
            self._places[stream] = entries[-1][0]
        # The streams come one after the other; a stable sort puts an alert behind its event.
        return [_text(fields) for _, fields in sorted(found, key=_place)]

    def _waited(self, seconds: float) -> Any:
        # A block of 0 would wait for ever.
        block = max(1, int(seconds * 1000))
        return self._client.xread(self._places, count=_COUNT, block=block)

    def _looked(self, seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            with self._client.pipeline(transaction=False) as pipeline:
                for stream, place in self._places.items():
                    pipeline.xread({stream: place}, count=_COUNT)
                found = [one for answer in pipeline.execute() for one in answer]
            if found or time.monotonic() > deadline:
                return found
            time.sleep(_AGAIN_SECONDS)

    def _newest(self, stream: str) -> bytes:
        newest: Any = self._client.xrevrange(stream, count=1)
        return newest[0][0] if newest else b"0-0"


def _place(entry: tuple[bytes, Any]) -> tuple[int, int]:
    milliseconds, _, number = entry[0].partition(b"-")
    return int(milliseconds), int(number)


def _text(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        name.decode(errors="backslashreplace"): value.decode(errors="backslashreplace")
        for name, value in fields.items()
    }
