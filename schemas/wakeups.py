"""The wake-ups: what the broker carries. A message names a shard or a target, and holds no data.

Celery on Redis can lose a message between BRPOP and its own bookkeeping, or deliver it twice after
the visibility timeout. Neither matters here: the inbox is the durable copy, and the sweep wakes
every shard that was forgotten. So a wake-up is acknowledged early, never retried and soon expires,
and it is dropped where enough of them wait.
"""

from __future__ import annotations

from typing import Any

import structlog
from celery import Celery

from schemas.redis_urls import kind_of
from schemas.sentinel_broker import sentinel_config
from schemas.settings import Settings

# Tasks are sent by name, so that the door needs no code of the workers.
DRAIN = "rollcall.drain"
SWEEP = "rollcall.sweep"
NOTIFY = "rollcall.notify"

SWEEP_SECONDS = 1.0
# Past this a wake-up is stale: the sweep has asked again more than once.
EXPIRES_SECONDS = 10.0

# A publish or a probe that takes longer is given up: without these, kombu waits for ever
# (celery/celery#4296, #4627). They bound one attempt, since every retry is switched off.
_CONNECT_SECONDS = 1.0
_SOCKET_SECONDS = 5.0
# RabbitMQ answers within milliseconds, and the sweep waits as long for one that hangs.
_AMQP_SECONDS = 2.0
# A worker that RabbitMQ has silently left, or the other way round, notices within twice this.
_HEARTBEAT_SECONDS = 10

# One wake-up has a shard looked at. A few more are of those who asked at the same time; beyond that
# they wait because nobody takes them.
_ENOUGH_A_SHARD = 4
# Where shards are few there may still be targets.
_ENOUGH = 64

_log = structlog.get_logger(__name__)


class WakeUps:
    """Sends wake-ups, and no more than somebody takes.

    An expired message stays in the queue until somebody takes it, so while no worker lives the
    queue would grow for ever. Therefore a process asks the broker how many wait, may send what is
    missing to `enough`, and asks again when it has sent that many: most wake-ups cost no round trip
    more, and the queue never holds more than `enough` times the processes that send.
    """

    def __init__(self, app: Celery, settings: Settings) -> None:
        """Make it before or after a fork; nothing is connected here."""
        self._app = app
        self._enough = max(_ENOUGH, _ENOUGH_A_SHARD * settings.shards)
        # How many more may be sent before the broker is asked again. Two threads of a process may
        # miscount by one another's.
        self._allowed = 0
        self._dropping = False

    def send(self, task: str, of: int | str) -> bool:
        """Send a wake-up; false where it was dropped, which is logged, never raised.

        It may block for some seconds while the broker is away. Whoever is told false need not try
        another at once: it would go the same way, and the sweep asks again.

        Args:
            task: DRAIN or NOTIFY.
            of: the shard's number, or the target's name.
        """
        try:
            with self._app.producer_or_acquire() as producer:
                if not self._may_send(producer.channel):
                    return False
                self._app.send_task(
                    task,
                    args=[of],
                    producer=producer,
                    expires=EXPIRES_SECONDS,
                    retry=False,
                    ignore_result=True,
                )
        except Exception as error:  # noqa: BLE001  # each transport raises errors of its own
            # Of the error only its class is told, since its text may quote the broker's URL with
            # the password.
            cause = error.__cause__ or error
            _log.warning("wake_up_failed", task=task, of=of, reason=type(cause).__name__)
            return False
        self._allowed -= 1
        return True

    def _may_send(self, channel: Any) -> bool:
        if self._allowed <= 0:
            # Not passively: on Redis an empty queue does not exist.
            queue = self._app.conf.task_default_queue
            declared = channel.queue_declare(queue, durable=True, auto_delete=False)
            self._allowed = self._enough - declared.message_count
            self._tell(declared.message_count)
        return self._allowed > 0

    def _tell(self, waiting: int) -> None:
        """Say once that wake-ups are dropped, and once that they are not any more."""
        dropping = self._allowed <= 0
        if dropping and not self._dropping:
            _log.warning("wake_ups_untaken", waiting=waiting)
        elif self._dropping and not dropping:
            _log.info("wake_ups_taken", waiting=waiting)
        self._dropping = dropping


def celery_config(settings: Settings) -> dict[str, Any]:
    """Celery's configuration, the same for those who send wake-ups and those who answer them."""
    config: dict[str, Any] = {
        "broker_url": settings.celery_broker_url,
        "broker_connection_timeout": _CONNECT_SECONDS,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_heartbeat": _HEARTBEAT_SECONDS,
        "broker_transport_options": _transport_options(settings.celery_broker_url),
        "task_default_queue": f"{settings.prefix}:wakeups",
        # RabbitMQ need not write to its disk what the sweep sends again.
        "task_default_delivery_mode": "transient",
        "task_ignore_result": True,
        "task_acks_late": False,
        "task_publish_retry": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        # No limit: what cannot be acknowledged while the broker dies counts against one for ever
        # (kombu's QoS.can_consume). A worker that has reached its limit so takes nothing any more,
        # and never looks at the connection that was lost.
        "worker_prefetch_multiplier": 0,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "timezone": "UTC",
    }
    if kind_of(settings.celery_broker_url) == "sentinel":
        own = sentinel_config(settings.celery_broker_url, connect_seconds=_CONNECT_SECONDS)
        own["broker_transport_options"] |= config["broker_transport_options"]
        config |= own
    return config


def _transport_options(broker_url: str) -> dict[str, Any]:
    if broker_url.startswith("amqp"):
        return {
            "confirm_publish": False,
            "read_timeout": _AMQP_SECONDS,
            "write_timeout": _AMQP_SECONDS,
            # kombu's own, for whoever sends: by itself it would sleep for 2 s and try once more.
            "max_retries": 0,
        }
    return {
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _SOCKET_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": 5,
    }
