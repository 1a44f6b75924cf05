"""The keys of the audit: what they are read from, and what a signature covers."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from schemas.audit_keys import SigningKey, VerifyingKey

# The first test of https://www.rfc-editor.org/rfc/rfc8032#section-7.1.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def pem(key: Ed25519PrivateKey, how: KeySerializationEncryption | None = None) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption()).decode()


def test_a_key_is_its_seed_in_base64_or_pem() -> None:
    seed = b64encode(SEED).decode()
    for text in (seed, f" {seed}\n", pem(Ed25519PrivateKey.from_private_bytes(SEED))):
        assert SigningKey(text).public.text == b64encode(PUBLIC).decode()


def test_a_public_key_is_its_bytes_in_base64_or_pem() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED).public_key()
    written = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert VerifyingKey(written).key_id == VerifyingKey(b64encode(PUBLIC).decode()).key_id


def test_a_signature_fits_the_hash_that_was_signed_and_no_other() -> None:
    key, text = SigningKey.generated()
    signature = SigningKey(text).sign("a" * 64)
    assert key.public.fits("a" * 64, signature)
    assert not key.public.fits("b" * 64, signature)
    assert not SigningKey.generated()[0].public.fits("a" * 64, signature)
    # The last character has bits that say nothing.
    padding = signature[:-3] + chr(ord(signature[-3]) + 1) + signature[-2:]
    assert b64decode(padding) == b64decode(signature)
    for rubbish in (padding, "", "é", "x", signature[:-4], b64encode(b"x" * 64).decode()):
        assert not key.public.fits("a" * 64, rubbish)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        "é" * 32,
        b64encode(b"x" * 31).decode(),
        "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----",
        pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")),
        generate_private_key(SECP256R1())
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        .decode(),
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        SigningKey(text)
    with pytest.raises(ValueError, match=r"."):
        VerifyingKey(text)
