"""`rollcall audit explain`: finds a room in log files, rebuilds it, and has its story told."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import click

from console.audit.chain import Judge
from console.audit.claims import claim_of
from console.audit.judgement import Judgement, Link
from console.audit.narration import tell
from console.audit.reading import Reading
from console.audit.rebuild import rebuild
from console.audit.sources import Sources
from console.audit.story import Story
from console.audit.telling import header, text, there_at
from console.audit.words import read_moment, shown
from console.sentences import printable
from schemas.audit import PSEUDONYM
from schemas.errors import UnknownRoomError
from workers.pseudonyms import Pseudonyms

# Everything else is a name: a room's own SID, an AccountSid, or what stands for a shard.
_SID = re.compile(r"(RM|AC)[0-9a-fA-F]{32}|shard-\d+", re.ASCII)


class Logged(NamedTuple):
    """What the log has of a room."""

    # In order, each once, those alone that are as they were written.
    records: list[tuple[dict[str, Any], str]]
    judgement: Judgement


class Known(NamedTuple):
    """A room that goes by a name."""

    room_sid: str
    first: str
    last: str
    records: int


def explain(
    room: str, paths: Iterable[str], *, identity: str | None, moment: str | None, page: Path | None
) -> None:
    """Tell what happened in a room.

    Args:
        room: its SID, or its name to the byte. Of several rooms of a name the SIDs are listed.
        paths: log files.
        identity: only what is about this person.
        moment: say only who was there then.
        page: write a page with a picture there.

    Where ROLLCALL_AUDIT_IDENTITY_KEY is the key that names were hashed with, they can be given as
    they are.

    Raises:
        UnknownRoomError: no record of it is in the files.
        click.BadParameter: nobody of that identity was there, or the moment is none.
    """
    is_name = not _SID.fullmatch(room)
    sources = Sources(paths, again=is_name)
    story, judgement = _told(sources, _sid_of(room, sources) if is_name else room)
    if identity is not None:
        identity = _person(identity, story)
    at = None if moment is None else read_moment(moment, story.span)
    if page is not None:
        from console.audit.page import chapter, page_of  # noqa: PLC0415  # seldom wanted

        written = page_of([chapter(story, judgement, at=at, identity=identity)])
        page.write_text(written, encoding="utf-8")
        click.echo(f"{page} is written.")
    elif at is not None:
        _print([*header(story, judgement), "", *there_at(story, at, identity)])
    else:
        _print(text(story, judgement, identity))


def collect(sources: Sources, room_sid: str) -> Logged:
    """Find all records of a room.

    Raises:
        UnknownRoomError: there is none.
    """
    links: list[Link] = []
    records: dict[str, tuple[dict[str, Any], str]] = {}
    for found in Reading(sources, about=room_sid.encode()):
        if found.record is None or found.record.get("room_sid") != room_sid:
            continue
        claim = claim_of(found)
        place = f"{sources.name(found.line.file)}:{found.line.number}"
        link = Link(
            n=claim.n,
            hash=claim.hash,
            prev=claim.prev,
            fits=claim.fits,
            time_ms=claim.time_ms,
            closing=claim.closing,
            signed=None,
            place=place,
        )
        links.append(link)
        if link.fits:
            records.setdefault(link.hash, (found.record, link.place))
    if not records:
        raise UnknownRoomError(f"No record of {printable(room_sid)} is in these files.")
    judge = Judge(room_sid, None)
    links.sort(key=lambda one: one.n)
    for n, some in groupby(links, key=lambda one: one.n):
        judge.take(n, some)
    return Logged(_in_order(records.values()), judge.judge())


def _in_order(records: Iterable[tuple[dict[str, Any], str]]) -> list[tuple[dict[str, Any], str]]:
    """Put one chain after the other, each in the order of its numbers."""
    begun: dict[str, str] = {}
    by_number = sorted(records, key=lambda one: (one[0]["n"], str(one[0].get("time"))))
    for record, _ in by_number:
        # Where the one before is not there, nobody knows: it goes with the first chain.
        own = str(record.get("time")) if record["n"] == 1 else ""
        begun[record["hash"]] = begun.get(record["prev"], own)
    return sorted(by_number, key=lambda one: begun[one[0]["hash"]])


def _told(sources: Sources, room_sid: str) -> tuple[Story, Judgement]:
    logged = collect(sources, room_sid)
    return tell(rebuild(room_sid, logged.records)), logged.judgement


def _spellings(name: str) -> list[str]:
    """Give what may stand for a name in a log: itself, or its pseudonym under the key at hand.

    Under another key than the log's the pseudonym is another one, and nothing has it.
    """
    key = os.environ.get("ROLLCALL_AUDIT_IDENTITY_KEY", "").strip()
    return [name, Pseudonyms(key).of(name)] if key else [name]


def _person(identity: str, story: Story) -> str:
    for spelling in _spellings(identity):
        if spelling in story.people:
            return spelling
    there = sorted(shown(one) for one in story.people)
    who = f"There were: {', '.join(there)}." if there else "Nobody was there."
    raise click.BadParameter(
        f"--identity: nobody in this room is called {identity!r}. {who}{_hint(there)}"
    )


def _hint(names: Iterable[str]) -> str:
    hashed = any(name.startswith(PSEUDONYM) for name in names)
    return (
        " The names are hashed; with ROLLCALL_AUDIT_IDENTITY_KEY set to the key that they were"
        " hashed with, they can be asked for as they are."
        if hashed
        else ""
    )


def _sid_of(name: str, sources: Sources) -> str:
    """Find the one room of a name; several are listed, and that is all."""
    spellings = _spellings(name)
    known: dict[str, Known] = {}
    others: set[str] = set()
    for found in Reading(sources):
        record = found.record or {}
        params, room_sid = record.get("params"), record.get("room_sid")
        if not isinstance(params, dict):
            continue
        said = params.get("RoomName")
        if said not in spellings:
            # One will do, to tell whether names are hashed.
            others = others or ({said} if isinstance(said, str) else set())
            continue
        if isinstance(room_sid, str):
            time = str(params.get("Timestamp", record.get("time")))
            was = known.get(room_sid, Known(room_sid, time, time, 0))
            known[room_sid] = was._replace(
                first=min(was.first, time), last=max(was.last, time), records=was.records + 1
            )
    if not known:
        raise UnknownRoomError(f"No room of the name {name!r} is in these files.{_hint(others)}")
    if len(known) > 1:
        _print(
            [
                f"{len(known)} rooms are called {name!r}; ask for one of them by its SID:",
                *(
                    f"  {one.room_sid}  {one.first} to {one.last}, {one.records} callbacks"
                    for one in sorted(known.values(), key=lambda one: one.first)
                ),
            ]
        )
        sys.exit(1)
    return next(iter(known))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(printable(line))
