"""The alerts that Rollcall raises: their names, and what each means."""

from __future__ import annotations

# Each name with what it says. The `data` of all has ALERT_DATA, and the SIDs concerned beside it.
ALERTS: dict[str, str] = {
    "duplicate-identity": (
        "somebody was thrown out because somebody joined under the same identity:"
        " `info` once, `warning` when again within 10 minutes, `critical` when three times in one"
    ),
    "callback-set-aside": "`warning`: a callback could not be digested and is kept in"
    " `rollcall:dead` with the reason",
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
