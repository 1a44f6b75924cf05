"""What `rollcall audit replay` says: of a room and of all together, in words or as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from console.audit.again import Difference
from console.sentences import printable

# Of a room.
MOST_TOLD = 100

encode = msgspec.json.Encoder(enc_hook=repr).encode


class Finding(NamedTuple):
    """Something that is to be told of a room."""

    n: int
    # The file and line; empty where it is about a record that is not there.
    place: str
    # None where the room cannot be played from here on; `why` says the reason then.
    difference: Difference | None
    why: str = ""


class Verdict(NamedTuple):
    """What there is to say of a room."""

    room_sid: str
    # How many records were played, and how many came out otherwise.
    played: int
    different: int
    # How often it could not be played any further.
    stopped: int
    # The first of both.
    findings: list[Finding]
    # The hearts that it was concluded by.
    codes: list[str]


def as_object(verdict: Verdict) -> bytes:
    """Write what is found of a room as JSON."""
    findings = [
        one._asdict() | {"difference": one.difference and one.difference._asdict()}
        for one in verdict.findings
    ]
    return encode(verdict._asdict() | {"findings": findings})


def in_words(verdict: Verdict) -> Iterator[str]:
    """Write what is found of a room in words, line by line."""
    room = printable(verdict.room_sid)
    if not verdict.findings:
        yield f"{room}  identical: {verdict.played} records"
        return
    what = f"DIFFERENT in {verdict.different} of" if verdict.different else "NOT REPLAYABLE after"
    yield f"{room}  {what} {verdict.played} records"
    for one in verdict.findings:
        where = f"    n {one.n} in {printable(one.place)}"
        if one.difference is None:
            yield f"{where}: not replayable from here, since {printable(one.why)}"
            continue
        yield f"{where}: {one.difference.what}"
        yield f"        logged   {printable(str(one.difference.logged))}"
        yield f"        replayed {printable(str(one.difference.replayed))}"
    if len(verdict.findings) == MOST_TOLD:
        yield "    and so on"


def summed_up(told: dict[str, Any]) -> Iterator[str]:
    """Write what there is to say of all rooms together, but for the last word."""
    yield f"{told['records']} records of {told['rooms']} rooms were played again."
    others = [code for code in told["logged_codes"] if code != told["code"]]
    if others:
        yield (
            f"They were concluded by another heart ({', '.join(others)}) than today's"
            f" ({told['code']})."
        )
    if told["not_as_written"]:
        yield f"Records passed over, not being as they were written: {told['not_as_written']}."
    for name, why in told["broken"].items():
        yield f"{printable(name)} could not be read to its end: {printable(why)}"
    if told["not_replayable"]:
        yield f"Rooms that could not be played to their end: {told['not_replayable']}."
    if told["different"]:
        yield f"Rooms in which something came out otherwise: {told['different']}."
