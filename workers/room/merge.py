"""Merging: facts' = merge(facts, callback). Commutative, associative, idempotent.

What a callback says nothing new about comes back as the very same object, so `is` tells whether
anything changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from workers.room.announcements import CONCLUSIVE, announcements
from workers.room.callback import Callback
from workers.room.facts import End, Facts, Mark, Said, Session, Switched, Track, person_of
from workers.room.sequences import with_number
from workers.room.value import replace

# What was told longest ago is forgotten, and would be passed on again should it come again. A room
# of fifty with a recording a track, told three times each, has fewer.
_MOST_TOLD = 500

# More would make facts grow without bound, and say nothing more.
_MOST_FAILED = 50

# Fields of facts, a session or a track, and what they are from now on.
Changes = dict[str, Any]
Sessions = dict[str, Session]
People = dict[str, tuple[str, ...]]
Merged = TypeVar("Merged", Facts, Session, Track)
Ordered = TypeVar("Ordered", int, Mark, End, Said, Switched)


def merge(facts: Facts, callback: Callback) -> Facts:
    """Add what a callback says to what is known of its room."""
    changes = MERGES.get(callback.event, _nothing_more)(facts, callback)
    changes["room_sid"] = callback.room_sid
    changes["account_sid"] = max(facts.account_sid, callback.account_sid)
    changes["sequences"] = with_number(facts.sequences, callback.sequence, callback.arrived)
    changes["told"] = _told(facts.told, callback)
    if callback.dated:
        changes["name"] = _said(facts.name, callback, "room_name")
        changes["type"] = _said(facts.type, callback, "room_type")
        changes["latest"] = max(facts.latest, callback.at)
    if callback.event in CONCLUSIVE and callback.said.get("room_status") == "failed":
        changes["failed"] = _least(facts.failed, callback.at)
    # All at once: facts have many fields, and each copy of them costs.
    return _replaced(facts, changes)


def _told(told: dict[str, int], callback: Callback) -> dict[str, int]:
    keys = [one.key for one in announcements(callback)]
    if not keys or all(key in told and told[key] <= callback.arrived for key in keys):
        return told
    news = {key: min(callback.arrived, told.get(key, callback.arrived)) for key in keys}
    return dict([*(told | news).items()][-_MOST_TOLD:])


def _nothing_more(_facts: Facts, _callback: Callback) -> Changes:
    # Recordings and compositions make no room, session or track known; nor does the unknown.
    return {}


def _recording_failed(facts: Facts, callback: Callback) -> Changes:
    sid, known = str(callback.said["recording_sid"]), facts.recordings_failed
    at = _least(known.get(sid), callback.at)
    if known.get(sid) == at or len(known) >= _MOST_FAILED:
        return {}
    return {"recordings_failed": {**known, sid: at}}


def _created(facts: Facts, callback: Callback) -> Changes:
    return {**_seen(facts, callback), "created": _least(facts.created, callback.at)}


def _room_ended(facts: Facts, callback: Callback) -> Changes:
    return {
        **_seen(facts, callback),
        "ended": _least(facts.ended, _end(callback, "room_duration")),
        "end_heard": _least(facts.end_heard, callback.arrived),
    }


def _seen(facts: Facts, callback: Callback) -> Changes:
    return {"first": _least(facts.first, callback.at)}


def _connected(session: Session, callback: Callback) -> Changes:
    return {"connected": _least(session.connected, _mark(callback))}


def _disconnected(session: Session, callback: Callback) -> Changes:
    return {
        "ended": _least(session.ended, _end(callback, "participant_duration")),
        "end_heard": _least(session.end_heard, callback.arrived),
    }


def _added(track: Track, callback: Callback) -> Changes:
    return {"added": _least(track.added, callback.at)}


def _removed(track: Track, callback: Callback) -> Changes:
    return {"removed": _least(track.removed, callback.at)}


def _switched(track: Track, callback: Callback) -> Changes:
    enabled = callback.event == "track-enabled"
    switched = Switched(callback.at, callback.sequence, enabled)
    return {"switched": _greatest(track.switched, switched)}


def _in_session(
    change: Callable[[Session, Callback], Changes],
) -> Callable[[Facts, Callback], Changes]:
    """Make a merge of the facts from one of the session that the callback names."""

    def merge_session(facts: Facts, callback: Callback) -> Changes:
        sid = str(callback.said["participant_sid"])
        mark = _mark(callback)
        known = facts.sessions.get(sid)
        session = known or Session(first=mark, heard=callback.arrived)
        changed = _replaced(
            session,
            {
                "first": _least(session.first, mark),
                "heard": _least(session.heard, callback.arrived),
                "identity": _said(session.identity, callback, "participant_identity"),
                **change(session, callback),
            },
        )
        changes = _seen(facts, callback)
        if changed is not known:
            changes["sessions"] = {**facts.sessions, sid: changed}
            if not (known and _counts_alike(sid, known, changed)):
                changes |= _counted(facts, sid, known, changed)
        return changes

    return merge_session


def _counts_alike(sid: str, was: Session, now: Session) -> bool:
    connected = (was.ended is None) == (now.ended is None)
    return connected and person_of(sid, was) == person_of(sid, now)


def _counted(facts: Facts, sid: str, was: Session | None, now: Session) -> Changes:
    """Say anew whose the session is, and how many are there."""
    persons = {person_of(sid, one) for one in (was, now) if one}
    people = _people(facts.people, sid, was, now)
    sessions = {**facts.sessions, sid: now}
    here = _here(sessions, people, persons) - _here(facts.sessions, facts.people, persons)
    connected = (now.ended is None) - (was is not None and was.ended is None)
    return {
        "people": people,
        "connected": facts.connected + connected,
        "present": facts.present + here,
    }


def _here(sessions: Sessions, people: People, persons: set[str]) -> int:
    """How many of these persons are connected."""
    return sum(
        any(sessions[sid].ended is None for sid in people.get(person, ())) for person in persons
    )


def _people(people: People, sid: str, was: Session | None, now: Session) -> People:
    old, new = person_of(sid, was) if was else None, person_of(sid, now)
    if old == new:
        return people
    changed = dict(people)
    if old is not None:
        changed[old] = tuple(one for one in people[old] if one != sid)
        if not changed[old]:
            del changed[old]
    changed[new] = tuple(sorted((*people.get(new, ()), sid)))
    return changed


def _in_track(change: Callable[[Track, Callback], Changes]) -> Callable[[Facts, Callback], Changes]:
    """Make a merge of the facts from one of the track that the callback names."""

    def merge_track(session: Session, callback: Callback) -> Changes:
        sid = str(callback.said["track_sid"])
        known = session.tracks.get(sid)
        track = known or Track(first=callback.at)
        changed = _replaced(
            track,
            {
                "first": _least(track.first, callback.at),
                "kind": _said(track.kind, callback, "track_kind"),
                "name": _said(track.name, callback, "track_name"),
                **change(track, callback),
            },
        )
        return {} if changed is known else {"tracks": {**session.tracks, sid: changed}}

    return _in_session(merge_track)


MERGES: dict[str, Callable[[Facts, Callback], Changes]] = {
    "room-created": _created,
    "room-ended": _room_ended,
    "participant-connected": _in_session(_connected),
    "participant-disconnected": _in_session(_disconnected),
    "track-added": _in_track(_added),
    "track-removed": _in_track(_removed),
    "track-enabled": _in_track(_switched),
    "track-disabled": _in_track(_switched),
    "recording-failed": _recording_failed,
}


def _mark(callback: Callback) -> Mark:
    return Mark(callback.at, callback.sequence, callback.id)


def _end(callback: Callback, name: str) -> End:
    return End(callback.at, callback.sequence, callback.id, callback.number(name))


def _said(known: Said | None, callback: Callback, name: str) -> Said | None:
    text = callback.said.get(name)
    if not isinstance(text, str):
        return known
    return _greatest(known, Said(callback.at, callback.sequence, text))


def _least(known: Ordered | None, new: Ordered) -> Ordered:
    # Asked first whether they differ: two equal ends cannot be put in order.
    return new if known is None or (new != known and new < known) else known


def _greatest(known: Ordered | None, new: Ordered) -> Ordered:
    return new if known is None or new > known else known


def _replaced(known: Merged, changes: Changes) -> Merged:
    """Replace fields, giving back the same object where none of them differs."""
    for name, value in changes.items():
        was = getattr(known, name)
        if value is not was and value != was:
            return replace(known, **changes)
    return known
