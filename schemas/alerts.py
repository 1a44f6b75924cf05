"""The alerts that Rollcall raises: their names, and what each means."""

from __future__ import annotations

# Each name with what it says. The `data` of all has ALERT_DATA, and the SIDs concerned beside it.
ALERTS: dict[str, str] = {
    "duplicate-identity": (
        "somebody was thrown out because somebody joined under the same identity:"
        " `info` once, `warning` when again within 10 minutes, `critical` when three times in one"
    ),
    "eviction-storm": (
        "`critical`: two windows of one person keep throwing each other out, three times within a"
        " minute or more; `count` says how often"
    ),
    "ghost-participant": (
        "`warning`: a session is connected though its person came anew 90 s ago, or for longer than"
        " any room lasts"
    ),
    "missed-callbacks": "`warning`: there have been holes in the sequence numbers for 10 s",
    "room-capacity": "`warning` at nine in ten of ROLLCALL_ROOM_CAPACITY, `critical` when full",
    "room-failed": "`critical`: Twilio says that the room has failed",
    "recording-failed": "`critical`: Twilio says that a recording has failed",
    "callback-set-aside": "`warning`: a callback could not be digested and is kept in"
    " `rollcall:dead` with the reason",
    "inbox-stalled": (
        "`critical`: callbacks of a shard have waited for ROLLCALL_STALLED_SECONDS, and a worker"
        " has come back to them; while none lives, only `/readyz` and the metrics tell"
    ),
}
ALERT_DATA = (
    "alert",
    "dedup_key",
    "severity",
    "summary",
    "room_sid",
    "room_name",
    "count",
    "since",
    "evidence",
)
