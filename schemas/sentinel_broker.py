"""A broker behind Sentinel, in kombu's words: a URL a sentinel, and the rest as options beside it.

https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html says how.
"""

from __future__ import annotations

from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas.redis_urls import read_address


def sentinel_config(url: str, *, connect_seconds: float) -> dict[str, Any]:
    """Return what Celery's configuration has otherwise where the broker is behind Sentinel.

    Args:
        url: the redis+sentinel:// URL.
        connect_seconds: how long to wait for all the sentinels, which are asked in turn.
    """
    address = read_address(url, name="CELERY_BROKER_URL")
    # The library cannot take a URL of several hosts apart (schemas/redis_urls.py).
    credentials, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    seconds = connect_seconds / len(address.hosts)
    asked = {
        **address.sentinel_options,
        "ssl": address.tls,
        "socket_connect_timeout": seconds,
        "socket_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
    }
    told = {
        "broker_url": ";".join(
            f"sentinel://{credentials}{at}{_bracketed(host)}:{port}/{address.database}"
            for host, port in address.hosts
        ),
        "broker_transport_options": {"master_name": address.master, "sentinel_kwargs": asked},
    }
    if address.tls:
        # An empty one would be taken for none.
        options = {key: value for key, value in address.options.items() if key.startswith("ssl_")}
        told["broker_use_ssl"] = {"ssl_cert_reqs": "required"} | options
    return told


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
