"""A story as plain text, for a terminal or a mail. Pure.

Identities and names are raw text from strangers: whatever a terminal might obey is escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from console.audit.judgement import WORDS, Judgement
from console.audit.rebuild import Heard
from console.audit.story import Alarm, Expulsion, Stay, Story
from console.audit.timeline import gap_in_words, timeline, unusual
from console.audit.words import clock, day, lasting, many, short, shown, stamp, times, when
from console.sentences import printable

# How a session ended, after its times.
_ENDS = {"disconnected": "left", "room-closed": "until the room closed"}


def header(story: Story, judgement: Judgement) -> Iterator[str]:
    """Say which room it is, and how far the log can be trusted."""
    name = "(name not heard)" if story.name is None else f"“{story.name}”"
    yield f"Room {name}  {story.room_sid}" + (f"  ({story.type})" if story.type else "")
    yield f"{stamp(story.span.start)} to {stamp(story.span.end)} UTC, {ended(story)}"
    yield f"The log of this room is {trust(judgement)}"


def there_at(story: Story, moment: int, identity: str | None = None) -> Iterator[str]:
    """Say who was in the room at a moment, or whether one person was."""
    there = [one for one in story.there_at(moment) if identity in {None, one.identity}]
    if identity is None:
        people = {stay.identity for stay in there}
        who = f"there {'was' if len(people) <= 1 else 'were'} {_people(people)}"
    else:
        who = f"{shown(identity)} was {'there:' if there else 'not there.'}"
    yield f"At {stamp(moment)} UTC {who}"
    if moment < story.span.start:
        yield f"  That is before anything that was heard of this room, {stamp(story.span.start)}."
    if moment > story.span.end:
        yield f"  That is after anything that was heard of this room, {stamp(story.span.end)}."
    yield from (f"  {line}" for line in _stays(there))
    for gap in story.gaps:
        if gap.span.start <= moment <= gap.span.end:
            yield f"  Not all was heard about then: {gap_in_words(gap)}."


def text(story: Story, judgement: Judgement, identity: str | None) -> Iterator[str]:
    """Tell the whole story, or that of one person."""
    yield from header(story, judgement)
    stays = [one for one in story.stays if identity in {None, one.identity}]
    expulsions = [one for one in story.expulsions if identity in {None, one.identity}]
    alarms = [one for one in story.alarms if identity is None or one.identity in {None, identity}]
    yield _in_short(stays, expulsions, story)
    yield from _section("Who was there", _stays(stays), "nobody")
    yield from _section("Who was thrown out", _expulsions(expulsions), "nobody")
    of_all = "" if identity is None else ", of the whole room"
    yield from _section(f"What was not heard{of_all}", _unheard(story, identity))
    yield from _section("Alerts", (_alarm(one, story) for one in alarms))
    odd = unusual(story, identity)
    yield from _section(
        "Late, repeated and unusual callbacks",
        (f"{when(one.arrived, story.span.start)}  {how}  ({source(one)})" for one, how in odd),
    )
    yield from _section("What happened, in order", _in_order(story, identity))


def trust(judgement: Judgement) -> str:
    """Say whether the log of a room is whole."""
    if judgement.whole:
        end = "with its closing record" if judgement.closed else "and has no closing record yet"
        chains = f" in {judgement.chains} chains" if judgement.chains > 1 else ""
        return f"whole: {many(judgement.records, 'record')}{chains}, {end}."
    words = "; ".join(f"{one.word} ({WORDS[one.word]})" for one in judgement.findings)
    return f"NOT WHOLE: {words}."


def ended(story: Story) -> str:
    """Say how long the room was, and how it ended."""
    ends = {"room-ended": "ended", "presumed": "presumed to have ended", None: "not closed"}
    return f"{lasting(story.span.end - story.span.start)}, {ends.get(story.closed_by, 'ended')}"


def source(heard: Heard) -> str:
    """Say which callback something is taken from, and where the log has it."""
    return f"callback {heard.id or 'unread'}, n {heard.n}, {heard.place}"


def evidence(heard: Heard) -> str:
    """Say what a callback is evidence of: what happened when, and when that was heard."""
    if heard.callback is None:
        return source(heard)
    return (
        f"{heard.callback.event} of {short(heard.callback.text('participant_sid') or '')},"
        f" stamped {clock(heard.callback.at)}, heard {when(heard.arrived, heard.callback.at)}"
    )


def _people(people: set[str | None]) -> str:
    return "nobody." if not people else f"{many(len(people), 'person', 'people')}:"


def _in_short(stays: list[Stay], expulsions: list[Expulsion], story: Story) -> str:
    """Answer in one line what is asked most often."""
    people = many(len({one.identity for one in stays}), "person", "people")
    thrown_out = Counter(shown(one.identity) for one in expulsions)
    lost = sum(gap.most - gap.least + 1 for gap in story.lost)
    told = [
        f"{people} in {many(len(stays), 'session')}",
        *(f"{who} thrown out {times(count)}" for who, count in thrown_out.items()),
        *([] if thrown_out else ["nobody thrown out"]),
        f"{many(lost, 'callback')} never heard" if lost else "no callback known to be missing",
    ]
    return f"In short: {'; '.join(told)}."


def _section(title: str, lines: Iterator[str], otherwise: str = "nothing") -> Iterator[str]:
    yield ""
    yield title
    told = [f"  {line}" for line in lines]
    yield from told or [f"  {otherwise}"]


def _stays(stays: list[Stay]) -> Iterator[str]:
    width = max((len(shown(one.identity)) for one in stays), default=0)
    for one in stays:
        until = "…           " if one.still_there else clock(one.span.end)
        how = "not heard to have ended" if one.still_there else _ENDS.get(one.cause, one.cause)
        if one.evicted_by:
            how = f"thrown out by session {short(one.evicted_by)}"
        if not one.started_by:
            how += ", start inferred"
        yield (
            f"{shown(one.identity):{width}}  {clock(one.span.start)} to {until}"
            f"  {lasting(one.span.end - one.span.start):>12}  {one.participant_sid}  {how}"
        )


def _expulsions(expulsions: list[Expulsion]) -> Iterator[str]:
    for one in expulsions:
        yield (
            f"{clock(one.at)}  {shown(one.identity)}: session {one.evicted.number} by"
            f" session {one.survivor.number}; it ended {after(one.gap_ms)} the other began"
        )
        for heard in one.evidence:
            yield f"    {evidence(heard)}"
            yield f"        {source(heard)}"


def after(gap_ms: int) -> str:
    """Say how an end lies to a start."""
    return f"{abs(gap_ms)} ms {'after' if gap_ms >= 0 else 'before'}"


def _unheard(story: Story, identity: str | None) -> Iterator[str]:
    for gap in story.gaps:
        around = f"between {clock(gap.span.start)} and {clock(gap.span.end)}"
        yield f"{gap_in_words(gap)}, {around}"
    yield from inferred(story, identity)


def inferred(story: Story, identity: str | None = None) -> Iterator[str]:
    """Say which beginnings and ends were not heard themselves, of one person or of all."""
    if not story.opened_by:
        yield "room-created: the room is known from what was heard later"
    for one in story.stays:
        if identity not in {None, one.identity}:
            continue
        what = f"of {shown(one.identity)}, {short(one.participant_sid)}"
        if not one.started_by:
            yield f"participant-connected {what}: its start is inferred"
        if not one.ended_by and not one.still_there:
            yield f"participant-disconnected {what}: it ended with the room"
    if not story.ended_by:
        yield "room-ended: as far as this log goes, the room is open"


def _alarm(one: Alarm, story: Story) -> str:
    first = story.span.start
    until = when(one.resolved, first) if one.resolved is not None else "not resolved"
    what = f"{one.severity} {one.name}: {printable(one.summary)}"
    return f"{when(one.raised, first)} to {until}  {what}"


def _in_order(story: Story, identity: str | None) -> Iterator[str]:
    today = ""
    for one in timeline(story, identity):
        if day(one.at) != today:
            today = day(one.at)
            yield today
        # An alert names the person itself.
        is_alert = one.kind in {"alert", "calm"}
        who = "" if one.who is None or is_alert else f"{shown(one.who)} "
        where = f"  (n {one.heard.n})" if one.heard else ""
        yield f"{clock(one.at)}  {who}{printable(one.text)}{where}"
