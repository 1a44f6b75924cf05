"""Folding: the view that a consumer has who heard every event of a room, and nothing else.

It is how a consumer keeps a room in any language, and what the tests hold the heart to: for every
history, folding the derived events gives the view of the facts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from workers.room.announcements import COMPOSITIONS, RECORDINGS, UNRECOGNISED, key_of
from workers.room.diff import Event
from workers.room.evictions import Eviction
from workers.room.identities import IdentityView
from workers.room.sequences import Holes, joined, without
from workers.room.view import RoomView, SessionView, TrackKey, TrackView, View

Folding = Callable[[View, Event], View]


def fold(view: View, event: Event) -> View:
    """Apply one derived event to what is believed so far.

    Raises:
        ValueError: the event is of a kind that is not known here.
    """
    if event.kind not in _FOLDS:
        raise ValueError(f"not a derived event: {event.kind}")
    return _FOLDS[event.kind](view, event)


def _room(*, closed: bool) -> Folding:
    return lambda view, _: replace(view, room=RoomView(closed=closed))


def _gap(change: Callable[[Holes, Holes], Holes]) -> Folding:
    def folding(view: View, event: Event) -> View:
        ranges = tuple((least, most) for least, most in event.data["missing"])
        return replace(view, missing=change(view.missing, ranges))

    return folding


def _settled(view: View, _event: Event) -> View:
    # The same once more, in exact figures.
    return view


def _session(*, left: bool) -> Folding:
    session = SessionView(left=left)
    return lambda view, event: replace(view, sessions=view.sessions | {event.subject: session})


def _evicted(view: View, event: Event) -> View:
    eviction = Eviction(event.subject, event.data["survivor_sid"])
    return replace(view, evictions=view.evictions | {event.subject: eviction})


def _retracted(view: View, event: Event) -> View:
    rest = {sid: one for sid, one in view.evictions.items() if sid != event.subject}
    return replace(view, evictions=rest)


def _person(change: Callable[[IdentityView], IdentityView]) -> Folding:
    def folding(view: View, event: Event) -> View:
        identity = event.data["identity"]
        changed = change(view.identities.get(identity, IdentityView(here=False)))
        return replace(view, identities=view.identities | {identity: changed})

    return folding


def _track(*, unpublished: bool = False, enabled: bool = True) -> Folding:
    track = TrackView(unpublished=unpublished, enabled=enabled)

    def folding(view: View, event: Event) -> View:
        key = TrackKey(event.data["participant_sid"], event.subject)
        return replace(view, tracks=view.tracks | {key: track})

    return folding


def _told(view: View, event: Event) -> View:
    return replace(view, told=view.told | {key_of(event.kind, event.subject, event.data)})


_FOLDS: dict[str, Folding] = {
    "room.opened": _room(closed=False),
    "room.closed": _room(closed=True),
    "room.settled": _settled,
    "room.gap-found": _gap(joined),
    "room.gap-closed": _gap(without),
    "participant.joined": _session(left=False),
    "participant.left": _session(left=True),
    "participant.evicted": _evicted,
    "participant.eviction-retracted": _retracted,
    "identity.arrived": _person(lambda person: replace(person, here=True)),
    "identity.departed": _person(lambda person: replace(person, here=False)),
    "identity.contested": _person(lambda person: replace(person, contested=True)),
    "identity.uncontested": _person(lambda person: replace(person, contested=False)),
    "track.published": _track(),
    "track.enabled": _track(),
    "track.disabled": _track(enabled=False),
    "track.unpublished": _track(unpublished=True),
    **dict.fromkeys([*RECORDINGS.values(), *COMPOSITIONS.values(), UNRECOGNISED], _told),
}
