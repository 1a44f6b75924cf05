"""What is said when a request is refused: RFC 9457 problem JSON with a stable `reason` word.

https://www.rfc-editor.org/rfc/rfc9457. Knows every error and none of the views.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from schemas.errors import (
    MalformedError,
    MethodNotAllowedError,
    NotFoundError,
    RefusedError,
    RepeatedParameterError,
    RollcallError,
    TooLargeError,
    ValueTooLongError,
)

_log = structlog.get_logger(__name__)

_OURS: dict[int, type[RefusedError]] = {
    error.status: error for error in (NotFoundError, MethodNotAllowedError, TooLargeError)
}


def register_problems(app: Flask) -> None:
    """Have `app` answer every error with a problem, and log each in one line."""
    app.register_error_handler(RefusedError, _refused)
    app.register_error_handler(HTTPException, _refused_by_flask)
    app.register_error_handler(Exception, _failed)


def problem(status: int, reason: str, **members: Any) -> Response:
    """Make a problem answer."""
    body = {
        "type": f"urn:rollcall:problem:{reason}",
        "title": reason.replace("-", " ").capitalize(),
        "status": status,
        "reason": reason,
        **members,
    }
    return Response(json.dumps(body), status, mimetype="application/problem+json")


def _refused(error: RefusedError) -> Response:
    members: dict[str, Any] = {}
    if isinstance(error, MalformedError):
        members["fields"] = error.fields
    if isinstance(error, (RepeatedParameterError, ValueTooLongError)):
        members["names"] = error.names
    # A cause is told by its class alone: the text of a client's error may quote what must not be
    # read in a log.
    cause = {"cause": type(error.__cause__).__name__} if error.__cause__ else {}
    told = {**members, **error.context, **cause}
    _log.warning("callback_refused", reason=error.reason, status=error.status, **told)
    return problem(error.status, error.reason, detail=str(error), **members)


def _refused_by_flask(error: HTTPException) -> Response:
    """Refusals that Flask finds itself: no such path or method, a body too large or cut off."""
    if error.code in _OURS:
        answer = _refused(_OURS[error.code]())
    else:
        answer = _refused(MalformedError({"request": [error.description or error.name]}))
    if isinstance(error, MethodNotAllowed):
        # RFC 9110 15.5.6: a 405 says what is allowed.
        answer.allow.update(error.valid_methods or ())
    return answer


def _failed(_error: Exception) -> Response:
    _log.exception("request_failed", reason=RollcallError.reason)
    # Nothing of the error: whoever asks may be anybody.
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, RollcallError.reason)
