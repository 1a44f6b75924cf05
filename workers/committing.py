"""Committing: the records that a batch begins with, its one commit, and its audit lines after that.

It remembers from one commit to the next what need not be read again, and how far each shard has
come; it decides nothing about rooms, and sends nothing itself.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import structlog

from schemas.errors import AuditOutputError
from schemas.logs import Lines
from workers.arrivals import pseudo_room
from workers.asking import Answer, Ask, answer_to
from workers.batch import Batch, Hold
from workers.commits import Commits
from workers.digest import Digester
from workers.known import Known
from workers.steps import Circumstances
from workers.store import Store

# A step of the work on one shard: it asks, and comes to something.
Asking = Generator[Ask[Any], Any, Answer]

log = structlog.get_logger()


class Committing:
    """Reads and commits for the drains of one process."""

    def __init__(self, store: Store, audit: Lines) -> None:
        """Begin, before the worker forks."""
        self._store = store
        self._audit = audit
        # Made before the worker forks, and so one for all its processes.
        self._commits = Commits(store.shards)
        # Of this process alone: what others commit is not known here.
        self._known = Known(store.shards)

    def look_back(self, hold: Hold) -> None:
        """Say so where Redis has lost commits that this worker knows of.

        They are made again, from what is left of the inbox and the facts. Consumers see it by the
        ids of events: a revision comes again under another one, if it says something else.
        """
        lost = self._commits.note(hold.shard, hold.commits)
        if lost:
            log.error("redis_lost_commits", shard=hold.shard, lost=lost, left=hold.commits)

    def digester(
        self, hold: Hold, room_sids: Iterable[str], around: Circumstances
    ) -> Asking[Digester]:
        """Make a digester that has the records of these rooms, and of the shard's pseudo-room.

        Raises:
            UnknownVersionError: the pseudo-room's was written by a newer Rollcall.
            UnreadableRecordError: it is no record.
        """
        rooms = dict.fromkeys((pseudo_room(hold.shard), *room_sids))
        known = self._known.among(hold, rooms)
        unknown = [one for one in rooms if one not in known]
        if unknown:
            known |= yield from answer_to(self._store.load(hold, unknown))
        return Digester(known, around)

    def commit(self, hold: Hold, batch: Batch, digester: Digester) -> Asking[Hold | None]:
        """Commit what a digester made, and write its audit lines; see `Store.commit`.

        Raises:
            AuditOutputError: it is committed, and nobody takes the lines.
        """
        committed = yield from answer_to(self._store.commit(hold, batch))
        if committed is not None:
            self._known.note(hold, committed, digester.left(), batch.rooms)
            self._commits.note(hold.shard, committed.commits)
            self.write(batch.audit_lines)
        return committed

    def write(self, audit_lines: bytes) -> None:
        """Write audit lines that are committed.

        Raises:
            AuditOutputError: nobody takes them.
        """
        try:
            self._audit.write(audit_lines)
        except OSError as error:
            raise AuditOutputError(f"{AuditOutputError.__doc__} {error}.") from error
