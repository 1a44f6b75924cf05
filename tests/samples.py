"""The sample of the worker log that the README shows, made by the code from the recorded room."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from rooms import BOUNDS

from schemas.inbox import encode_params
from schemas.keys import shard_of
from schemas.parsing import parse_timestamp
from schemas.reading import room_of
from workers.arrivals import read_entries
from workers.digest import Digester
from workers.scribe import Scribe
from workers.steps import Circumstances

# Nobody recorded these: when callbacks reached the inbox, by which wake-up, and the worker.
_ON_ITS_WAY = 100_000
_DIGESTED = 103_000
_TASK = "b420e23e-4880-40cd-b753-6940eb1a008d"
_WORKER = "worker-1:41"
# And as no heart that ever was, or the sample would be another with each change of the heart.
_SCRIBE = Scribe(BOUNDS, code="0123456789abcdef")


def audit_records(callbacks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Digest the callbacks of one room one by one; return their audit records."""
    stored: dict[str, bytes | None] = {}
    made = []
    for one in callbacks:
        params, token = one["params"], one["headers"]["i-twilio-idempotency-token"]
        room_sid, at = room_of(params), parse_timestamp(params["Timestamp"])
        shard = shard_of(room_sid, 8)
        context = {"task_id": _TASK, "worker": _WORKER}
        fields = {b"params": encode_params(params), b"token": token.encode()}
        entry = (b"%d-0" % ((at + _ON_ITS_WAY) // 1000), fields)
        around = Circumstances(shard, context, BOUNDS, lambda at=at: at + _DIGESTED, _SCRIBE)
        digester = Digester(stored or {room_sid: None}, around)
        batch, _ = digester.digest(read_entries(shard, [entry]), until=math.inf)
        stored = {sid: one.record for sid, one in batch.rooms.items()}
        made += [json.loads(line) for line in batch.audit_lines.splitlines()]
    return made
