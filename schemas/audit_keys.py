"""The keys of the audit: Ed25519, which closing records are signed with. Knows no settings.

A signature is over the 64 hex digits of a record's `hash`; that covers the record, and by `prev`
the whole chain before it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

# Of a seed, and of a public key (https://www.rfc-editor.org/rfc/rfc8032#section-5.1.5).
_BYTES = 32


class SigningKey:
    """What a worker signs with."""

    def __init__(self, text: str) -> None:
        """Read a key.

        Args:
            text: its 32-byte seed in base64, or PEM without a password.

        Raises:
            ValueError: it is neither. Says nothing of the text.
        """
        if _is_pem(text):
            try:
                key = load_pem_private_key(text.encode(), password=None)
            except TypeError:
                raise ValueError("A key with a password.") from None
            if not isinstance(key, Ed25519PrivateKey):
                raise ValueError("Not an Ed25519 key.")
            self._key = key
        else:
            self._key = Ed25519PrivateKey.from_private_bytes(_raw(text))
        self.public = VerifyingKey.of(self._key.public_key())

    @classmethod
    def generated(cls) -> tuple[Self, str]:
        """Make a new key; return it, and the text that it is read from."""
        seed = b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()
        return cls(seed), seed

    def sign(self, digest: str) -> str:
        """Sign a record's hash; the signature is base64."""
        return b64encode(self._key.sign(digest.encode())).decode()


class VerifyingKey:
    """What anybody checks signatures with: the public half."""

    def __init__(self, text: str) -> None:
        """Read a key.

        Args:
            text: its 32 bytes in base64, or PEM.

        Raises:
            ValueError: it is neither.
        """
        if _is_pem(text):
            key = load_pem_public_key(text.encode())
            if not isinstance(key, Ed25519PublicKey):
                raise ValueError("Not an Ed25519 key.")
            self._key = key
        else:
            self._key = Ed25519PublicKey.from_public_bytes(_raw(text))

    @classmethod
    def of(cls, key: Ed25519PublicKey) -> Self:
        """Take a key that was read already."""
        return cls(b64encode(key.public_bytes_raw()).decode())

    @property
    def text(self) -> str:
        """The key, as it is read: base64."""
        return b64encode(self._key.public_bytes_raw()).decode()

    @property
    def key_id(self) -> str:
        """What signed records name it by: 16 hex digits of its SHA-256."""
        return sha256(self._key.public_bytes_raw()).hexdigest()[:16]

    def fits(self, digest: str, signature: str) -> bool:
        """Tell whether a signature is this key's over a record's hash."""
        try:
            raw = b64decode(signature, validate=True)
            self._key.verify(raw, digest.encode())
        except (InvalidSignature, ValueError):
            return False
        # The last character of base64 has bits that mean nothing; others may not alter them either.
        return b64encode(raw).decode() == signature


def _is_pem(text: str) -> bool:
    return text.lstrip().startswith("-----BEGIN")


def _raw(text: str) -> bytes:
    raw = b64decode(text.strip(), validate=True)
    if len(raw) != _BYTES:
        raise ValueError("Not 32 bytes in base64.")
    return raw
