"""The view: what the world should believe of a room, worked out from its facts alone.

Beliefs are what folds: they are compared, and their differences are the derived events. What a
field marked `remark` holds is true when published and refined in the facts afterwards; it is never
compared, so it is not said again.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import field

from workers.room.belief import belief, remark
from workers.room.bounds import Bounds
from workers.room.callback import Callback
from workers.room.evictions import Eviction, evictions
from workers.room.facts import NOBODY_KNOWN, NOTHING, Facts, Said, Session, Track, person_of
from workers.room.identities import IdentityView, identity_view
from workers.room.sequences import Holes, missing
from workers.room.value import Value


@belief
class RoomView:
    """A room that was opened."""

    closed: bool
    inferred: bool = remark()
    start: int = remark(0)
    end: int = remark(0)
    duration_seconds: int = remark()
    # What it was closed by: `room-ended`, or `presumed`.
    closed_by: str = remark()


@belief
class SessionView:
    """A session that joined."""

    left: bool
    identity: str | None = remark()
    inferred: bool = remark()
    start: int = remark(0)
    end: int = remark(0)
    duration_seconds: int = remark()
    cause: str = remark()


@belief
class TrackView:
    """A track that was published. It starts enabled, and unpublishing ends `disabled` silently."""

    unpublished: bool
    enabled: bool
    identity: str | None = remark()
    kind: str | None = remark()
    name: str | None = remark()
    inferred: bool = remark()
    start: int = remark(0)
    end: int = remark(0)
    switched_at: int = remark(0)
    cause: str = remark()


class TrackKey(Value, order=True):
    """A track as one participant published it."""

    participant_sid: str
    track_sid: str


@belief
class View:
    """What is believed of a room, or of the part of it that a callback touched."""

    room: RoomView | None = None
    sessions: dict[str, SessionView] = field(default_factory=dict)
    tracks: dict[TrackKey, TrackView] = field(default_factory=dict)
    # By the SID of the evicted session.
    evictions: dict[str, Eviction] = field(default_factory=dict)
    identities: dict[str, IdentityView] = field(default_factory=dict)
    # Ranges of sequence numbers that were waited for in vain so far.
    missing: Holes = ()
    told: AbstractSet[str] = frozenset()
    # The moment of arrival time that all this is believed at.
    now: int = remark(0)
    # What it was concluded from; the rest of what can be said is taken from there when it is asked.
    facts: Facts = field(default=NOTHING, compare=False, repr=False)

    @property
    def room_sid(self) -> str:
        return self.facts.room_sid

    @property
    def room_name(self) -> str | None:
        return _text(self.facts.name)

    @property
    def room_type(self) -> str | None:
        return _text(self.facts.type)

    @property
    def present(self) -> int:
        """How many people are there, in however many sessions."""
        return 0 if self.facts.end is not None else self.facts.present

    @property
    def stalled(self) -> int | None:
        """Since when callbacks wait that nobody has taken yet."""
        stall = self.facts.stall
        return stall.since if stall and self.now < stall.until else None


class Scope(Value):
    """Which part of a room to look at; what a callback cannot have touched is left out."""

    sessions: frozenset[str]
    # None for all tracks of those sessions.
    tracks: frozenset[str] | None
    identities: frozenset[str]


# What is said of the room as a whole, and of nobody in it.
NOBODY = Scope(frozenset(), frozenset(), frozenset())


def scope_of(before: Facts, after: Facts, callback: Callback) -> Scope | None:
    """Tell what the difference between two facts can be seen in; None for the whole room."""
    if before.ended != after.ended:
        return None
    sid = callback.text("participant_sid")
    if sid is None or before.sessions.get(sid) is after.sessions.get(sid):
        return NOBODY
    old, new = before.sessions.get(sid), after.sessions[sid]
    track_sid = callback.text("track_sid")
    tracks = None if track_sid is None else frozenset((track_sid,))
    identities = frozenset() if old and _same_stay(old, new) else _identities(sid, old, new)
    return Scope(frozenset((sid,)), tracks, identities)


def scope_of_identity(identity: str) -> Scope:
    """Look at a person, and at the tracks of nobody."""
    return Scope(frozenset(), frozenset(), frozenset((identity,)))


def view(
    facts: Facts, bounds: Bounds, scope: Scope | None = None, *, now: int | None = None
) -> View:
    """Work out what to believe of a room, or of the part of it that `scope` names.

    Args:
        facts: all that was heard.
        bounds: what verdicts are made with.
        scope: None for the whole room.
        now: the moment of arrival time to believe it at; by default the last that was looked at.
    """
    now = facts.looked if now is None else now
    sessions: dict[str, SessionView] = {}
    tracks: dict[TrackKey, TrackView] = {}
    # One plain loop: with one session and one track, to begin another costs more than its work.
    for sid in facts.sessions if scope is None else scope.sessions:
        session = facts.sessions.get(sid)
        if session is None:
            continue
        sessions[sid] = _session_view(facts, session)
        for track_sid, track in _tracks(session, scope):
            tracks[TrackKey(sid, track_sid)] = _track_view(facts, session, track)
    people = _people(facts, scope)
    return View(
        room=_room_view(facts),
        sessions=sessions,
        tracks=tracks,
        evictions=_evictions(facts, bounds, people),
        identities={
            identity: identity_view(facts, identity, now, bounds)
            for identity in people
            if not identity.startswith(NOBODY_KNOWN)
        },
        missing=() if facts.first is None else missing(facts.sequences, now, bounds.gap),
        told=facts.told.keys(),
        now=now,
        facts=facts,
    )


def _room_view(facts: Facts) -> RoomView | None:
    start, end = facts.start, facts.ended
    if start is None:
        return None
    inferred = facts.created is None
    if facts.end is None:
        return RoomView(closed=False, inferred=inferred, start=start)
    return RoomView(
        closed=True,
        inferred=inferred,
        start=start,
        end=facts.end,
        duration_seconds=_seconds(end.duration if end else None, start, facts.until),
        closed_by="room-ended" if end else "presumed",
    )


def _session_view(facts: Facts, session: Session) -> SessionView:
    identity = _text(session.identity)
    start, inferred = session.start, session.connected is None
    end = facts.end if session.ended is None else session.ended.at
    if end is None:
        return SessionView(left=False, identity=identity, inferred=inferred, start=start)
    told = session.ended.duration if session.ended else None
    return SessionView(
        left=True,
        identity=identity,
        inferred=inferred,
        start=start,
        # What is heard of after a room was presumed to have ended may have begun later.
        end=end if session.ended else max(start, end),
        duration_seconds=_seconds(told, start, session.ended.at if session.ended else facts.until),
        cause="disconnected" if session.ended else "room-closed",
    )


def _track_view(facts: Facts, session: Session, track: Track) -> TrackView:
    end, cause = _track_end(facts, session, track)
    return TrackView(
        unpublished=end is not None,
        enabled=end is not None or track.switched is None or track.switched.enabled,
        identity=_text(session.identity),
        kind=_text(track.kind),
        name=_text(track.name),
        inferred=track.added is None,
        start=track.first if track.added is None else track.added,
        end=end or 0,
        switched_at=track.switched.at if track.switched else 0,
        cause=cause,
    )


def _track_end(facts: Facts, session: Session, track: Track) -> tuple[int | None, str]:
    # No track-removed comes for tracks still published when their participant leaves.
    if track.removed is not None:
        return track.removed, "removed"
    if session.ended:
        return session.ended.at, "participant-left"
    if facts.end is not None:
        return facts.end, "room-closed"
    return None, ""


def _tracks(session: Session, scope: Scope | None) -> Iterable[tuple[str, Track]]:
    if scope is None or scope.tracks is None:
        return session.tracks.items()
    return [(sid, session.tracks[sid]) for sid in scope.tracks if sid in session.tracks]


def _evictions(facts: Facts, bounds: Bounds, people: Iterable[str]) -> dict[str, Eviction]:
    found: dict[str, Eviction] = {}
    for identity in people:
        group = [(sid, facts.sessions[sid]) for sid in facts.people[identity]]
        found |= evictions(identity, group, facts.ended, bounds)
    return found


def _people(facts: Facts, scope: Scope | None) -> Iterable[str]:
    if scope is None:
        return facts.people
    if not scope.identities:
        return ()
    known = [identity for identity in scope.identities if identity in facts.people]
    # A set has no order of its own, and events have the same one in every process.
    return sorted(known, key=facts.people.__getitem__)


def _same_stay(old: Session, new: Session) -> bool:
    """Whether nothing is heard that says who it is, and from when to when."""
    return (old.start, old.ended, _text(old.identity)) == (
        new.start,
        new.ended,
        _text(new.identity),
    )


def _identities(sid: str, *sessions: Session | None) -> frozenset[str]:
    return frozenset(person_of(sid, one) for one in sessions if one)


def _text(said: Said | None) -> str | None:
    return said.text if said else None


def _seconds(told: int | None, start: int, end: int) -> int:
    """The duration that Twilio told, or else the whole seconds between two times."""
    return max(0, (end - start) // 1_000_000) if told is None else told
