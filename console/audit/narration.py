"""Putting a story together: from what was rebuilt out of a log to what people ask. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter

from console.audit.alarms import alarms, withdrawn
from console.audit.rebuild import Heard, Rebuilt
from console.audit.story import Expulsion, Gap, Span, Stay, Story, TrackStory
from workers.room.announcements import CONCLUSIVE
from workers.room.evictions import Eviction
from workers.room.facts import Session
from workers.room.sequences import holes
from workers.room.view import SessionView, TrackKey, TrackView, view

# What is told beside sessions and tracks.
_BESIDE = ("recording.", "composition.", "callback.unrecognised", "alert.")
# What the story is made of; a duplicate says the same once more.
_BELIEVED = frozenset({"applied", "duplicate"})
# Of a hole so many numbers are followed one by one; a larger one is nonsense, or an outage.
_MOST_NUMBERS = 10_000


def tell(rebuilt: Rebuilt) -> Story:
    """Tell the story of a room."""
    return _Telling(rebuilt).story()


class _Telling:
    """One story, while it is put together."""

    def __init__(self, rebuilt: Rebuilt) -> None:
        self._rebuilt = rebuilt
        self._facts = rebuilt.facts
        self._view = view(rebuilt.facts, rebuilt.bounds, now=rebuilt.looked)
        self._by_id = {one.id: one for one in rebuilt.heard if one.verdict != "duplicate"}
        self._of_track: dict[TrackKey, list[Heard]] = {}
        for one in rebuilt.heard:
            if one.callback and one.verdict != "too-late" and "track_sid" in one.callback.said:
                key = TrackKey(
                    str(one.callback.said["participant_sid"]), str(one.callback.said["track_sid"])
                )
                self._of_track.setdefault(key, []).append(one)
        self._span = self._whole_span()

    def story(self) -> Story:
        people = self._people()
        by_sid = {stay.participant_sid: stay for stays in people.values() for stay in stays}
        room = self._view.room
        return Story(
            room_sid=self._rebuilt.room_sid,
            name=self._view.room_name,
            type=self._view.room_type,
            span=self._span,
            closed_by=room.closed_by if room and room.closed else None,
            opened_by=self._first("room-created"),
            ended_by=self._heard(self._facts.ended.id) if self._facts.ended else None,
            people=people,
            expulsions=[self._expulsion(one, by_sid) for one in self._evictions()],
            withdrawn=[*withdrawn(self._rebuilt.published)],
            gaps=[*self._gaps()],
            alarms=alarms(self._rebuilt.published),
            heard=self._rebuilt.heard,
            told=[one for one in self._rebuilt.published if one.event.kind.startswith(_BESIDE)],
        )

    def _whole_span(self) -> Span:
        """From when to when anything is known of the room and those in it."""
        times = [
            one.callback.at
            for one in self._rebuilt.heard
            # A composition may be made days later, and what was set aside may tell any time.
            if one.callback and one.callback.event in CONCLUSIVE and one.verdict in _BELIEVED
        ]
        room = self._view.room
        if room:
            times.append(room.start)
        if room and room.closed and room.closed_by != "presumed":
            times.append(room.end)
        looked = self._rebuilt.looked
        return Span(min(times, default=looked), max(times, default=looked))

    def _people(self) -> dict[str | None, list[Stay]]:
        """The sessions of each person, in the order in which they came."""
        people: dict[str | None, list[Stay]] = {}
        in_order = sorted(self._view.sessions.items(), key=lambda one: (one[1].start, one[0]))
        for sid, session in in_order:
            stays = people.setdefault(session.identity, [])
            stays.append(self._stay(sid, session, len(stays) + 1))
        return people

    def _stay(self, sid: str, session: SessionView, number: int) -> Stay:
        facts = self._facts.sessions[sid]
        eviction = self._view.evictions.get(sid)
        end = session.end if session.left else self._span.end
        return Stay(
            participant_sid=sid,
            identity=session.identity,
            number=number,
            # What is presumed is told by arrival, and would be off the scale.
            span=Span(session.start, max(session.start, min(end, self._span.end))),
            still_there=not session.left,
            seconds=session.duration_seconds,
            cause="evicted" if eviction else session.cause,
            started_by=self._heard(facts.connected.id) if facts.connected else None,
            ended_by=self._heard(facts.ended.id) if facts.ended else None,
            evicted_by=eviction.survivor_sid if eviction else None,
            tracks=[*self._tracks(sid, facts)],
        )

    def _tracks(self, sid: str, session: Session) -> Iterator[TrackStory]:
        of_session = [
            (TrackKey(sid, track_sid), self._view.tracks[TrackKey(sid, track_sid)])
            for track_sid in session.tracks
        ]
        for key, track in sorted(of_session, key=lambda one: (one[1].start, one[0])):
            end = min(track.end, self._span.end) if track.unpublished else self._span.end
            span = Span(track.start, max(track.start, end))
            yield TrackStory(
                track_sid=key.track_sid,
                kind=track.kind or "track",
                name=track.name,
                span=span,
                muted=[*self._muted(key, span)],
                cause=track.cause,
                published_by=self._of(key, "track-added"),
                unpublished_by=self._of(key, "track-removed") if _removed(track) else None,
            )

    def _muted(self, key: TrackKey, span: Span) -> Iterator[Span]:
        switches = sorted(
            (one.callback.at, one.callback.sequence, one.callback.event == "track-disabled")
            for one in self._of_track.get(key, [])
            if one.callback and one.callback.event in {"track-enabled", "track-disabled"}
        )
        since: int | None = None
        for at, _, muted in switches:
            if muted and since is None:
                since = at
            elif not muted and since is not None:
                yield Span(max(since, span.start), min(at, span.end))
                since = None
        if since is not None and since < span.end:
            yield Span(max(since, span.start), span.end)

    def _evictions(self) -> list[Eviction]:
        found = self._view.evictions.values()
        return sorted(found, key=lambda one: (one.at, one.evicted_sid))

    def _expulsion(self, eviction: Eviction, stays: dict[str, Stay]) -> Expulsion:
        evicted = stays[eviction.evicted_sid]
        named = dict.fromkeys(eviction.evidence)
        return Expulsion(
            identity=evicted.identity,
            evicted=evicted,
            survivor=stays[eviction.survivor_sid],
            at=eviction.at,
            gap_ms=eviction.gap_ms,
            evidence=[self._by_id[one] for one in named if one in self._by_id],
            concluded=eviction.heard,
        )

    def _gaps(self) -> Iterator[Gap]:
        """Those that are open, and those that were told and closed later."""
        numbered = {
            one.callback.sequence: one
            for one in reversed(self._rebuilt.heard)
            if one.callback and one.callback.sequence >= 0
        }
        told = self._told_missing()
        for least, most, _ in holes(self._facts.sequences):
            yield Gap(least, most, _around(numbered, least, most), told.get(least), None)
        for least, most in _runs(number for number in told if number in numbered):
            closed = max(numbered[number].arrived for number in range(least, most + 1))
            yield Gap(least, most, _around(numbered, least, most), told[least], closed)

    def _told_missing(self) -> dict[int, int]:
        """When each number was told to be missing, by arrival."""
        told: dict[int, int] = {}
        for one in self._rebuilt.published:
            if one.event.kind == "room.gap-found":
                for least, most in one.event.data["missing"]:
                    for number in range(least, min(most, least + _MOST_NUMBERS) + 1):
                        told.setdefault(number, one.when)
        return told

    def _heard(self, callback_id: bytes) -> Heard | None:
        return self._by_id.get(callback_id.hex())

    def _first(self, event: str) -> Heard | None:
        named = (one for one in self._rebuilt.heard if one.callback and one.callback.event == event)
        return min(named, key=attrgetter("callback.at"), default=None)

    def _of(self, key: TrackKey, event: str) -> Heard | None:
        of_track = self._of_track.get(key, [])
        return next((one for one in of_track if one.callback and one.callback.event == event), None)


def _around(numbered: dict[int, Heard], least: int, most: int) -> Span:
    """About when something happened: between those that were heard before and after it."""
    before = max((number for number in numbered if number < least), default=None)
    after = min((number for number in numbered if number > most), default=None)
    near = [numbered[one].callback for one in (before, after) if one is not None]
    times = [callback.at for callback in near if callback]
    return Span(min(times, default=0), max(times, default=0))


def _removed(track: TrackView) -> bool:
    return track.cause == "removed"


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Put adjacent numbers together."""
    least = most = None
    for number in sorted(numbers):
        if least is not None and most is not None and number == most + 1:
            most = number
            continue
        if least is not None and most is not None:
            yield least, most
        least = most = number
    if least is not None and most is not None:
        yield least, most
