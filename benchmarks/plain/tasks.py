"""The Celery side of the plain receiver: one task a callback, one room at a time under a lock."""

from __future__ import annotations

import json
import os
from typing import Any

from celery import Celery
from redis import Redis

from benchmarks.plain.room import Event, apply, new_room

EVENTS = "plain:events"
QUEUE = "plain"
# As many as Rollcall keeps.
_EVENTS_MAXLEN = 1_000_000
# A room is forgotten a day after its last callback.
_KEEP_SECONDS = 24 * 3600
# A task takes a millisecond; a worker that died with the lock must not hold a room for long.
_LOCK_SECONDS = 10

redis = Redis.from_url(os.environ["REDIS_URL"])
app = Celery("plain", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_default_queue=QUEUE,
    broker_connection_retry_on_startup=True,
)


@app.task(name="plain.apply_callback")
def apply_callback(params: dict[str, str]) -> None:
    """Change the room that a callback is about, and publish what changed."""
    room_sid = params.get("RoomSid")
    if room_sid is None:
        return
    lock = redis.lock(f"plain:lock:{room_sid}", timeout=_LOCK_SECONDS, sleep=0.005)
    with lock, redis.pipeline() as pipeline:
        key = f"plain:room:{room_sid}"
        stored = redis.get(key)
        room = json.loads(stored) if stored else new_room()
        events = apply(room, params)
        pipeline.set(key, json.dumps(room), ex=_KEEP_SECONDS)
        for event in events:
            pipeline.xadd(EVENTS, _fields(room_sid, event), maxlen=_EVENTS_MAXLEN)
        pipeline.execute()


def _fields(room_sid: str, event: Event) -> dict[Any, Any]:
    return event._asdict() | {"room_sid": room_sid, "data": json.dumps(event.data)}
