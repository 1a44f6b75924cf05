"""`rollcall audit verify`: reads log files, judges every room, and says what it found.

Files may be larger than memory and their records in any order: they are put in order on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import click
from redis import RedisError

from console.audit.chain import Judge
from console.audit.claims import claim_of, remains
from console.audit.judgement import WORDS, Judgement
from console.audit.live import Live
from console.audit.reading import Found, Reading, found_in
from console.audit.report import Summary, as_object, in_words
from console.audit.scratch import Scratch, needing_disk
from console.audit.signatures import PublicKeys
from console.audit.sources import IN_REDIS, Line, Sources
from schemas.errors import StartError
from schemas.settings import Settings


class Demands(NamedTuple):
    """What is asked for, beyond chains that are whole in themselves."""

    # To compare with the Redis that these name.
    settings: Settings | None = None
    # To see that closing records are signed, and that a room without one is as Redis has it.
    public_keys: tuple[str, ...] = ()
    # To see that every room has a closing record at its end.
    closed: bool = False


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
        click.ClickException: there is no place on disk to put records in order.
    """
    with needing_disk(), _answering(demands.settings) as live:
        return _verify(paths, demands, live, quiet=quiet, as_json=as_json)


@contextmanager
def _answering(settings: Settings | None) -> Iterator[Live | None]:
    """Open the Redis that was named, if one was; say in a sentence that it does not answer."""
    if settings is None:
        yield None
        return
    try:
        with Live(settings) as live:
            yield live
    except RedisError as error:
        raise StartError(f"REDIS_URL: does not answer ({type(error).__name__}).") from None


def _verify(
    paths: Iterable[str], demands: Demands, live: Live | None, *, quiet: bool, as_json: bool
) -> bool:
    sources = Sources(paths)
    keys = PublicKeys(demands.public_keys) if demands.public_keys else None
    scratch = Scratch(lambda file, line: f"{sources.name(file)}:{line}")
    kept = _look_at_redis(scratch, live, keys) if live else 0
    reading = Reading(sources)
    for found in reading:
        _keep(scratch, found, keys)
    told: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for judgement in _judgements(scratch, demands, live):
        told.update(
            rooms=1,
            compared=int(judgement.live),
            whole=int(judgement.whole),
            closed=int(judgement.closed),
        )
        told.update(signed=int(judgement.signed), copies=judgement.copies)
        wrong.update(finding.word for finding in judgement.findings)
        if not (quiet and judgement.whole):
            click.echo(as_object(judgement) if as_json else in_words(judgement))
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
        compared=told["compared"] if live else None,
        long=reading.counts["long"],
        unfinished=reading.counts["unfinished"],
        kept=kept,
        broken=sources.broken,
    )
    click.echo(summary.as_object() if as_json else summary.in_words())
    return summary.all_whole


def _look_at_redis(scratch: Scratch, live: Live, keys: PublicKeys | None) -> int:
    """Take note of where chains end, and of records that nobody is known to have written yet.

    That is done before the files are read: what is committed meanwhile may be in them already, and
    what was committed before is either in them or among those.

    Returns:
        how many records are not known to be written.
    """
    kept = 0
    scratch.add_heads(live.heads())
    for number, text in enumerate(live.kept(), start=1):
        for found in found_in(Line(IN_REDIS, number, text), text):
            kept += 1
            _keep(scratch, found, keys)
    return kept


def _keep(scratch: Scratch, found: Found, keys: PublicKeys | None) -> None:
    file, line, _ = found.line
    if found.record is None:
        scratch.add_remains(remains(found.text), file, line)
        return
    claim = claim_of(found)
    signed = keys.have_signed(found.record) if keys and claim.closing else None
    scratch.add(claim, signed, file, line)


def _judgements(scratch: Scratch, demands: Demands, live: Live | None) -> Iterator[Judgement]:
    # Who asks Redis, or for signatures, wants ends that somebody else vouches for.
    must_hold = bool(demands.settings or demands.public_keys)
    for room, numbers in scratch.rooms():
        head = scratch.head(room)
        judge = Judge(room, head, must_hold=must_hold, must_close=demands.closed)
        for n, links in numbers:
            judge.take(n, links)
        # What was written while the files were read is known to Redis by now.
        yield judge.judge(live.head(room) if live and judge.is_newer_than_its_head else None)
    for room, head in scratch.absent():
        yield Judge(room, head).judge()
