"""Notifications for people, through Apprise: chat, e-mail, pagers. Sentences, a room at a time.

https://github.com/caronc/apprise. A room is told about at most once in 30 s; what comes meanwhile
goes together into the next. Everything beyond that is Alertmanager's job.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

import structlog

from schemas.alert_targets import SETTING, AlertTarget
from schemas.errors import BadSettingError
from workers.notify.alert import RESOLVED, Alert, order
from workers.notify.post import TIMEOUT_SECONDS
from workers.notify.state import State, Told
from workers.notify.steps import Failure, Rest, Situation, Step

QUIET_MS = 30_000
# What is told to people a day later only hides what is wrong now.
PATIENCE_MS = 24 * 3_600_000
# Apprise keeps a pause between two messages to a service, of 5.5 s for most: it is a part of the
# time that one takes. What is given up too early would still be sent, and come twice.
_SECONDS = TIMEOUT_SECONDS + 6.0
# More than a person reads in one message; the rest is counted.
_LINES = 20
_MENTION = re.compile("@|<(?=[@!#&])")
_RANKS = ("info", "warning", "critical")
_BEGINNINGS = {"raised": "", "changed": "Worse: ", RESOLVED: "Resolved: "}


log = structlog.get_logger()


class Message(NamedTuple):
    """What one notification says."""

    title: str
    body: str
    # One of Apprise's: info, success, warning, failure.
    type: str


class PeopleChannel:
    """One target that Apprise speaks to."""

    def __init__(self, target: AlertTarget) -> None:
        """Load the target.

        Raises:
            BadSettingError: Apprise does not understand its URL.
        """
        # Apprise reads its hundred plugins at that, which is spared whoever has no such target.
        import apprise  # noqa: PLC0415

        # Its log lines may quote parts of the URL. What matters of them is in the failures.
        logger = logging.getLogger("apprise")
        logger.propagate = False
        logger.addHandler(logging.NullHandler())
        asset = apprise.AppriseAsset(
            app_id="Rollcall",
            app_desc="Rollcall",
            async_mode=False,
            # What is told, and the password for it, are for the one that the operator named.
            http_redirects=False,
            # Nothing is kept on the disk between two notifications.
            storage_mode=apprise.PersistentStoreMode.MEMORY,
        )
        self._apprise = apprise.Apprise(asset=asset)
        # Several under one name could not be told apart: one that fails would repeat all.
        if not self._apprise.add(target.url) or len(self._apprise) != 1:
            raise BadSettingError(
                f"{SETTING}: Apprise does not understand the URL that begins with"
                f" {target.url.partition('://')[0]}://, or takes it for several; see its list of"
                " services."
            )
        self._secret_parts = _parts(target.url)

    def next(self, at: Situation) -> Step | Rest:
        return next_for_people(at)

    def send(self, step: Step) -> Failure | None:
        told: Message = step.payload
        result = self._apprise.notify(
            title=told.title,
            body=told.body,
            notify_type=told.type,
            body_format="text",
            timeout=_SECONDS,
        )
        if result:
            return None
        said = " ".join(entry.message for service in result for entry in service.logs())
        how = result.status.name.lower()
        if how == "partial":
            # Whoever has it already would get it again with every try.
            log.error("alerts_partly_delivered", detail=self._redacted(said))
            return None
        return Failure(f"apprise-{how}", wait_ms=QUIET_MS, detail=self._redacted(said))

    def _redacted(self, text: str) -> str:
        for part in self._secret_parts:
            text = text.replace(part, "***")
        return text


def next_for_people(at: Situation) -> Step | Rest:
    """Say which room to tell about now, or when the next one may be told about."""
    untold = _by_room(at)
    for room, alerts in untold.items():
        if at.now >= _quiet_until(at, room):
            after = _advanced(at, {**at.state.rooms, room: Told(alerts[-1].entry_id, at.now)})
            give_up_at = alerts[0].published + PATIENCE_MS
            return Step(alerts, message(alerts), after, {}, give_up_at)
    return Rest(min((_quiet_until(at, room) for room in untold), default=0))


def message(alerts: Sequence[Alert]) -> Message:
    """Say in sentences what some alerts of one room tell."""
    last = {alert.data["dedup_key"]: alert for alert in alerts}
    open_ones = [alert.data["severity"] for alert in last.values() if alert.change != RESOLVED]
    lines = [_line(alert) for alert in alerts[:_LINES]]
    if len(alerts) > _LINES:
        lines.append(f"And {len(alerts) - _LINES} more.")
    first = alerts[0].data
    room = first["room_sid"] if first["room_name"] is None else repr(first["room_name"])
    worst = max(open_ones, key=_RANKS.index, default=RESOLVED)
    return Message(
        title=_harmless(f"Rollcall, {worst}: room {room}"),
        body=_harmless("\n".join(lines)),
        type={RESOLVED: "success", "critical": "failure"}.get(worst, worst),
    )


def _harmless(text: str) -> str:
    """Break up what some services would take for a mention of everybody there.

    Identities and names are anybody's text (Discord: https://docs.discord.com/developers/reference).
    """
    return _MENTION.sub("\\g<0>\u200b", text)


def _line(alert: Alert) -> str:
    return f"{_BEGINNINGS.get(alert.change, '')}{alert.data['summary']}"


def _by_room(at: Situation) -> dict[str, list[Alert]]:
    """Group what is still to be told, the room that has waited longest first."""
    rooms: dict[str, list[Alert]] = {}
    for alert in at.waiting:
        room = alert.data["room_sid"]
        if not _is_told(alert, at.state.rooms):
            rooms.setdefault(room, []).append(alert)
    return rooms


def _is_told(alert: Alert, rooms: dict[str, Told]) -> bool:
    told = rooms.get(alert.data["room_sid"])
    return told is not None and order(alert.entry_id) <= order(told.entry_id)


def _quiet_until(at: Situation, room: str) -> int:
    told = at.state.rooms.get(room)
    # A time that has not come yet was written by a clock that was wrong.
    return told.at + QUIET_MS if told and told.at <= at.now else 0


def _advanced(at: Situation, rooms: dict[str, Told]) -> State:
    """Move the cursor over what is told, and forget the rooms that need no remembering."""
    cursor = at.state.cursor
    for alert in at.waiting:
        if not _is_told(alert, rooms):
            break
        cursor = alert.entry_id
    kept = {
        room: told
        for room, told in rooms.items()
        if told.at + QUIET_MS > at.now or order(told.entry_id) > order(cursor)
    }
    return at.state._replace(cursor=cursor, rooms=kept)


def _parts(url: str) -> list[str]:
    """Return what of a URL might be a secret, the longest first."""
    parts = {part for part in re.split(r"[/:@?&=#,]+", url.partition("://")[2]) if len(part) > 2}
    return sorted(parts | {unquote(part) for part in parts}, key=len, reverse=True)
