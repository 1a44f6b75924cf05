"""The bounds that verdicts are made with: the settings' values, given to the heart as arguments."""

from __future__ import annotations

from typing import NamedTuple

# A callback whose Timestamp is this much older than the greatest one applied is called late.
LATE_AFTER = 5_000_000
# Ends this close to the room's end, either way, were caused by it (error 53118) and not by anybody.
ROOM_END_WITHIN = 1_000_000
# A newcomer that was gone itself this soon after the end threw nobody out.
OUTLIVES_BY = 250_000
# A second eviction this soon after another is no page refresh any more.
AGAIN_WITHIN = 10 * 60 * 1_000_000
# This many evictions of one identity within this time are two windows that keep throwing each other
# out (twilio-video.js#1512).
STORM_EVICTIONS = 3
STORM_WITHIN = 60 * 1_000_000


class Bounds(NamedTuple):
    """How an end and a start must meet to be an eviction, in microseconds of event time."""

    # The evicted session may have ended up to this long before its successor started.
    before: int
    # And up to this long after.
    after: int
