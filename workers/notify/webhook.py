"""Plain webhooks, signed after Standard Webhooks: a POST for each alert, in the stream's order.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. The body
is the CloudEvent in its structured JSON form; `webhook-id` is its id, the same with every try.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from standardwebhooks import Webhook

from schemas.alert_targets import AlertTarget
from workers.notify.alert import Alert
from workers.notify.post import post
from workers.notify.steps import Failure, Rest, Situation, Step

# The specification wishes retries "spanning multiple days"; its example ends after 75 hours.
PATIENCE_MS = 3 * 24 * 3_600_000
# https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md#3-envelope
_CONTENT_TYPE = "application/cloudevents+json"

_encode = msgspec.json.Encoder().encode


class _Request(NamedTuple):
    """A body, and the headers that sign it."""

    body: bytes
    headers: dict[str, str]


class WebhookChannel:
    """One receiver of signed webhooks."""

    def __init__(self, target: AlertTarget) -> None:
        self._url = target.url
        self._signers = [Webhook(secret) for secret in target.secrets]

    def next(self, at: Situation) -> Step | Rest:
        if not at.waiting:
            return Rest()
        first = at.waiting[0]
        return Step(
            alerts=[first],
            payload=self._signed(first, at.now // 1000),
            after=at.state._replace(cursor=first.entry_id),
            firing={},
            give_up_at=first.published + PATIENCE_MS,
        )

    def send(self, step: Step) -> Failure | None:
        request: _Request = step.payload
        return post(self._url, request.body, request.headers)

    def _signed(self, alert: Alert, seconds: int) -> _Request:
        body = structured(alert)
        at = datetime.fromtimestamp(seconds, UTC)
        signatures = [one.sign(alert.id, at, body.decode()) for one in self._signers]
        headers = {
            "Content-Type": _CONTENT_TYPE,
            "webhook-id": alert.id,
            # Of this try: receivers refuse what is too old, lest it be a replay.
            "webhook-timestamp": str(seconds),
            "webhook-signature": " ".join(signatures),
        }
        return _Request(body, headers)


def structured(alert: Alert) -> bytes:
    """Return the CloudEvent as one JSON object, its data as it stands in the stream."""
    return _encode({**alert.attributes, "data": msgspec.Raw(alert.raw)})
