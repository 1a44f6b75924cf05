"""What the picture says of the thing that one points at, with the callbacks behind it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from console.audit.rebuild import Heard
from console.audit.story import Expulsion, Gap, Span, Stay, TrackStory
from console.audit.telling import after, evidence
from console.audit.timeline import gap_in_words
from console.audit.words import clock, lasting, short, shown
from console.sentences import printable


def of_expulsion(expulsion: Expulsion) -> str:
    """Say what the arrow of an eviction says."""
    survivor, evicted = expulsion.survivor.number, expulsion.evicted.number
    return "\n".join(
        [
            f"{shown(expulsion.identity)}: session {survivor} threw out session {evicted}",
            f"which ended at {clock(expulsion.at)}, {after(expulsion.gap_ms)} the other began",
            *map(evidence, expulsion.evidence),
        ]
    )


def of_muted(track: TrackStory, muted: Span) -> str:
    """Say what the paler part of a track's bar says."""
    return f"{printable(track.kind)} muted\n{clock(muted.start)} to {clock(muted.end)}"


def of_stay(stay: Stay) -> str:
    """Say what the bar of a session says."""
    until = ", not heard to have ended" if stay.still_there else f" to {clock(stay.span.end)}"
    lines = [
        f"{shown(stay.identity)}, session {stay.number} ({short(stay.participant_sid)})",
        f"{clock(stay.span.start)}{until}, {lasting(stay.span.end - stay.span.start)}",
    ]
    if stay.evicted_by:
        lines.append(f"thrown out by {short(stay.evicted_by)}")
    lines += map(evidence, _behind(stay))
    return "\n".join(lines)


def _behind(stay: Stay) -> Iterator[Heard]:
    if stay.started_by:
        yield stay.started_by
    if stay.ended_by:
        yield stay.ended_by


def of_track(track: TrackStory) -> str:
    """Say what the bar of a track says."""
    name = f" “{printable(track.name)}”" if track.name is not None else ""
    when = f"{clock(track.span.start)} to {clock(track.span.end)}"
    lines = [
        f"{printable(track.kind)}{name} ({short(track.track_sid)})",
        f"{when}, {lasting(track.span.end - track.span.start)}",
    ]
    lines += [evidence(one) for one in (track.published_by, track.unpublished_by) if one]
    return "\n".join(lines)


def of_gap(gap: Gap) -> str:
    """Say what the shade of a gap says."""
    return f"{gap_in_words(gap)}\nbetween {clock(gap.span.start)} and {clock(gap.span.end)}"
