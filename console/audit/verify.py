"""`rollcall audit verify`: reads log files, judges every room, and says what it found.

Files may be larger than memory and their records in any order: they are put in order on disk.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import click
import msgspec
from redis import RedisError

from console.audit.chain import WORDS, Judge, Judgement
from console.audit.live import heads
from console.audit.reading import Found, Reading, is_as_written, remains
from console.audit.scratch import Row, Scratch
from console.audit.signatures import PublicKeys
from console.audit.sources import Sources
from console.sentences import printable
from schemas.audit import SETTLED
from schemas.callbacks import parse_timestamp
from schemas.errors import StartError
from schemas.settings import Settings

_HASH = re.compile(r"[0-9a-f]{64}")
# No room will ever have more records, and SQLite holds no number beyond 63 bits.
_GREATEST = 2**53

_encode = msgspec.json.Encoder().encode


class Demands(NamedTuple):
    """What is asked for, beyond chains that are whole in themselves."""

    # To compare with the Redis that these name.
    settings: Settings | None = None
    # To see that closing records are signed.
    public_keys: tuple[str, ...] = ()
    # To see that every room has a closing record at its end.
    closed: bool = False


class Summary(NamedTuple):
    """What there is to say of all files together."""

    lines: int
    records: int
    rooms: int
    whole: int
    # Rooms by what is wrong with them.
    wrong: dict[str, int]
    # Identical copies of records.
    copies: int
    closed: int
    signed: int
    # Lines that were longer than any record.
    long: int
    # Records at the end of a file that end in the middle.
    unfinished: int
    # Files that could not be read to their end, and why.
    broken: dict[str, str]


def verify(paths: Iterable[str], demands: Demands, *, quiet: bool, as_json: bool) -> bool:
    """Judge every room in log files and print what is found.

    Args:
        paths: of the files.
        demands: what is asked for beside.
        quiet: print the rooms alone that are not whole.
        as_json: print a JSON object for each room, and one for all of them last.

    Returns:
        whether all is whole.

    Raises:
        StartError: Redis, which was to be compared with, did not answer.
    """
    sources = Sources(paths)
    keys = PublicKeys(demands.public_keys) if demands.public_keys else None
    scratch = Scratch(lambda file, line: f"{sources.name(file)}:{line}")
    if demands.settings:
        # Read first: what is written meanwhile is in the files, not the other way round.
        try:
            scratch.add_heads(heads(demands.settings))
        except RedisError as error:
            raise StartError(f"REDIS_URL: does not answer ({type(error).__name__}).") from None
    reading = Reading(sources)
    for found in reading:
        _keep(scratch, found, keys)
    told: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for judgement in _judgements(scratch, must_close=demands.closed):
        told.update(rooms=1, whole=int(judgement.whole), closed=int(judgement.closed))
        told.update(signed=int(judgement.signed), copies=judgement.copies)
        wrong.update(finding.word for finding in judgement.findings)
        if not (quiet and judgement.whole):
            click.echo(_as_json(judgement) if as_json else _in_words(judgement))
    scratch.close()
    summary = Summary(
        lines=reading.counts["lines"],
        records=reading.counts["records"],
        rooms=told["rooms"],
        whole=told["whole"],
        wrong={word: wrong[word] for word in WORDS if wrong[word]},
        copies=told["copies"],
        closed=told["closed"],
        signed=told["signed"],
        long=reading.counts["long"],
        unfinished=reading.counts["unfinished"],
        broken=sources.broken,
    )
    click.echo(_encode(summary._asdict()) if as_json else _summed_up(summary, demands))
    return not summary.wrong and not summary.broken


def _keep(scratch: Scratch, found: Found, keys: PublicKeys | None) -> None:
    file, line, _ = found.line
    record = found.record
    if record is None:
        scratch.add_remains(remains(found.text), file, line)
        return
    room, n, prev = record.get("room_sid"), record.get("n"), record.get("prev")
    numbered = isinstance(n, int) and not isinstance(n, bool) and 0 < n < _GREATEST
    linked = isinstance(prev, str) and (prev == "" or _HASH.fullmatch(prev))
    fits = numbered and linked and isinstance(room, str) and is_as_written(found)
    closing = record.get("event") == SETTLED
    scratch.add(
        Row(
            # Surrogates are no text that could be stored, or shown.
            room=room.encode(errors="replace").decode() if isinstance(room, str) else "",
            n=n if numbered and isinstance(n, int) else 0,
            hash=bytes.fromhex(record["hash"]) if fits else b"",
            prev=bytes.fromhex(prev) if fits and isinstance(prev, str) else b"",
            fits=bool(fits),
            time_ms=_milliseconds(record.get("time")) if n == 1 else 0,
            closing=closing,
            signed=keys.have_signed(record) if keys and closing else None,
            file=file,
            line=line,
        )
    )


def _milliseconds(told: Any) -> int:
    try:
        return parse_timestamp(told) // 1000
    except (TypeError, ValueError):
        return 0


def _judgements(scratch: Scratch, *, must_close: bool) -> Iterator[Judgement]:
    for room, numbers in scratch.rooms():
        judge = Judge(room, scratch.head(room), must_close=must_close)
        for links in numbers:
            judge.take(links)
        yield judge.judge()
    for room, head in scratch.absent():
        yield Judge(room, head, must_close=must_close).judge()


def _as_json(judgement: Judgement) -> bytes:
    told = {key: value for key, value in judgement._asdict().items() if key != "findings"}
    findings = [one._asdict() for one in judgement.findings]
    return _encode({**told, "whole": judgement.whole, "findings": findings})


def _in_words(judgement: Judgement) -> str:
    room = printable(judgement.room_sid or "(no room)")
    if judgement.whole:
        return f"{room}  whole: {judgement.records} records, {_end(judgement)}"
    words = ", ".join(one.word for one in judgement.findings)
    lines = [f"{room}  NOT WHOLE: {words}"]
    for one in judgement.findings:
        lines.append(f"    {one.word}: {WORDS[one.word]}")
        lines += [f"        {printable(where)}" for where in one.where]
        if one.times > len(one.where) and len(one.where) > 1:
            lines.append(f"        ({one.times} in all)")
    return "\n".join(lines)


def _end(judgement: Judgement) -> str:
    end = "closed" if judgement.closed else "no closing record yet"
    if judgement.signed:
        end += " and signed"
    return end + (", as it is live" if judgement.live else "")


def _summed_up(summary: Summary, demands: Demands) -> str:
    lines = [
        f"{summary.records} audit records in {summary.lines} lines.",
        f"Rooms: {summary.whole} whole, {summary.rooms - summary.whole} not whole.",
    ]
    lines += [f"  {count} x {word}" for word, count in summary.wrong.items()]
    if summary.copies:
        lines.append(f"Records that occur again, identical, which is no fault: {summary.copies}.")
    if summary.long:
        lines.append(f"Lines longer than any record, which were passed over: {summary.long}.")
    if summary.unfinished:
        lines.append(f"Records not yet written to their end: {summary.unfinished}.")
    open_rooms = summary.rooms - summary.closed
    if open_rooms and demands.settings is None:
        lines.append(
            f"Rooms without a closing record at their end: {open_rooms}. Only --live shows whether"
            " their last records are there."
        )
    lines += [f"{name} could not be read to its end: {why}" for name, why in summary.broken.items()]
    lines.append("WHOLE" if not summary.wrong and not summary.broken else "NOT WHOLE")
    return "\n".join(lines)
