"""Whoever reads snapshots: what it shows, and what it believes of a room when it has read one."""

from __future__ import annotations

from typing import Any

from workers.room.evictions import Eviction
from workers.room.identities import IdentityView
from workers.room.view import RoomView, SessionView, TrackKey, TrackView, View

API_TOKEN = "a-token-of-the-consumer"
SHOWN = {"Authorization": f"Bearer {API_TOKEN}"}


def believed(snapshot: dict[str, Any]) -> View:
    """What a consumer believes who has read nothing but a snapshot."""
    return View(
        room=RoomView(closed=snapshot["room"]["closed"]),
        sessions={
            one["participant_sid"]: SessionView(left=one["left"]) for one in snapshot["sessions"]
        },
        tracks={
            TrackKey(one["participant_sid"], one["track_sid"]): TrackView(
                unpublished=one["unpublished"], enabled=one["enabled"]
            )
            for one in snapshot["tracks"]
        },
        evictions={
            one["participant_sid"]: Eviction(one["participant_sid"], one["evicted_by"])
            for one in snapshot["sessions"]
            if one["evicted_by"]
        },
        identities={
            one["identity"]: IdentityView(here=one["here"], contested=one["contested"])
            for one in snapshot["identities"]
        },
        missing=tuple((least, most) for least, most in snapshot["missing"]),
    )
