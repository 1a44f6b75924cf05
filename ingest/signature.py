"""Whether Twilio signed a request. Pure: knows neither Flask nor settings nor a clock.

https://www.twilio.com/docs/usage/webhooks/webhooks-security: the URL as it was configured, then
every name and value of the form by name, HMAC-SHA1 with the account's auth token, base64. What
cannot be judged is a mismatch: nothing here raises anything else.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from urllib.parse import urlparse

from twilio.request_validator import RequestValidator, add_port, remove_port
from werkzeug.datastructures import MultiDict

from schemas.errors import SignatureMismatchError, SignatureMissingError

HEADER = "X-Twilio-Signature"


def verify(
    url: str,
    params: MultiDict[str, str] | Mapping[str, list[str]],
    signature: str | None,
    tokens: Sequence[str],
) -> None:
    """Check that one of `tokens` signed this URL and these parameters.

    The header X-Twilio-Webhooks-Signature-Settings, which may name another algorithm and a shared
    key, is not heard: a request must not choose how it is judged, and Rollcall holds no such key.

    Args:
        url: in full, with the query as it came.
        params: every value of each name of the form; empty for a GET, whose URL holds them all.
        signature: the header's value.
        tokens: the auth tokens. Several while one is replaced, since nothing says which one signed.

    Raises:
        SignatureMissingError: there is no signature.
        SignatureMismatchError: it fits no token.
    """
    if not signature:
        raise SignatureMissingError
    given = signature.encode(errors="replace")
    # Every token and form of the URL is tried, and each comparison takes as long as any other:
    # the validator's own compare answers early when the lengths differ.
    fits = [
        hmac.compare_digest(given, expected)
        for token in tokens
        for expected in _signatures(url, MultiDict(params), token)
    ]
    if not any(fits):
        raise SignatureMismatchError


def _signatures(url: str, params: MultiDict[str, str], token: str) -> list[bytes]:
    # ValueError also covers text that UTF-8 cannot encode, TypeError a value that is not text.
    with suppress(TypeError, ValueError):
        validator = _validator(token)
        return [validator.compute_signature(form, params).encode() for form in _forms(url)]
    return []


def _forms(url: str) -> set[str]:
    """The URL as it is, with its port and without.

    Twilio signs either form: "sig generation on back end is inconsistent", says the validator.
    """
    forms = {url}
    # A port that is no number. The URL itself can still be judged.
    with suppress(ValueError):
        parts = urlparse(url)
        forms |= {add_port(parts), remove_port(parts)}
    return forms


@lru_cache(maxsize=16)
def _validator(token: str) -> RequestValidator:
    return RequestValidator(token)
