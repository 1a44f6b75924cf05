"""The stall: callbacks of a shard have waited in the inbox for longer than anybody should.

It is believed until the arrivals that were waiting then have all been taken: patience again, so it
is over by itself. Told of the shard's pseudo-room, since the rooms do nothing wrong. Pure.
"""

from __future__ import annotations

from workers.room.alerts import alerts
from workers.room.bounds import Bounds
from workers.room.facts import Facts, Stall
from workers.room.patience import Elapsed, waiting
from workers.room.value import replace
from workers.room.view import NOBODY, view


def stalled(facts: Facts, since: int, at: int, bounds: Bounds) -> Elapsed:
    """Take note that callbacks wait.

    Args:
        facts: of the shard's pseudo-room.
        since: arrival of the oldest of them.
        at: the moment at which that was found.
        bounds: what verdicts are made with.
    """
    # While one stall is not over, another is the same one, which lasts.
    began = facts.stall.since if facts.stall else since
    noted = replace(facts, stall=Stall(began, max(at, facts.stall.until if facts.stall else 0)))
    before, after = view(facts, bounds, NOBODY), view(noted, bounds, NOBODY)
    raised = alerts(before, after, bounds, at)
    return Elapsed(waiting(noted, after, NOBODY, bounds), at, [], raised)
