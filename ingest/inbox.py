"""The inbox as the door sees it: deposit a callback durably, or fail at once.

Knows Redis and nothing of HTTP, Celery or what becomes of a callback.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from redis import Redis, RedisError

from schemas.callbacks import room_of
from schemas.connection import claim_shards, connect
from schemas.errors import UnavailableError
from schemas.inbox import encode_params
from schemas.keys import WAKE_MS, Keyspace, shard_of
from schemas.settings import Settings

# A deposit takes 0.1 ms, so half a second means that Redis is not there. Twilio itself waits 15 s
# (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides), but a waiting request
# holds a thread, and those behind it must be answered as well.
_TIMEOUT_SECONDS = 0.5

_DEPOSIT = Path(__file__).with_name("deposit.lua").read_text()


class Receipt(NamedTuple):
    """Where a callback lies from now on."""

    room_sid: str
    shard: int
    # The id that Redis gave the entry: its arrival time, and its name in the audit.
    entry: str
    # Whether whoever deposited it is to send a wake-up for the shard.
    wake: bool


class Inbox:
    """The inboxes of all shards.

    Nothing is tried twice. A connection that Redis closed while it was idle is no failure: the pool
    sees that before it hands the connection out, and opens another.
    """

    def __init__(self, redis: Redis, keyspace: Keyspace, shards: int) -> None:
        self._redis = redis
        self._keyspace = keyspace
        self._shards = shards
        self._keys = [keyspace.shard(number) for number in range(shards)]
        # Sent by its hash; the client sends the text once to a Redis that does not know it yet.
        self._deposit = redis.register_script(_DEPOSIT)

    def deposit(self, params: Mapping[str, str], token: str) -> Receipt:
        """Append a checked callback to the inbox of its room's shard, in one round trip.

        After a failure the callback may lie in the inbox or not. That it may come again is
        harmless: the merge is idempotent.

        Args:
            params: as they came, in their order.
            token: Twilio's idempotency token, kept for the audit.

        Raises:
            UnavailableError: Redis did not take it; its cause says why.
        """
        room_sid = room_of(params)
        shard = shard_of(room_sid, self._shards)
        keys = self._keys[shard]
        try:
            entry, wake = self._deposit(
                [keys.inbox, keys.lease, keys.wake], [encode_params(params), token, WAKE_MS]
            )
        except RedisError as error:
            raise UnavailableError from error
        return Receipt(room_sid, shard, entry.decode(), bool(wake))

    def check(self) -> None:
        """Ask whether Redis is there, and kept with as many shards as are counted here.

        Raises:
            UnavailableError: it is not; the cause says why.
            StartError: other processes count the shards differently, and none of them would look
                where this one deposits.
        """
        try:
            claim_shards(self._redis, self._keyspace, self._shards)
        except RedisError as error:
            raise UnavailableError from error

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def open_inbox(settings: Settings) -> Inbox:
    """Make the inbox that the settings name. Nothing is sent yet."""
    redis = connect(settings, timeout=_TIMEOUT_SECONDS)
    return Inbox(redis, Keyspace(settings.prefix), settings.shards)
