"""The wake-ups: what the broker carries. A message names a shard or a target, and holds no data.

Celery on Redis can lose a message between BRPOP and its own bookkeeping, or deliver it twice after
the visibility timeout. Neither matters here: the inbox is the durable copy, and the sweep wakes
every shard that was forgotten. So a wake-up is acknowledged early, never retried and soon expires.
"""

from __future__ import annotations

from typing import Any

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


def celery_config(settings: Settings) -> dict[str, Any]:
    """Celery's configuration, the same for those who send wake-ups and those who answer them."""
    return {
        "broker_url": settings.celery_broker_url,
        "broker_connection_timeout": _CONNECT_SECONDS,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": _transport_options(settings.celery_broker_url),
        "task_default_queue": f"{settings.prefix}:wakeups",
        "task_ignore_result": True,
        "task_acks_late": False,
        "task_publish_retry": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "timezone": "UTC",
    }


def _transport_options(broker_url: str) -> dict[str, Any]:
    if broker_url.startswith("amqp"):
        return {"confirm_publish": False}
    return {
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _SOCKET_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": 5,
    }
