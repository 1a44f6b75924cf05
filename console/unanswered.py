"""What the console says when it does not answer: problem JSON with a stable `reason`, as the door.

Knows every error and none of the views.
"""

from __future__ import annotations

from http import HTTPStatus

import structlog
from flask import Flask, Response
from redis import RedisError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from console.bearer import challenge
from ingest.problems import problem
from schemas.errors import (
    BadQueryError,
    MethodNotAllowedError,
    NotFoundError,
    RefusedError,
    RollcallError,
    TokenMismatchError,
    TokenMissingError,
    UnansweredError,
    UnavailableError,
)

_log = structlog.get_logger(__name__)

_NO_SUCH_PATH = "There is nothing here; snapshots are at /api/rooms."
_READ_ONLY = "Snapshots are read with GET."
_AWAY = "Redis does not answer."


def register_unanswered(app: Flask) -> None:
    """Have `app` answer every error with a problem, and log each in one line."""
    app.register_error_handler(RollcallError, _unanswered)
    app.register_error_handler(RedisError, _away)
    app.register_error_handler(HTTPException, _by_flask)
    app.register_error_handler(Exception, _failed)


def _unanswered(error: RollcallError) -> Response:
    # What is none of the caller's fault, as a record of a newer version, may be well again later.
    kinds = (UnansweredError, RefusedError)
    status = error.status if isinstance(error, kinds) else HTTPStatus.SERVICE_UNAVAILABLE
    # Nothing that was sent is in the line: it may be the token, put into the wrong place.
    _log.warning("snapshot_refused", reason=error.reason, status=int(status))
    answer = problem(int(status), error.reason, detail=str(error))
    if isinstance(error, (TokenMissingError, TokenMismatchError)):
        answer.headers["WWW-Authenticate"] = challenge(error)
    return answer


def _away(error: RedisError) -> Response:
    # The text of a client's error may quote the URL.
    _log.warning("redis_unavailable", cause=type(error).__name__)
    return _unanswered(UnavailableError(_AWAY))


def _by_flask(error: HTTPException) -> Response:
    """Refusals that Flask finds itself."""
    if isinstance(error, MethodNotAllowed):
        answer = _unanswered(MethodNotAllowedError(_READ_ONLY))
        # RFC 9110 15.5.6: a 405 says what is allowed.
        answer.allow.update(error.valid_methods or ())
        return answer
    if isinstance(error, NotFound):
        return _unanswered(NotFoundError(_NO_SUCH_PATH))
    return _unanswered(BadQueryError())


def _failed(_error: Exception) -> Response:
    _log.exception("request_failed", reason=RollcallError.reason)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, RollcallError.reason)
