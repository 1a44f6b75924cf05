"""Signatures of closing records, checked against public keys. Must never see a private key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from schemas.audit_keys import VerifyingKey


class PublicKeys:
    """The keys of which one must have signed every closing record."""

    def __init__(self, given: Iterable[str]) -> None:
        """Read them.

        Args:
            given: each a file, or itself: PEM, or 32 bytes in base64.

        Raises:
            click.BadParameter: one of them is no public key.
        """
        self._keys = [_read(one) for one in given]

    def have_signed(self, record: Mapping[str, Any]) -> bool:
        """Whether one of them has signed the hash that a record carries."""
        signature = record.get("signature")
        return isinstance(signature, str) and any(
            key.fits(str(record.get("hash")), signature) for key in self._keys
        )


def _read(given: str) -> VerifyingKey:
    try:
        text = Path(given).read_text(encoding="ascii") if _is_file(given) else given
        return VerifyingKey(text)
    except (OSError, ValueError):
        # Neither the text nor why is told: it may be the private key, given by mistake.
        raise click.BadParameter(
            "--key, or ROLLCALL_AUDIT_PUBLIC_KEY: this is no Ed25519 public key in base64 or PEM."
        ) from None


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):
        # PEM is too long for a name, say.
        return False
