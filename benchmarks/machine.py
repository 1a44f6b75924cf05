"""The machine that was measured, in one line: figures mean nothing without it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from redis import Redis

_PARTS = ("flask", "granian", "celery", "gunicorn", "hiredis", "msgspec")


def described(redis: Redis) -> str:
    """Describe it, with the versions of what was measured and how busy it was before."""
    parts = [f"{name} {version(name)}" for name in _PARTS]
    return ", ".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d}",
            _cpu(),
            f"{os.cpu_count()} cores",
            f"load {os.getloadavg()[0]:.1f} before",
            f"{platform.system()} {platform.release()}",
            f"Python {platform.python_version()}",
            f"Redis {redis.info('server')['redis_version']}",
            *parts,
        ]
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        # No Linux.
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
