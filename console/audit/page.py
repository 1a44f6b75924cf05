"""The page: rooms as one HTML file that needs nothing else, for support and for auditors.

Everything from the log is raw text from strangers. The template escapes all of it, and should
anything slip through, the page's own policy lets no script run but the one that is meant.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined, Template

from console.audit.judgement import Judgement
from console.audit.picture import Picture, picture
from console.audit.rebuild import Heard
from console.audit.story import Alarm, Expulsion, Stay, Story, Withdrawn
from console.audit.telling import after, ended, evidence, inferred, source, trust
from console.audit.timeline import Entry, gap_in_words, timeline, unusual
from console.audit.words import clock, day, lasting, many, numbers, short, shown, stamp, when
from console.sentences import printable

_FOLDER = files("console.audit") / "templates"
_WORDS = (
    clock,
    day,
    lasting,
    many,
    numbers,
    short,
    shown,
    stamp,
    when,
    printable,
    source,
    evidence,
)
_SAYINGS = (after, ended, trust, gap_in_words)


class Chapter(NamedTuple):
    """What the page has of one room, perhaps of one person in it alone."""

    story: Story
    judgement: Judgement
    picture: Picture
    entries: list[Entry]
    stays: list[Stay]
    expulsions: list[Expulsion]
    withdrawn: list[Withdrawn]
    alarms: list[Alarm]
    # How many callbacks were never heard.
    missing: int
    # What was inferred, in place of what was not heard.
    notes: list[str]
    # Callbacks that came in an unusual way, and how.
    odd: list[tuple[Heard, str]]
    # The moment that was asked about, and who was there then.
    at: int | None
    there: list[Stay]
    # The only person that it is about.
    identity: str | None
    # The records that are in the table of callbacks.
    listed: frozenset[int]


def chapter(
    story: Story, judgement: Judgement, *, at: int | None = None, identity: str | None = None
) -> Chapter:
    """Put together what the page has of a room.

    Args:
        story: of the room.
        judgement: of its log.
        at: a moment to mark, and to say who was there then.
        identity: only what is about this person.
    """
    anybody = {None, identity}
    return Chapter(
        story=story,
        judgement=judgement,
        picture=picture(story, at=at, identity=identity),
        entries=timeline(story, identity),
        stays=[one for one in story.stays if identity in {None, one.identity}],
        expulsions=[one for one in story.expulsions if identity in {None, one.identity}],
        withdrawn=[one for one in story.withdrawn if identity in {None, one.identity}],
        alarms=[one for one in story.alarms if identity is None or one.identity in anybody],
        missing=sum(gap.most - gap.least + 1 for gap in story.lost),
        notes=[*inferred(story, identity)],
        odd=unusual(story, identity),
        at=at,
        there=[]
        if at is None
        else [one for one in story.there_at(at) if identity in {None, one.identity}],
        identity=identity,
        listed=frozenset(one.n for one in story.heard),
    )


def page_of(chapters: Iterable[Chapter]) -> str:
    """Write the page."""
    style, script = (_read(name) for name in ("page.css", "page.js"))
    return _template().render(
        chapters=[*chapters],
        style=style,
        script=script,
        style_digest=_digest(style),
        script_digest=_digest(script),
    )


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update({one.__name__: one for one in (*_WORDS, *_SAYINGS)})
    return environment.from_string(_read("page.html"))


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Name a text as a Content-Security-Policy does (https://www.w3.org/TR/CSP3/#grammardef-hash-source)."""
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
