"""Merging: facts' = merge(facts, callback). Commutative, associative, idempotent.

What a callback says nothing new about comes back as the very same object, so `is` tells whether
anything changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from workers.room.announcements import CONCLUSIVE, announcements
from workers.room.callback import Callback
from workers.room.facts import End, Facts, Mark, Said, Session, Switched, Track, person_of
from workers.room.sequences import with_number

# What was told longest ago is forgotten, and would be passed on again should it come again. A room
# of fifty with a recording a track, told three times each, has fewer.
_MOST_TOLD = 500

# More would make facts grow without bound, and say nothing more.
_MOST_FAILED = 50

T = TypeVar("T")
Ordered = TypeVar("Ordered", int, Mark, End, Said, Switched)


def merge(facts: Facts, callback: Callback) -> Facts:
    """Add what a callback says to what is known of its room."""
    merged = MERGES.get(callback.event, _nothing_more)(facts, callback)
    merged = _replaced(
        merged,
        room_sid=callback.room_sid,
        account_sid=max(facts.account_sid, callback.account_sid),
        sequences=with_number(facts.sequences, callback.sequence, callback.arrived),
        failed=_failed(facts.failed, callback),
        recordings_failed=_recordings_failed(facts.recordings_failed, callback),
    )
    if callback.dated:
        merged = _replaced(
            merged,
            name=_said(facts.name, callback, "room_name"),
            type=_said(facts.type, callback, "room_type"),
            latest=max(facts.latest, callback.at),
        )
    return _replaced(merged, told=_told(merged.told, callback))


def _told(told: dict[str, int], callback: Callback) -> dict[str, int]:
    keys = [one.key for one in announcements(callback)]
    if all(key in told and told[key] <= callback.arrived for key in keys):
        return told
    news = {key: min(callback.arrived, told.get(key, callback.arrived)) for key in keys}
    return dict([*(told | news).items()][-_MOST_TOLD:])


def _nothing_more(facts: Facts, _callback: Callback) -> Facts:
    # Recordings and compositions make no room, session or track known; nor does the unknown.
    return facts


def _seen(facts: Facts, callback: Callback) -> Facts:
    return _replaced(facts, first=_least(facts.first, callback.at))


def _created(facts: Facts, callback: Callback) -> Facts:
    return _replaced(_seen(facts, callback), created=_least(facts.created, callback.at))


def _room_ended(facts: Facts, callback: Callback) -> Facts:
    end = _end(callback, "room_duration")
    return _replaced(
        _seen(facts, callback),
        ended=_least(facts.ended, end),
        end_heard=_least(facts.end_heard, callback.arrived),
    )


def _connected(session: Session, callback: Callback) -> Session:
    return _replaced(session, connected=_least(session.connected, _mark(callback)))


def _disconnected(session: Session, callback: Callback) -> Session:
    end = _end(callback, "participant_duration")
    return _replaced(
        session,
        ended=_least(session.ended, end),
        end_heard=_least(session.end_heard, callback.arrived),
    )


def _added(track: Track, callback: Callback) -> Track:
    return _replaced(track, added=_least(track.added, callback.at))


def _removed(track: Track, callback: Callback) -> Track:
    return _replaced(track, removed=_least(track.removed, callback.at))


def _switched(track: Track, callback: Callback) -> Track:
    enabled = callback.event == "track-enabled"
    switched = Switched(callback.at, callback.sequence, enabled)
    return _replaced(track, switched=_greatest(track.switched, switched))


def _in_session(
    change: Callable[[Session, Callback], Session],
) -> Callable[[Facts, Callback], Facts]:
    """Make a merge of the facts from one of the session that the callback names."""

    def merge_session(facts: Facts, callback: Callback) -> Facts:
        facts = _seen(facts, callback)
        sid = str(callback.said["participant_sid"])
        mark = _mark(callback)
        session = facts.sessions.get(sid)
        changed = _replaced(
            session or Session(first=mark, heard=callback.arrived),
            first=_least(session and session.first, mark),
            heard=_least(session and session.heard, callback.arrived),
            identity=_said(session and session.identity, callback, "participant_identity"),
        )
        changed = change(changed, callback)
        if changed is session:
            return facts
        told = facts._replace(
            sessions={**facts.sessions, sid: changed},
            people=_people(facts.people, sid, session, changed),
            connected=facts.connected
            + (changed.ended is None)
            - (session is not None and session.ended is None),
        )
        people = {person_of(sid, one) for one in (session, changed) if one}
        return told._replace(present=facts.present + _here(told, people) - _here(facts, people))

    return merge_session


def _here(facts: Facts, people: set[str]) -> int:
    """How many of these people are connected."""
    return sum(
        any(facts.sessions[sid].ended is None for sid in facts.people.get(person, ()))
        for person in people
    )


def _people(
    people: dict[str, tuple[str, ...]], sid: str, was: Session | None, now: Session
) -> dict[str, tuple[str, ...]]:
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


def _in_track(change: Callable[[Track, Callback], Track]) -> Callable[[Facts, Callback], Facts]:
    """Make a merge of the facts from one of the track that the callback names."""

    def merge_track(session: Session, callback: Callback) -> Session:
        sid = str(callback.said["track_sid"])
        track = session.tracks.get(sid)
        changed = _replaced(
            track or Track(first=callback.at),
            first=_least(track and track.first, callback.at),
            kind=_said(track and track.kind, callback, "track_kind"),
            name=_said(track and track.name, callback, "track_name"),
        )
        changed = change(changed, callback)
        if changed is track:
            return session
        return session._replace(tracks={**session.tracks, sid: changed})

    return _in_session(merge_track)


MERGES: dict[str, Callable[[Facts, Callback], Facts]] = {
    "room-created": _created,
    "room-ended": _room_ended,
    "participant-connected": _in_session(_connected),
    "participant-disconnected": _in_session(_disconnected),
    "track-added": _in_track(_added),
    "track-removed": _in_track(_removed),
    "track-enabled": _in_track(_switched),
    "track-disabled": _in_track(_switched),
}


def _mark(callback: Callback) -> Mark:
    return Mark(callback.at, callback.sequence, callback.id)


def _end(callback: Callback, name: str) -> End:
    return End(callback.at, callback.sequence, callback.id, callback.number(name))


def _failed(known: int | None, callback: Callback) -> int | None:
    told = callback.text("room_status") == "failed" and callback.event in CONCLUSIVE
    return _least(known, callback.at) if told else known


def _recordings_failed(known: dict[str, int], callback: Callback) -> dict[str, int]:
    if callback.event != "recording-failed":
        return known
    sid = str(callback.said["recording_sid"])
    at = _least(known.get(sid), callback.at)
    return known if known.get(sid) == at or len(known) >= _MOST_FAILED else {**known, sid: at}


def _said(known: Said | None, callback: Callback, name: str) -> Said | None:
    text = callback.text(name)
    if text is None:
        return known
    return _greatest(known, Said(callback.at, callback.sequence, text))


def _least(known: Ordered | None, new: Ordered) -> Ordered:
    return new if known is None or new < known else known


def _greatest(known: Ordered | None, new: Ordered) -> Ordered:
    return new if known is None or new > known else known


def _replaced(facts: T, **fields: object) -> T:
    """Replace fields of a named tuple, giving back the same object where none of them differs."""
    for name, value in fields.items():
        known = getattr(facts, name)
        if value is not known and value != known:
            return facts._replace(**fields)  # type: ignore[attr-defined, no-any-return]
    return facts
