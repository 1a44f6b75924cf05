"""The timeline: a story as entries in the order in which things happened. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from console.audit.rebuild import Heard, Published
from console.audit.story import Expulsion, Gap, Stay, Story, TrackStory, Withdrawn
from console.audit.words import lasting, many, named, numbers, short, shown

_CAUSES = {
    "disconnected": "left",
    "room-closed": "was there until the room closed",
    "evicted": "was thrown out",
}


class Entry(NamedTuple):
    """One thing that happened."""

    # Event time; arrival where it is about how something was heard.
    at: int
    kind: str
    # Whom it is about, as raw text; None where it is the room.
    who: str | None
    text: str
    # What it is taken from.
    heard: Heard | None = None


def timeline(story: Story, identity: str | None = None) -> list[Entry]:
    """List what happened.

    Args:
        story: of a room.
        identity: only what is about this person, and about the room as a whole.
    """
    entries = [*_entries(story)]
    entries += [Entry(one.arrived, "odd", None, how, one) for one, how in unusual(story, identity)]
    if identity is not None:
        entries = [one for one in entries if one.who in {None, identity}]
    return sorted(entries, key=lambda one: one.at)


def _entries(story: Story) -> Iterator[Entry]:
    yield from _of_the_room(story)
    for stay in story.stays:
        yield from _of_stay(stay)
    yield from map(_thrown_out, story.expulsions)
    yield from map(_taken_back, story.withdrawn)
    for gap in story.gaps:
        yield Entry(gap.span.start, "gap", None, gap_in_words(gap))
    yield from map(_told, story.told)


def _of_the_room(story: Story) -> Iterator[Entry]:
    opened = story.opened_by
    if opened and opened.callback:
        yield Entry(opened.callback.at, "room", None, "the room was created", opened)
    if story.closed_by == "room-ended":
        yield Entry(story.span.end, "room", None, "the room ended", story.ended_by)
    elif story.closed_by:
        text = "nothing more was heard; a day later the room was presumed to have ended"
        yield Entry(story.span.end, "room", None, text)


def _of_stay(stay: Stay) -> Iterator[Entry]:
    which = f"session {stay.number}, {short(stay.participant_sid)}"
    inferred = "" if stay.started_by else "; inferred, no connect callback was heard"
    yield Entry(
        stay.span.start, "came", named(stay.identity), f"came ({which}{inferred})", stay.started_by
    )
    for track in stay.tracks:
        yield from _of_track(stay, track)
    if not stay.still_there and not stay.evicted_by:
        how = _CAUSES.get(stay.cause, stay.cause)
        text = f"{how} after {lasting(stay.span.end - stay.span.start)} ({which})"
        yield Entry(stay.span.end, "left", named(stay.identity), text, stay.ended_by)


def _of_track(stay: Stay, track: TrackStory) -> Iterator[Entry]:
    who = named(stay.identity)
    yield Entry(track.span.start, "track", who, f"published {track.kind}", track.published_by)
    for muted in track.muted:
        yield Entry(muted.start, "muted", who, f"muted {track.kind}")
        if muted.end < track.span.end:
            yield Entry(muted.end, "track", who, f"unmuted {track.kind}")
    # With its session, a track ends by itself.
    if track.cause == "removed":
        yield Entry(track.span.end, "track", who, f"unpublished {track.kind}", track.unpublished_by)


def _thrown_out(expulsion: Expulsion) -> Entry:
    stay, survivor = expulsion.evicted, expulsion.survivor
    text = (
        f"was thrown out of session {stay.number}, {short(stay.participant_sid)}, after"
        f" {lasting(stay.span.end - stay.span.start)}, by coming again as session"
        f" {survivor.number}, {short(survivor.participant_sid)}"
    )
    return Entry(expulsion.at, "evicted", named(stay.identity), text, stay.ended_by)


def _taken_back(withdrawn: Withdrawn) -> Entry:
    text = (
        f"was not thrown out of session {short(withdrawn.evicted_sid)} by"
        f" {short(withdrawn.survivor_sid)} after all, as was believed for"
        f" {lasting(withdrawn.believed.end - withdrawn.believed.start)}"
    )
    return Entry(withdrawn.believed.end, "odd", named(withdrawn.identity), text)


def _told(one: Published) -> Entry:
    data, what = one.event.data, one.event.kind.partition(".")[2]
    who = data.get("identity")
    if not one.event.kind.startswith("alert."):
        text = f"{one.event.kind.replace('.', ' ', 1)} ({one.event.subject})"
        return Entry(one.event.at, "told", who, text)
    if what == "resolved":
        return Entry(one.when, "calm", who, f"alert {data['alert']} resolved")
    text = f"alert {data['alert']} {what} ({data['severity']}): {data['summary']}"
    return Entry(one.when, "alert", who, text)


def gap_in_words(gap: Gap) -> str:
    """Say what was not heard."""
    lost = many(gap.most - gap.least + 1, "callback")
    if gap.closed is None:
        return f"{lost} never heard: {numbers(gap.least, gap.most)}"
    late = lasting(gap.closed - gap.found) if gap.found else "later"
    return f"{lost} missing: {numbers(gap.least, gap.most)}; came {late} after that was told"


def unusual(story: Story, identity: str | None = None) -> list[tuple[Heard, str]]:
    """List the callbacks that came in an unusual way, and how.

    Args:
        story: of a room.
        identity: only those about this person, and about the room as a whole.
    """
    told = (
        (one, _oddity(one))
        for one in story.heard
        if identity is None or _person(one) in {None, identity}
    )
    return [(one, how) for one, how in told if how]


def _person(heard: Heard) -> str | None:
    return heard.callback.text("participant_identity") if heard.callback else None


def _oddity(heard: Heard) -> str | None:
    event = heard.callback.event if heard.callback else "a callback"
    if heard.callback and (participant_sid := heard.callback.text("participant_sid")):
        event += f" of {shown(_person(heard))}, {short(participant_sid)},"
    behind = lasting(max(0, heard.arrived - heard.callback.at)) if heard.callback else ""
    if heard.verdict == "duplicate":
        return f"{event} came again, {behind} after it had happened; nothing changed"
    if heard.verdict == "too-late":
        return f"{event} came too late, {behind} after it had happened; nothing changed"
    if heard.verdict == "set-aside":
        return f"a callback could not be digested, and was set aside: {heard.reason}"
    if heard.verdict == "unrecognised":
        return f"{event} is not known; kept and passed on"
    if heard.late:
        return f"{event} came late, {behind} after it had happened"
    return None
