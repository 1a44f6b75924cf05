"""What web stands on, on this machine: its settings and its spool. Asks no Redis."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ingest.spool_file import SUFFIX
from ingest.spool_folder import spool_folder
from ingest.spool_lock import claim
from schemas.settings import Settings
from workers.safety import Finding

# Less keeps nothing (decision 0012).
_LEAST_BYTES = 2 * 64 * 1024 + 1024


def look_at_door(settings: Settings) -> list[Finding]:
    """Look at everything; nothing is made or changed."""
    return [judge_tokens(settings), judge_url(settings), *look_at_spool(settings)]


def judge_tokens(settings: Settings) -> Finding:
    if settings.auth_tokens or settings.account_tokens:
        return Finding("ok", "auth-token", "TWILIO_AUTH_TOKEN is set")
    return Finding(
        "error",
        "auth-token",
        "TWILIO_AUTH_TOKEN is not set, and web does not start",
        "set it to the auth token of your Twilio account",
    )


def judge_url(settings: Settings) -> Finding:
    if settings.public_url:
        return Finding("ok", "public-url", "PUBLIC_URL is set")
    if settings.trusted_proxies:
        return Finding("ok", "public-url", "the proxies' headers tell it")
    return Finding(
        "warning",
        "public-url",
        "behind a proxy, every callback would be refused: PUBLIC_URL is not set, and no proxy's"
        " headers are believed",
        "set PUBLIC_URL to what Twilio calls, without /callbacks",
    )


def look_at_spool(settings: Settings) -> list[Finding]:
    if settings.spool_max_bytes < _LEAST_BYTES:
        return [
            Finding(
                "warning",
                "spool",
                "it is off: while Redis is away, callbacks are lost",
                f"set ROLLCALL_SPOOL_MAX_BYTES to {_LEAST_BYTES} or more",
            )
        ]
    folder = spool_folder(settings)
    # web makes the folder when it is needed.
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        return [
            Finding(
                "error",
                "spool",
                f"this user cannot write into {there}",
                "set ROLLCALL_SPOOL_DIR to a folder that web may write into",
            )
        ]
    free = shutil.disk_usage(there).free
    return [judge_space(free, settings), *judge_left(folder, _files_of_the_dead(folder))]


def judge_space(free: int, settings: Settings) -> Finding:
    wanted = settings.spool_max_bytes * settings.web_concurrency
    told = f"{free >> 20} MiB are free where callbacks are spooled"
    if free >= wanted:
        return Finding("ok", "spool", told)
    return Finding(
        "warning",
        "spool",
        f"{told}, and web may want {wanted >> 20} MiB",
        "make room, or lower ROLLCALL_SPOOL_MAX_BYTES",
    )


def judge_left(folder: Path, files: list[Path]) -> list[Finding]:
    if not files:
        return []
    return [
        Finding(
            "warning",
            "spool-left",
            f"{len(files)} files of processes that are dead hold callbacks, in {folder}",
            "start web on this machine with these settings, and it replays them",
        )
    ]


def _files_of_the_dead(folder: Path) -> list[Path]:
    """List the spool files that nobody holds; each is let go of at once."""
    dead = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            os.close(claim(path))
        except OSError:
            # A living process has it, or it is gone.
            continue
        dead.append(path)
    return dead
