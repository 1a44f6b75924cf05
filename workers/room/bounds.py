"""The bounds that verdicts are made with: the settings' values, given to the heart as arguments.

All in microseconds. Those that say so are of event time; all others are of arrival time, which is
for patience: they say how long to wait after something was heard.
"""

from __future__ import annotations

from typing import NamedTuple

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE

# A callback whose Timestamp is this much older than the greatest one applied is called late.
LATE_AFTER = 5 * _SECOND
# Ends this close to the room's end, either way, were caused by it (error 53118) and not by anybody.
# Event time.
ROOM_END_WITHIN = _SECOND
# A newcomer that was gone itself this soon after the end threw nobody out. Event time.
OUTLIVES_BY = 250_000
# A second eviction this soon after another is no page refresh any more. Event time.
AGAIN_WITHIN = 10 * _MINUTE
# This many evictions of one identity within this time are two windows that keep throwing each other
# out (twilio-video.js#1512). Event time.
STORM_EVICTIONS = 3
STORM_WITHIN = _MINUTE
# A storm that goes on is told anew at most this often.
STORM_TOLD_EVERY = _SECOND
# Who is thrown out again comes back sooner than this: what was wrong is over.
CALM_AFTER = 5 * _MINUTE
# Twilio ends the older of two sessions at once, and the callback of it follows within a second.
CONTESTED_AFTER = 2 * _SECOND
# Twilio notices a lost network after up to 73 s (video-quickstart-android#80).
GHOST_AFTER = 90 * _SECOND
# No room lasts longer (https://www.twilio.com/docs/video/api/rooms-resource,
# MaxParticipantDuration).
LONGEST_SESSION = 24 * _HOUR
# A callback that is this late is rarer than one in ten thousand was in any recording.
QUIET_FOR = 60 * _SECOND
# An hour more than the longest room: nothing can be going on there any more.
PRESUMED_AFTER = 25 * _HOUR
# Retries and replays from the door's disk mostly come within this.
FOLD_AFTER = 10 * _MINUTE
# Sessions are let go of together, at most this much later.
FOLD_EVERY = _MINUTE


# Rejoins by the hundred: what ended longest ago is let go of sooner than usual.
CROWD = 48
CROWD_OF_ONE = 8
CROWD_FOLD_AFTER = _MINUTE


class Bounds(NamedTuple):
    """What the operator decides."""

    # The evicted session may have ended up to this long before its successor started. Event time.
    before: int
    # And up to this long after. Event time.
    after: int
    # Somebody who is back within this has not left.
    linger: int = 5 * _SECOND
    # Callbacks overtake each other by less than this.
    gap: int = 10 * _SECOND
    # How many participants a room takes (https://www.twilio.com/docs/video/programmable-video-limits).
    capacity: int = 50
    # How long a room is known in full after its end.
    keep: int = 24 * _HOUR
    # And how long what the next event of it would build on: nobody replays what is older.
    tombstone: int = 30 * 24 * _HOUR
    # How long a callback may wait for a worker.
    stalled: int = 30 * _SECOND


def is_nearly_full(present: int, bounds: Bounds) -> bool:
    """Whether nine in ten are there."""
    return 10 * present >= 9 * bounds.capacity
