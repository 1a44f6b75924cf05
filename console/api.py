"""The snapshots over HTTP: the open rooms, and one by its SID, for consumers that were away.

Read-only. Knows HTTP and JSON; where rooms come from is for `rooms`, and what is told of them for
`snapshot`.
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import msgspec
import structlog
from flask import Blueprint, Flask, Response, g, request
from flask.typing import ResponseReturnValue
from redis import RedisError

from console.bearer import require_token
from console.rooms import Place, Rooms
from console.snapshot import Snapshot
from console.unanswered import register_unanswered
from ingest.orphan import end_with_parent
from schemas.audit import HASHED
from schemas.errors import BadQueryError, StartError
from schemas.logs import Lines, configure_logs
from schemas.settings import Settings

_PARAMETERS = frozenset({"limit", "cursor", "name"})
_LIMIT, _MOST = 100, 1000
# For whoever watches over the process, and has no token.
_HEALTH = frozenset({"/healthz", "/readyz"})

_encode = msgspec.json.Encoder().encode
_log = structlog.get_logger(__name__)


def create_app(settings: Settings, *, rooms: Rooms | None = None) -> Flask:
    """Make the application. Nothing is sent to Redis yet.

    Args:
        settings: must hold an API token.
        rooms: where they are read; by default from what the settings name.

    Raises:
        BadSettingError: there is no API token.
    """
    settings.require_api_tokens()
    rooms = rooms or Rooms(settings)
    app = Flask("console", static_folder=None)
    # Who may ask what is nobody's business; a 405 says it where something is asked that is not.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.register_blueprint(_room_views(rooms))
    app.register_blueprint(_health_views(rooms))
    register_unanswered(app)

    @app.before_request
    def require() -> None:
        """Judge the token before anything else, be it whether there is such a path."""
        g.began = time.monotonic()
        if request.path not in _HEALTH:
            require_token(request.headers.get("Authorization"), settings.api_tokens)

    app.after_request(_finish)
    return app


def from_environment() -> Flask:
    """Make the application of the console's process, as Granian asks for it."""
    settings = Settings.from_environment()
    configure_logs(Lines(1), "console", hide_names=settings.audit_identity == HASHED)
    end_with_parent()
    return create_app(settings)


def _room_views(rooms: Rooms) -> Blueprint:
    views = Blueprint("rooms", __name__)

    @views.get("/api/rooms")
    def list_rooms() -> ResponseReturnValue:
        """Give a page of the open rooms, and the cursor of the next one."""
        asked = _query()
        page = rooms.page(
            _place(asked.get("cursor")), _limit(asked.get("limit")), asked.get("name")
        )
        following = None if page.ended is None else _cursor(page.ended)
        return _json({"rooms": page.rooms, "unread": page.unread, "next": following})

    @views.get("/api/rooms/<room_sid>")
    def read_room(room_sid: str) -> ResponseReturnValue:
        """Give one room, open or not, as long as it is known in full."""
        taken = rooms.one(room_sid)
        answer = _json(taken)
        # Remarks are refined without an event, so two answers under one tag mean the same and need
        # not be the same byte for byte.
        answer.set_etag(_tag(taken), weak=True)
        return answer.make_conditional(request)

    return views


def _health_views(rooms: Rooms) -> Blueprint:
    views = Blueprint("health", __name__)

    @views.get("/healthz")
    def healthz() -> ResponseReturnValue:
        """Say that the process runs. To restart it would not bring Redis back."""
        return {"status": "ok"}

    @views.get("/readyz")
    def readyz() -> ResponseReturnValue:
        """Say whether snapshots can be taken."""
        try:
            rooms.check()
        except (RedisError, StartError) as error:
            _log.warning("console_not_ready", cause=type(error).__name__)
            return {"status": "unavailable"}, 503
        return {"status": "ready"}

    return views


def _finish(answer: Response) -> Response:
    # Who is in which room is for who asked, now; and nothing in it is for a browser to run.
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    if answer.status_code < 400 and request.path not in _HEALTH:
        took = round((time.monotonic() - g.began) * 1000)
        # By the route: a path or query may hold anything.
        route = request.url_rule.rule if request.url_rule else None
        _log.info("snapshot_given", route=route, status=answer.status_code, took_ms=took)
    return answer


def _json(body: Any) -> Response:
    return Response(_encode(body), mimetype="application/json")


def _tag(taken: Snapshot) -> str:
    alert_id = taken["last_alert_id"]
    return f"{taken['last_event_id']}+{alert_id}" if alert_id else str(taken["last_event_id"])


def _query() -> dict[str, str]:
    for name, values in request.args.lists():
        if name not in _PARAMETERS:
            raise BadQueryError("The query has a parameter other than limit, cursor and name.")
        if len(values) > 1:
            raise BadQueryError(f"The parameter {name} occurs more than once.")
    return request.args.to_dict()


def _limit(text: str | None) -> int:
    if text is None:
        return _LIMIT
    # Longer ones are out of bounds anyway, and might not be read as a number at all.
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0
    if not 1 <= limit <= _MOST:
        raise BadQueryError(f"limit: must be a whole number from 1 to {_MOST}.")
    return limit


def _cursor(place: Place) -> str:
    return urlsafe_b64encode(f"{place.shard}:{place.room_sid}".encode()).decode().rstrip("=")


def _place(cursor: str | None) -> Place:
    if cursor is None:
        return Place()
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        shard, _, room_sid = text.partition(":")
        place = Place(int(shard), room_sid)
    except ValueError:
        raise BadQueryError("cursor: must be the `next` of the page before.") from None
    if place.shard < 0:
        raise BadQueryError("cursor: must be the `next` of the page before.")
    return place
