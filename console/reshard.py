"""`rollcall reshard`: changes the number of shards, and says how far it is.

Knows how to tell it, and nothing of keys.
"""

from __future__ import annotations

import time

import click
from redis import RedisError

from schemas.connection import connect, keyspace_of
from schemas.errors import ReshardError
from schemas.settings import Settings
from workers.reshard import Reshard

# As long as a worker waits for a batch, and more: nobody else is at work.
_REPLY_SECONDS = 10.0
# Until doors have stopped depositing, and workers have emptied what was deposited before.
_PATIENCE_SECONDS = 15.0
_AGAIN_SECONDS = 0.1
# A door looks every second whether its count is still the one that is kept, and its look may take
# half a second. Until all have, the old count must not be forgotten.
_NOTICE_SECONDS = 3.0


def reshard(
    settings: Settings,
    to: int,
    *,
    patience_seconds: float = _PATIENCE_SECONDS,
    notice_seconds: float = _NOTICE_SECONDS,
) -> None:
    """Spread the rooms over `to` shards, while doors and workers may run on.

    Args:
        settings: the same as theirs.
        to: how many shards there are to be.
        patience_seconds: how long to wait for what waits or works.
        notice_seconds: how long a door may take to notice.

    Raises:
        ReshardError: it cannot be done now, or was broken off; the same again goes on from there.
    """
    redis = connect(settings, timeout=_REPLY_SECONDS)
    targets = [target.name for target in settings.alert_targets]
    change = Reshard(redis, keyspace_of(settings), to, targets=targets)
    try:
        with change.alone():
            _spread(change, to, patience_seconds, notice_seconds)
    except RedisError as error:
        raise ReshardError(
            f"Redis broke off ({type(error).__name__}); run the same again when it answers."
        ) from error
    finally:
        redis.close()


def _spread(change: Reshard, to: int, patience: float, notice: float) -> None:
    began = time.monotonic()
    if not _begun(change, began + patience):
        click.echo(f"There are {to} shards already.")
        return
    places = change.misplaced()
    # Elsewhere than on a terminal the bar is not drawn, but its label is said.
    with click.progressbar(length=len(places), label="Moving rooms") as bar:
        for moved in change.move(places):
            bar.update(moved)
    time.sleep(max(0.0, began + notice - time.monotonic()))
    change.finish()
    click.echo(
        f"{len(places)} rooms were moved. Set ROLLCALL_SHARDS={to} for all processes, and start"
        " them anew; until then, callbacks are kept on the disks of the doors."
    )


def _begun(change: Reshard, deadline: float) -> bool:
    while True:
        refused = change.begin()
        if not isinstance(refused, list):
            return refused
        if time.monotonic() > deadline:
            change.call_off()
            raise ReshardError(
                f"Nothing was changed, since {', and '.join(refused)}. Have the workers empty the"
                " inboxes, or start some, and try again."
            )
        time.sleep(_AGAIN_SECONDS)
