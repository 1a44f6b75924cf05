"""The operator's terms of the audit: who writes it and how. Knows the settings, and no records."""

from __future__ import annotations

from schemas.audit import HASHED
from schemas.audit_keys import SigningKey
from schemas.settings import Settings
from workers.bounds import bounds_of
from workers.pseudonyms import Pseudonyms
from workers.scribe import Scribe


def scribe_of(settings: Settings) -> Scribe:
    """Make the scribe that the settings ask for."""
    hashed = settings.audit_identity == HASHED
    return Scribe(
        bounds_of(settings),
        pseudonyms=Pseudonyms(settings.audit_identity_key) if hashed else None,
        key=SigningKey(settings.audit_key) if settings.audit_key else None,
    )
