"""The picture of a room: where each bar, arrow and shade of it lies. Pure; it knows no HTML.

Across, everything is in percent of the time shown, so that a picture fits a phone and a sheet of
paper alike; down, in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from console.audit.story import Expulsion, Gap, Span, Stay, Story
from console.audit.titles import of_expulsion, of_gap, of_muted, of_stay, of_track
from console.audit.words import clock, lasting, shown, times

# In pixels.
_SESSION, _TRACK, _BETWEEN_TRACKS, _BETWEEN_LANES, _EDGE = 20, 6, 2, 12, 4
# Of the time shown, on either side.
_MARGIN = 0.015
# In percent: a pixel or two of a screen, so that what was over at once is seen as well.
_NARROWEST = 0.2
# Between two marks of the axis, in seconds; and how many marks there are at the most.
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_MOST_MARKS = 9
# In percent: half of a label, on a phone.
_AT_THE_EDGE = 7
_SECOND = 1_000_000
# Of tracks; whatever else one is said to be has a colour of its own.
_KINDS = frozenset({"audio", "video", "data"})


class Bar(NamedTuple):
    """A stretch of time."""

    kind: str
    x: float
    width: float
    y: int
    height: int
    # Told when one points at it, a line for each thing.
    title: str
    # The record that it is taken from.
    n: int | None = None


class Lane(NamedTuple):
    """A session: its own bar, and those of its tracks."""

    stay: Stay
    bar: Bar
    tracks: list[Bar]


class Arrow(NamedTuple):
    """An eviction, from the survivor to the evicted."""

    x1: float
    y1: int
    x2: float
    y2: int
    title: str
    n: int | None


class Group(NamedTuple):
    """A person: a lane for each session."""

    name: str
    about: str
    height: int
    lanes: list[Lane]
    arrows: list[Arrow]


class Mark(NamedTuple):
    """A time on the axis."""

    x: float
    label: str
    # Left out where there is little room.
    minor: bool
    # Where its label is anchored, so that none is cut off.
    anchor: str


class Picture(NamedTuple):
    """All of it. `shown` is the time from edge to edge."""

    shown: Span
    marks: list[Mark]
    gaps: list[Bar]
    groups: list[Group]
    # The moment that was asked about.
    at: float | None


class _Scale:
    """From times to percent."""

    def __init__(self, span: Span) -> None:
        length = max(span.end - span.start, _SECOND)
        margin = round(length * _MARGIN)
        self.shown = Span(span.start - margin, span.start + length + margin)

    def x(self, moment: int) -> float:
        least, most = self.shown
        return round(100 * (min(max(moment, least), most) - least) / (most - least), 3)

    def across(self, span: Span) -> tuple[float, float]:
        """Tell where a time begins, and how wide it is."""
        left = self.x(span.start)
        return left, max(round(self.x(span.end) - left, 3), _NARROWEST)


def picture(story: Story, *, at: int | None = None, identity: str | None = None) -> Picture:
    """Draw a room.

    Args:
        story: of the room.
        at: a moment to mark.
        identity: only the lanes of this person.
    """
    scale = _Scale(story.span)
    return Picture(
        shown=scale.shown,
        marks=[*_marks(scale)],
        gaps=[
            Bar(_gap_kind(gap), *scale.across(gap.span), 0, 0, of_gap(gap)) for gap in story.gaps
        ],
        groups=[
            _group(name, stays, story.expulsions, scale)
            for name, stays in story.people.items()
            if identity in {None, name}
        ],
        at=None if at is None else scale.x(at),
    )


def _marks(scale: _Scale) -> Iterator[Mark]:
    least, most = scale.shown
    length = most - least
    step = next((one for one in _STEPS if length / one / _SECOND <= _MOST_MARKS), _STEPS[-1])
    size = step * _SECOND
    first = -(-least // size)
    for number in range(first, most // size + 1):
        moment = number * size
        label, x = clock(moment)[: 8 if step < 60 else 5], scale.x(moment)
        anchor = "start" if x < _AT_THE_EDGE else "end" if x > 100 - _AT_THE_EDGE else "middle"
        yield Mark(x, label, number % 2 == 1, anchor)


def _group(
    identity: str | None, stays: list[Stay], expulsions: Iterable[Expulsion], scale: _Scale
) -> Group:
    lanes: list[Lane] = []
    y = _EDGE
    for stay in stays:
        lane, y = _lane(stay, y, scale)
        lanes.append(lane)
    bars = {lane.stay.participant_sid: lane.bar for lane in lanes}
    arrows = [_arrow(one, bars, scale) for one in expulsions if one.evicted.participant_sid in bars]
    return Group(shown(identity), _about(stays), y, lanes, arrows)


def _about(stays: list[Stay]) -> str:
    """Say of a person how often and how long it was there."""
    whole = sum(stay.span.end - stay.span.start for stay in stays)
    thrown_out = sum(stay.evicted_by is not None for stay in stays)
    about = [f"{len(stays)} session{'s' * (len(stays) > 1)}", lasting(whole)]
    if thrown_out:
        about.append(f"thrown out {times(thrown_out)}")
    return " · ".join(about)


def _lane(stay: Stay, y: int, scale: _Scale) -> tuple[Lane, int]:
    """Draw a session; return it, and where the next one begins."""
    n = stay.started_by.n if stay.started_by else None
    kind = stay.cause or "still-there"
    bar = Bar(kind, *scale.across(stay.span), y, _SESSION, of_stay(stay), n)
    y += _SESSION + _BETWEEN_TRACKS
    tracks: list[Bar] = []
    rows: list[int] = []
    for track in sorted(stay.tracks, key=lambda one: (one.kind, one.span)):
        row = next((row for row, until in enumerate(rows) if until <= track.span.start), len(rows))
        rows[row : row + 1] = [track.span.end]
        top = y + row * (_TRACK + _BETWEEN_TRACKS)
        title, n = of_track(track), track.published_by.n if track.published_by else None
        kind = track.kind if track.kind in _KINDS else "track"
        tracks.append(Bar(kind, *scale.across(track.span), top, _TRACK, title, n))
        tracks += [
            Bar("muted", *scale.across(muted), top, _TRACK, of_muted(track, muted), n)
            for muted in track.muted
        ]
    return Lane(stay, bar, tracks), y + len(rows) * (_TRACK + _BETWEEN_TRACKS) + _BETWEEN_LANES


def _arrow(expulsion: Expulsion, bars: dict[str, Bar], scale: _Scale) -> Arrow:
    survivor = bars[expulsion.survivor.participant_sid]
    evicted = bars[expulsion.evicted.participant_sid]
    below = survivor.y > evicted.y
    n = expulsion.evicted.ended_by.n if expulsion.evicted.ended_by else None
    return Arrow(
        x1=scale.x(expulsion.survivor.span.start),
        y1=survivor.y if below else survivor.y + survivor.height,
        x2=scale.x(expulsion.at),
        y2=evicted.y + evicted.height + 1 if below else evicted.y - 1,
        title=of_expulsion(expulsion),
        n=n,
    )


def _gap_kind(gap: Gap) -> str:
    return "gap" if gap.closed is None else "gap closed"
