"""What `rollcall audit verify` says: of a room and of all together, in words or as JSON. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from console.audit.judgement import WORDS, Judgement
from console.sentences import printable
from schemas.audit import is_of_a_room

_encode = msgspec.json.Encoder().encode


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
    # Rooms that were compared with Redis; None where that was not asked for.
    compared: int | None
    # Lines that were longer than any record.
    long: int
    # Records at the end of a file that end in the middle.
    unfinished: int
    # Records that are kept in Redis until they are known to be written.
    kept: int
    # Files that could not be read to their end, and why.
    broken: dict[str, str]

    @property
    def all_whole(self) -> bool:
        # Nothing at all is not what somebody has kept for years to show.
        return self.rooms > 0 and not self.wrong and not self.broken

    def as_object(self) -> bytes:
        """Write it as JSON."""
        return _encode({**self._asdict(), "all_whole": self.all_whole})

    def in_words(self) -> str:
        """Write it in words."""
        lines = [
            f"{self.records} audit records in {self.lines} lines.",
            f"Rooms: {self.whole} whole, {self.rooms - self.whole} not whole.",
        ]
        lines += [f"  {count} x {word}" for word, count in self.wrong.items()]
        if self.copies:
            lines.append(f"Records that occur again, identical, which is no fault: {self.copies}.")
        if self.kept:
            lines.append(f"Records kept in Redis, not known to be written yet: {self.kept}.")
        if self.long:
            lines.append(f"Lines longer than any record, which were passed over: {self.long}.")
        if self.unfinished:
            lines.append(f"Records not yet written to their end: {self.unfinished}.")
        open_rooms = self.rooms - self.closed
        if self.compared is not None:
            lines.append(f"Rooms whose end was compared with Redis: {self.compared}.")
        elif open_rooms:
            lines.append(
                f"Rooms without a closing record at their end: {open_rooms}."
                " Only --live shows whether their last records are there."
            )
        lines += [
            f"{name} could not be read to its end: {why}" for name, why in self.broken.items()
        ]
        if not self.rooms:
            lines.append("There is no audit record, so nothing is shown.")
        lines.append("WHOLE" if self.all_whole else "NOT WHOLE")
        return "\n".join(lines)


def as_object(judgement: Judgement) -> bytes:
    """Write what is found of a room as JSON."""
    told = {key: value for key, value in judgement._asdict().items() if key != "findings"}
    findings = [one._asdict() for one in judgement.findings]
    return _encode({**told, "whole": judgement.whole, "findings": findings})


def in_words(judgement: Judgement) -> str:
    """Write what is found of a room in words, perhaps in several lines."""
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
    if judgement.closed and not is_of_a_room(judgement.room_sid):
        # Each record is closed by itself, so whoever removes the last ones leaves a closed chain.
        end = "signed up to here" if judgement.signed else "closed up to here"
    if judgement.chains > 1:
        end = f"{judgement.chains} chains one after the other, {end}"
    return end + (", as it is live" if judgement.live else "")
