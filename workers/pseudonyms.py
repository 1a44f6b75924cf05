"""Pseudonyms: what stands in audit records for identities and names, where those are hashed.

The same text has the same pseudonym everywhere under one key, so a person can be followed from room
to room; without the key nobody can tell who it is, and with the key gone nobody ever can. Decides
what is a name, and knows no records.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec

from schemas.audit import HASHED, PSEUDONYM
from schemas.callbacks import EVENT, PARAMETERS, SCHEMAS
from schemas.events import CloudEvent

# 64 bits tell millions of people apart.
_HEX_DIGITS = 16
# Who dials in is known by the number (https://www.twilio.com/docs/video/adding-programmable-voice-participants-video-rooms).
_PHONE = re.compile(r"\+?[0-9]{7,15}")
_SHOWN_OF_A_NUMBER = 3
# The people and rooms of a busy hour. What is longer is worked out each time: a parameter may be
# long, and memory is bounded.
_REMEMBERED = 16_384
_REMEMBERED_LENGTH = 128

# Parameters whose values are words of Twilio's. All other text may hold a name: a track's, a
# bucket's, a composition's.
_WORDS = {EVENT} | {
    str(field.data_key)
    for schema in SCHEMAS.values()
    for field in schema.fields.values()
    if field.metadata.get("known")
}
_FREE = {name for name, (_, parse) in PARAMETERS.items() if parse is str} - _WORDS
# The same in the data of events, and what is called otherwise there.
_NAMED = {PARAMETERS[name][0] for name in _FREE} | {"identity", "name"}
# What is made of names and of more: no pseudonym could be found again in it. The ids of callbacks
# are digests over names; which of two is the evidence, at the same moment, goes by their order.
_MADE_OF_NAMES = {"summary", "dedup_key", "callback_id", "evidence"}

_canonical = msgspec.json.Encoder(order="deterministic").encode

Naming = Callable[[str], str]


class Pseudonyms:
    """The pseudonyms of one key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        # What a log was hashed with can be compared, and the key not be found from it.
        self.identities = f"{HASHED}:{self._digest(b'key')[:8]}"
        self._known = lru_cache(maxsize=_REMEMBERED)(self._of)

    def of(self, text: str) -> str:
        """Return the pseudonym of a text; that of a phone number shows its last digits."""
        return self._known(text) if len(text) <= _REMEMBERED_LENGTH else self._of(text)

    def of_digest(self, digest: str) -> str:
        """Return what stands for a digest over names: whoever has that could guess at the names."""
        return self._digest(b"digest:" + digest.encode())

    def _of(self, text: str) -> str:
        # Surrogates cannot be encoded, but the door lets none in.
        pseudonym = PSEUDONYM + self._digest(b"text:" + text.encode(errors="surrogatepass"))
        if _PHONE.fullmatch(text):
            return f"{pseudonym}:*{text[-_SHOWN_OF_A_NUMBER:]}"
        return pseudonym

    def _digest(self, content: bytes) -> str:
        return hmac.digest(self._key, content, "sha256").hex()[:_HEX_DIGITS]


def params_under(params: Mapping[str, str], of: Naming) -> dict[str, str]:
    """Replace every value that may hold a name.

    SIDs, times and numbers stay, as long as they are such, and Twilio's words. What is unknown may
    be anything, and is hashed.
    """
    return {name: said if _is_no_name(name, said) else of(said) for name, said in params.items()}


def _is_no_name(name: str, said: str) -> bool:
    if name in _WORDS:
        return True
    is_free = name in _FREE or name not in PARAMETERS
    return not is_free and len(said) <= _REMEMBERED_LENGTH and _can_be_read(name, said)


# Rooms, sessions and tracks are told of many times.
@lru_cache(maxsize=_REMEMBERED)
def _can_be_read(name: str, said: str) -> bool:
    try:
        PARAMETERS[name][1](said)
    except ValueError:
        return False
    return True


def content_digest(event: CloudEvent, of: Naming) -> str:
    """Work out a digest of an event or alert that does not depend on the names behind pseudonyms.

    Args:
        event: with the names, or replayed, with their pseudonyms in place of them.
        of: gives the pseudonym of a name; what is one already, it must leave as it is.
    """
    data = _under(msgspec.json.decode(event.data), "", of)
    content = _canonical([event.type, event.subject, event.time, data])
    return sha256(content).hexdigest()[:_HEX_DIGITS]


def _under(value: Any, name: str, of: Naming) -> Any:
    if isinstance(value, dict):
        if name == "params":
            return params_under(value, of)
        return {
            inner: _under(one, inner, of)
            for inner, one in value.items()
            if inner not in _MADE_OF_NAMES
        }
    if isinstance(value, list):
        return [_under(one, name, of) for one in value]
    return of(value) if isinstance(value, str) and name in _NAMED else value
