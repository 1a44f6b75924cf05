"""The token that whoever reads snapshots must show (RFC 6750). Knows no room.

No token, right or wrong, is ever in a log line or an answer.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from schemas.errors import TokenMismatchError, TokenMissingError


def require_token(header: str | None, tokens: Iterable[str]) -> None:
    """Make sure that an Authorization header shows one of the tokens.

    Raises:
        TokenMissingError: it shows none at all.
        TokenMismatchError: it shows another one.
    """
    scheme, _, shown = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not shown.strip():
        raise TokenMissingError
    # Headers come as Latin-1, a character a byte.
    given = shown.strip().encode("latin-1", "replace")
    # All are compared: how long it takes must not tell which was nearly right.
    alike = [hmac.compare_digest(given, token.encode()) for token in tokens]
    if not any(alike):
        raise TokenMismatchError


def challenge(error: TokenMissingError | TokenMismatchError) -> str:
    """Say in a WWW-Authenticate header what is asked for."""
    realm = 'Bearer realm="rollcall"'
    return realm if isinstance(error, TokenMissingError) else f'{realm}, error="invalid_token"'
