"""The operator's bounds as the heart takes them. Knows the settings, and neither Celery nor Redis.

Whoever works out a view must use the same, or believe something else than was published.
"""

from __future__ import annotations

from schemas.settings import Settings
from workers.room.bounds import Bounds


def bounds_of(settings: Settings) -> Bounds:
    """Give the settings' bounds to the heart, in its own unit: microseconds."""
    return Bounds(
        before=settings.eviction_before_ms * 1000,
        after=settings.eviction_after_ms * 1000,
        linger=settings.linger_ms * 1000,
        gap=settings.gap_ms * 1000,
        capacity=settings.room_capacity,
        keep=settings.keep_hours * 3_600_000_000,
        tombstone=settings.tombstone_days * 86_400_000_000,
        stalled=settings.stalled_seconds * 1_000_000,
    )
