"""`rollcall audit keygen`: new keys for the audit, as lines of an environment file."""

from __future__ import annotations

import secrets

import click

from schemas.audit_keys import SigningKey

# Of hex digits twice as many characters.
_IDENTITY_KEY_BYTES = 32


def keygen() -> None:
    """Print a new signing key with its public half, and a new key for identities."""
    key, seed = SigningKey.generated()
    click.echo(
        f"""\
# Signs closing records. Only workers may have it; keep a copy where the logs are not.
ROLLCALL_AUDIT_KEY={seed}
# Its public half, for whoever checks signatures: rollcall audit verify --key {key.public.text}
# or, in their environment: ROLLCALL_AUDIT_PUBLIC_KEY={key.public.text}
# In the records it is called {key.public.key_id}.

# Hashes identities and names, where ROLLCALL_AUDIT_IDENTITY=hashed. To erase what it has hashed,
# discard every copy of it (rollcall audit forget).
ROLLCALL_AUDIT_IDENTITY_KEY={secrets.token_hex(_IDENTITY_KEY_BYTES)}"""
    )
