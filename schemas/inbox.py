"""An inbox entry: a callback as it was received, on its way from the door to the drain.

The entry's own id, given by Redis, is its arrival time. The parameters stay in Twilio's words: the
stablest format there is, and what the audit log shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from schemas.errors import IndigestibleError

PARAMS = b"params"
TOKEN = b"token"

_decode_params = msgspec.json.Decoder(dict[str, str]).decode
_encode = msgspec.json.Encoder().encode


class Deposit(NamedTuple):
    """What one entry holds, read."""

    params: dict[str, str]
    # The i-twilio-idempotency-token header, for the audit: Twilio does not say whether a retry
    # keeps it, so nothing is concluded from it.
    token: str


def encode_params(params: Mapping[str, str]) -> bytes:
    """Encode parameters for the `params` field of an entry."""
    return _encode(params)


def decode_params(encoded: bytes) -> dict[str, str]:
    """Read what `encode_params` wrote."""
    return _decode_params(encoded)


def decode(entry: Mapping[bytes, bytes]) -> Deposit:
    """Read the fields of an entry.

    Raises:
        IndigestibleError: this is no entry of the door's.
    """
    try:
        return Deposit(_decode_params(entry[PARAMS]), entry.get(TOKEN, b"").decode())
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IndigestibleError(f"Not an entry of the inbox: {error!r}") from error
