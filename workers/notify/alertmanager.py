"""Prometheus Alertmanager: what is firing, said again and again, and what is resolved.

https://prometheus.io/docs/alerting/latest/alerts_api. Grouping, silences, inhibition and repeats
are its job. It knows an alert by its labels and forgets one that is not said again: so the labels
are kept as they were said, and everything that is firing is said once a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from schemas.alert_targets import AlertTarget
from schemas.logs import iso_milliseconds
from workers.notify.alert import RESOLVED, Alert
from workers.notify.post import post
from workers.notify.steps import Failure, Firing, FiringChanges, Rest, Situation, Step

# "Clients are expected to continuously re-send alerts as long as they are still active (usually on
# the order of 30 seconds to 3 minutes)", https://prometheus.io/docs/alerting/latest/clients.
REFRESH_MS = 60_000
# Said with each: what is not said again is over by then. Four refreshes may be lost, as with
# Prometheus itself, and the operator's resolve_timeout cannot make alerts flap.
HOLDS_MS = 5 * 60_000
# What has not changed for so long has lost its end: no room lives longer than a day
# (https://www.twilio.com/docs/video/api/rooms-resource), and 25 h without a callback closes one.
FORGOTTEN_MS = 7 * 24 * 3_600_000
# A resolved alert that is told later than this tells nobody anything.
PATIENCE_MS = 24 * 3_600_000
# As many as Prometheus sends at once.
_AT_ONCE = 64

_encode = msgspec.json.Encoder().encode


class Fired(NamedTuple):
    """An alert as an Alertmanager was told."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    # When it was published, in milliseconds since 1970.
    published: int

    def saying(self, ends_at: str) -> dict[str, Any]:
        return {
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": self.starts_at,
            "endsAt": ends_at,
        }


_decode = msgspec.msgpack.Decoder(Fired).decode
_store = msgspec.msgpack.Encoder().encode


class AlertmanagerChannel:
    """One Alertmanager."""

    def __init__(self, target: AlertTarget) -> None:
        self._url = target.url

    def next(self, at: Situation) -> Step | Rest:
        if at.waiting:
            # After a failure one by one: a batch is refused for one of them only.
            news = at.waiting[: 1 if at.state.attempts else _AT_ONCE]
            said, changes = _tell(news, at.firing, at.now)
            after = at.state._replace(cursor=news[-1].entry_id)
            if not at.firing:
                after = after._replace(refreshed_at=at.now)
            return Step(news, said, after, changes, news[0].published + PATIENCE_MS)
        # A time that has not come yet was written by a clock that was wrong.
        refresh_at = min(at.state.refreshed_at, at.now) + REFRESH_MS
        if at.firing and at.now >= refresh_at:
            said, changes = _refresh(at.firing, at.now)
            return Step([], said, at.state._replace(refreshed_at=at.now), changes, None)
        return Rest(refresh_at if at.firing else 0)

    def send(self, step: Step) -> Failure | None:
        for first in range(0, len(step.payload), _AT_ONCE):
            some = step.payload[first : first + _AT_ONCE]
            failure = post(self._url, _encode(some), {"Content-Type": "application/json"})
            if failure:
                # What was taken before is said again, which changes nothing.
                return failure
        return None


def _tell(
    news: Sequence[Alert], firing: Firing, now: int
) -> tuple[list[dict[str, Any]], FiringChanges]:
    """Say what is new, each alert once and as it stands after the last of them."""
    said: dict[tuple[str, ...], dict[str, Any]] = {}
    stand = {key: _decode(stored) for key, stored in firing.items()}
    changes: dict[str, bytes | None] = {}
    for alert in news:
        key, fired = alert.data["dedup_key"], _fired(alert)
        was = stand.pop(key, None)
        if was and (alert.change == RESOLVED or was.labels != fired.labels):
            # Ended under the labels that it was said with: another severity is another alert.
            said[tuple(was.labels.values())] = was.saying(_end(alert, was, now))
        if alert.change != RESOLVED:
            stand[key] = fired
            said[tuple(fired.labels.values())] = fired.saying(_holds_until(now))
        elif not was:
            said[tuple(fired.labels.values())] = fired.saying(_end(alert, fired, now))
        changes[key] = _store(stand[key]) if key in stand else None
    return list(said.values()), changes


def _refresh(firing: Firing, now: int) -> tuple[list[dict[str, Any]], FiringChanges]:
    said: list[dict[str, Any]] = []
    changes: dict[str, bytes | None] = {}
    for key, stored in firing.items():
        fired = _decode(stored)
        if now - fired.published > FORGOTTEN_MS:
            changes[key] = None
        else:
            said.append(fired.saying(_holds_until(now)))
    return said, changes


def _fired(alert: Alert) -> Fired:
    data = alert.data
    return Fired(
        # The severity is a label, since silences, inhibition and routes go by labels. Nobody's
        # identity is one, since labels end up in URLs and metrics.
        labels={
            "alertname": data["alert"],
            "severity": data["severity"],
            "room_sid": data["room_sid"],
            "dedup_key": data["dedup_key"],
        },
        annotations=_annotations(alert),
        # A start after the end is refused, and a callback may be stamped with any time.
        starts_at=min(data["since"], iso_milliseconds(alert.published * 1000)),
        published=alert.published,
    )


def _annotations(alert: Alert) -> dict[str, str]:
    data: Mapping[str, Any] = alert.data
    told = {
        "summary": data["summary"],
        "count": data["count"],
        "room_name": data["room_name"],
        "event_id": alert.id,
    }
    told |= {name: value for name, value in data.items() if name.endswith("_sid")}
    del told["room_sid"]
    # "Label and annotation values can be any"; none is left out rather than said as "None".
    return {name: str(value) for name, value in told.items() if value is not None}


def _end(alert: Alert, fired: Fired, now: int) -> str:
    # The times are of one format, so they compare as text. An end in the future would mean that it
    # is still firing.
    return max(min(alert.attributes["time"], iso_milliseconds(now * 1000)), fired.starts_at)


def _holds_until(now: int) -> str:
    return iso_milliseconds((now + HOLDS_MS) * 1000)
