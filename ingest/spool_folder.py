"""Which folder holds the spool of which Rollcall. Makes nothing, and asks no Redis.

Whatever lies in a folder is replayed by everyone who looks there. So two Rollcalls of one user,
with another Redis or another prefix each, must not look into the same one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from schemas.redis_urls import read_address
from schemas.settings import Settings

# Enough that two Rollcalls of one machine never share a folder by chance.
_HEX_DIGITS = 12


def spool_folder(settings: Settings) -> Path:
    """Name the folder, within the one of the settings.

    User and password are left out: they change while the Redis stays the same.
    """
    address = read_address(settings.redis_url)
    host, port = address.hosts[0]
    place: list[object] = [host, port, address.database, settings.prefix]
    if address.kind != "single":
        # In whatever order they are given.
        place = [sorted(address.hosts), address.master, *place[2:]]
    digest = hashlib.sha256(json.dumps(place).encode())
    return settings.spool_dir / digest.hexdigest()[:_HEX_DIGITS]
