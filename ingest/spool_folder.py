"""Which folder holds the spool of which Rollcall. Makes nothing, and asks no Redis.

Whatever lies in a folder is replayed by everyone who looks there. So two Rollcalls of one user,
with another Redis or another prefix each, must not look into the same one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from urllib.parse import urlsplit

from schemas.settings import Settings

_REDIS_PORT = 6379
# Enough that two Rollcalls of one machine never share a folder by chance.
_HEX_DIGITS = 12


def spool_folder(settings: Settings) -> Path:
    """Name the folder, within the one of the settings.

    User and password are left out: they change while the Redis stays the same.
    """
    url = urlsplit(settings.redis_url)
    database = int(url.path.strip("/") or 0)
    place = json.dumps([url.hostname, url.port or _REDIS_PORT, database, settings.prefix])
    return settings.spool_dir / hashlib.sha256(place.encode()).hexdigest()[:_HEX_DIGITS]
