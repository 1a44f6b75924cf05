"""The words for why a worker concluded what it did: `reasons` in audit records.

docs/audit.md has a table of them, made from here. `workers/reasons.py` fills them in.
"""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """One word of `why`, and what stands beside it. Times are as everywhere."""

    # The names of the fields.
    tells: tuple[str, ...]
    meaning: str


# No identity and no name is ever in a reason: sessions have SIDs.
REASONS: dict[str, Reason] = {
    "nothing-new": Reason((), "a duplicate: everything that it tells was known"),
    "late": Reason(
        ("by_ms", "latest"), "it happened that much before the latest Timestamp that was known"
    ),
    "let-go": Reason(
        ("timestamp", "folded_until"),
        "too late: its session is unknown, and it happened before the last end of the sessions that"
        " were let go",
    ),
    "listed": Reason(
        ("participant_sid",), "too late: its session was let go, and stands on the roster"
    ),
    "expired": Reason((), "too late: its room ended long ago, and was let go"),
    "unknown-event": Reason(("name",), "nothing can be concluded from an event of that name"),
    "unknown-parameters": Reason(("names",), "parameters that are unknown, or cannot be read"),
    "evicted": Reason(
        (
            "evicted_sid",
            "survivor_sid",
            "evicted_end",
            "survivor_start",
            "gap_ms",
            "least_ms",
            "most_ms",
            "evidence",
        ),
        "one session of an identity ended as another began: the end minus the start is `gap_ms`,"
        " which lies within the bounds; `evidence` names the callbacks",
    ),
    "eviction-retracted": Reason(
        ("evicted_sid", "survivor_sid", "because"),
        "an eviction is withdrawn: `room-ended` at the same moment, or `other-survivor`, or the"
        " `times` do not meet after all",
    ),
    "departed": Reason(
        ("participant_sid", "left_at", "linger_ms"), "nobody was back for that long"
    ),
    "contested": Reason(
        ("participant_sids", "after_ms"), "sessions of one identity connected at once for that long"
    ),
    "missed": Reason(("missing", "gap_ms"), "sequence numbers that were waited for in vain"),
    "presumed": Reason(("heard", "after_ms"), "nothing was heard of the room for that long"),
    "settled": Reason(("heard", "quiet_ms"), "nothing was heard of the closed room for that long"),
    "alert": Reason(
        ("alert", "change", "severity", "count"),
        "an alert was `raised`, `changed` or `resolved`",
    ),
    "stalled": Reason(("since", "stalled_ms"), "callbacks had waited for longer than that"),
}
