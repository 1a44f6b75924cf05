"""An alert as it was published, read back from the stream. Knows neither targets nor Redis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from schemas.errors import UnreadableAlertError
from schemas.events import decode_entry

RESOLVED = "resolved"


class Alert(NamedTuple):
    """One entry of the stream of alerts."""

    entry_id: str
    attributes: Mapping[str, str]
    data: Mapping[str, Any]
    # `data` as it stands in the stream.
    raw: bytes

    @property
    def id(self) -> str:
        return self.attributes["id"]

    @property
    def change(self) -> str:
        """What it tells: raised, changed or resolved."""
        return self.attributes["type"].rpartition(".")[2]

    @property
    def published(self) -> int:
        """When it was published, in milliseconds since 1970."""
        return order(self.entry_id)[0]


def order(entry_id: str) -> tuple[int, int]:
    """Return what the ids of stream entries are compared by."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)


class _Needed(msgspec.Struct):
    """What delivery needs of the data; it may hold more."""

    alert: str
    dedup_key: str
    severity: Literal["info", "warning", "critical"]
    summary: str
    room_sid: str
    room_name: str | None
    count: int
    since: str


def read_alert(entry_id: bytes, entry: Mapping[bytes, bytes]) -> Alert:
    """Read an entry.

    Raises:
        UnreadableAlertError: somebody else has written it.
    """
    try:
        attributes, data = decode_entry(entry)
        _ = attributes["id"], attributes["type"], attributes["time"]
        msgspec.convert(data, _Needed)
    except (KeyError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise UnreadableAlertError(f"{UnreadableAlertError.__doc__} {error}") from error
    return Alert(entry_id.decode(), attributes, data, entry[b"data"])
