"""`rollcall audit replay`: would today's version have concluded the same?

Every room of the logs is played to the heart again, from its first record on, with the bounds that
were in force. Whether the logs are whole, `verify` says; a record that is not as it was written is
passed over here, and the room cannot be played beyond it.
"""

from __future__ import annotations

from collections.abc import Iterable

import click

from console.audit.again import Difference, NotReplayableError, Played, play
from console.audit.claims import claim_of, remains
from console.audit.ordered import Ordered, Placed
from console.audit.reading import Reading
from console.audit.replay_report import (
    MOST_TOLD,
    Finding,
    Verdict,
    as_object,
    encode,
    in_words,
    summed_up,
)
from console.audit.scratch import needing_disk
from console.audit.sources import Sources
from workers.scribe import code_digest

IDENTICAL, DIFFERENT, NOT_ALL = 0, 1, 3
# The last word for each of them.
_LAST = {IDENTICAL: "IDENTICAL", DIFFERENT: "DIFFERENT", NOT_ALL: "NOT ALL COULD BE PLAYED"}
# Of each number so many different records are played; a real log has two at the most, where Redis
# has lost its tail.
_MOST_FOLLOWED = 100
# The number of a record that none follows.
_NOWHERE = -1


def replay(paths: Iterable[str], *, quiet: bool, as_json: bool) -> int:
    """Play every room in log files again, and print what differs.

    Args:
        paths: of the files.
        quiet: print nothing of rooms that are identical.
        as_json: print a JSON object for each room, and one for all of them last.

    Returns:
        0 where everything came out as it was logged, 1 where something did not, 3 where nothing
        did otherwise, but not everything could be played, or there was nothing to play.

    Raises:
        click.ClickException: there is no place on disk to put records in order.
    """
    with needing_disk():
        return _replay(paths, quiet=quiet, as_json=as_json)


def _replay(paths: Iterable[str], *, quiet: bool, as_json: bool) -> int:
    sources, ordered = Sources(paths), Ordered()
    altered = 0
    for found in Reading(sources):
        file, line, _ = found.line
        if found.record is None:
            ordered.add_remains(remains(found.text), file, line)
        elif claim_of(found).fits:
            ordered.add(found.record, found.text, file, line)
        else:
            altered += 1
    altered += ordered.lost()
    rooms = records = different = stopped = 0
    codes: set[str] = set()
    for room_sid, numbers in ordered.rooms():
        verdict = _played(room_sid, numbers, sources)
        rooms, records = rooms + 1, records + verdict.played
        different += bool(verdict.different)
        stopped += bool(verdict.stopped)
        codes.update(verdict.codes)
        if verdict.findings or not quiet:
            click.echo(as_object(verdict) if as_json else "\n".join(in_words(verdict)))
    ordered.close()
    told = {
        "rooms": rooms,
        "records": records,
        "different": different,
        "not_replayable": stopped,
        "not_as_written": altered,
        "code": code_digest(),
        "logged_codes": sorted(codes),
        "broken": sources.broken,
    }
    all_played = records and not (stopped or altered or sources.broken)
    ends_with = DIFFERENT if different else IDENTICAL if all_played else NOT_ALL
    click.echo(encode(told) if as_json else "\n".join([*summed_up(told), _LAST[ends_with]]))
    return ends_with


def _played(
    room_sid: str, numbers: Iterable[tuple[int, Iterable[Placed]]], sources: Sources
) -> Verdict:
    room = _Room(sources)
    for n, some in numbers:
        room.take(n, some)
    return Verdict(
        room_sid, room.played, room.different, room.stopped, room.findings, sorted(room.codes)
    )


class _Room:
    """A room that is played again, number by number."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._last = 0
        # What each record of the last number has led to, by its hash. Where Redis has lost its
        # tail, two records follow the same one.
        self._led_to: dict[str, Played] = {}
        self.played = self.different = self.stopped = 0
        self.findings: list[Finding] = []
        self.codes: set[str] = set()

    def take(self, n: int, some: Iterable[Placed]) -> None:
        """Play all records of the next number."""
        before = self._led_to if n == self._last + 1 else {}
        if n == 1:
            # The first of a chain follows none.
            before = {"": Played()}
        self._led_to = {}
        for placed in some:
            so_far = before.get(placed.record["prev"])
            if so_far is not None:
                self._play(so_far, placed)
            elif before or self._last >= 0:
                self._stop(placed, f"n {n - 1}, which it follows, could not be played")
        self._last = n if self._led_to else _NOWHERE

    def _play(self, so_far: Played, placed: Placed) -> None:
        record = placed.record
        if len(self._led_to) == _MOST_FOLLOWED:
            self._stop(placed, "too many other records have its number")
            return
        try:
            played, differences = play(so_far, record)
        except (NotReplayableError, KeyError, ValueError, TypeError) as error:
            said = error if isinstance(error, NotReplayableError) else f"it is no record: {error!r}"
            self._stop(placed, str(said))
            return
        self._led_to[record["hash"]] = played
        self.played += 1
        self.different += bool(differences)
        self.codes.add(played.code)
        for one in differences:
            self._find(placed, one)

    def _stop(self, placed: Placed, why: str) -> None:
        self.stopped += 1
        self._find(placed, None, why)

    def _find(self, placed: Placed, difference: Difference | None, why: str = "") -> None:
        if len(self.findings) < MOST_TOLD:
            place = f"{self._sources.name(placed.file)}:{placed.line}"
            self.findings.append(Finding(placed.record["n"], place, difference, why))
