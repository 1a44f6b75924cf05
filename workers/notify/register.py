"""The delivery's place in Celery: a task that names a target and carries nothing else.

Like a drain's, it is a wake-up: one that is lost is sent again by the sweep, one that comes twice
finds the lease taken.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from celery import Celery
from redis import Redis, RedisError

from schemas.alert_targets import AlertTarget
from schemas.connection import keyspace_of, reconnect
from schemas.errors import RollcallError
from schemas.settings import Settings
from schemas.wakeups import NOTIFY
from workers.notify.alertmanager import AlertmanagerChannel
from workers.notify.delivery import Delivery
from workers.notify.outbox import LEASE_MS, Outbox
from workers.notify.people import PeopleChannel
from workers.notify.steps import Channel
from workers.notify.webhook import WebhookChannel

# A receiver that sends a byte now and then could hold a process for ever. The send is given up
# after the first, and the process with it after the second; both while the lease still holds, or
# the failure could not be stored. A slice of 5 s and a send of 20 s fit into them.
_SOFT_SECONDS = LEASE_MS // 1000 - 4
_HARD_SECONDS = LEASE_MS // 1000 - 1

log = structlog.get_logger()

_CHANNELS: dict[str, Callable[[AlertTarget], Channel]] = {
    "alertmanager": AlertmanagerChannel,
    "webhook": WebhookChannel,
    "apprise": PeopleChannel,
}


def register(
    app: Celery, settings: Settings, redis: Redis, wake: Callable[[str], bool]
) -> Callable[[], None]:
    """Give the app the task that delivers.

    Args:
        app: which.
        settings: name the targets.
        redis: the data.
        wake: sends the task for a target; false where it could not.

    Returns:
        what the sweep calls each second. It may be called after a commit that holds alerts, too.
        It raises RedisError where Redis does not answer.

    Raises:
        BadSettingError: Apprise does not understand a target.
    """
    keyspace = keyspace_of(settings)
    channels = {
        lane: _CHANNELS[one.kind](one)
        for one in settings.alert_targets
        for lane in keyspace.lanes(one.name, settings.shards)
    }
    delivery = Delivery(Outbox(redis, keyspace), channels)

    # Not shared: Celery would give it to every other app of the process as well.
    @app.task(name=NOTIFY, shared=False, soft_time_limit=_SOFT_SECONDS, time_limit=_HARD_SECONDS)
    def notify(target: str) -> None:
        if target not in channels:
            # Of a worker with other settings, during a change of them.
            log.warning("no_such_alert_target", target=target)
            return
        try:
            delivery.deliver(target)
        except (RedisError, RollcallError) as error:
            # Nothing is lost: what was not stored is sent again.
            reason = getattr(error, "reason", "redis")
            log.warning("delivery_interrupted", target=target, reason=reason, error=error)
            reconnect(redis)

    def sweep_targets() -> None:
        if not channels:
            return
        for target in delivery.due_targets():
            if not wake(target):
                # The next sweep finds it again. Each try may take seconds, and shards wait.
                break

    return sweep_targets
