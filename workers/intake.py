"""Intake: from what the door deposited to what the heart takes. Knows both, decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from schemas.reading import read, room_of
from workers.room.callback import Callback

_canonical = msgspec.json.Encoder(order="deterministic").encode

# 64 bits tell the callbacks of a room apart, and keep the facts small.
_ID_BYTES = 8


def callback_from(params: Mapping[str, str], arrived: int) -> Callback:
    """Read the parameters of a callback as they were received.

    Args:
        params: checked at the door.
        arrived: arrival time in microseconds since 1970. It stands in for the Timestamp of an
            unknown event that has none.

    Raises:
        IndigestibleError: these are not the parameters of a callback that passed the door.
    """
    said, strange = read(params)
    return Callback(
        event=said["event"],
        account_sid=said["account_sid"],
        room_sid=room_of(params),
        at=said.get("timestamp", arrived),
        sequence=said.get("sequence_number", -1),
        id=sha256(_canonical(params)).digest()[:_ID_BYTES],
        said=said,
        strange=strange,
        arrived=arrived,
    )
