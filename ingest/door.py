"""The door's Flask application: Flask, but for what it does anew for each request and need not.

Routes, blueprints, hooks, error handlers, signals and the test client are Flask's own. Knows no
view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface, SessionMixin
from werkzeug.routing import MapAdapter, Rule

# All that the routing of a request without a query goes by.
_ROUTED_BY = (
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "HTTP_HOST",
    "SERVER_NAME",
    "SERVER_PORT",
    "HTTP_CONNECTION",
    "HTTP_UPGRADE",
    "wsgi.url_scheme",
)
# Callbacks come to one host and path. Anybody may ask for others, of some 64 KiB each.
_MOST_ADAPTERS = 16


class Door(Flask):
    """A Flask application that remembers how it routes, and has no coroutines for views."""

    def __init__(self, name: str) -> None:
        super().__init__(name, static_folder=None)
        self.session_interface = _NoSessions()
        self._adapter = lru_cache(maxsize=_MOST_ADAPTERS)(self._make_adapter)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Give requests that are routed alike the same adapter.

        https://flask.palletsprojects.com/en/stable/api/#flask.Flask.create_url_adapter
        """
        if request is None or request.query_string:
            return super().create_url_adapter(request)
        return self._adapter(*map(request.environ.get, _ROUTED_BY))

    def _make_adapter(self, *routed_by: str | None) -> MapAdapter | None:
        told = zip(_ROUTED_BY, routed_by, strict=True)
        environ = {name: value for name, value in told if value is not None}
        adapter = super().create_url_adapter(self.request_class(environ))
        return adapter and _MatchesOnce(adapter)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Take every view and hook as it is: to look whether one is a coroutine takes its time."""
        return func


class _NoSession(NullSession):
    """A session that nobody can write to, in none of the ways there are to change a dictionary."""

    __ior__ = NullSession.update


class _NoSessions(SessionInterface):
    """The empty session that Flask, without a key for cookies, makes anew for each request."""

    def __init__(self) -> None:
        self._none = _NoSession()

    def open_session(self, _app: Flask, _request: Request) -> SessionMixin:
        return self._none


class _MatchesOnce(MapAdapter):
    """An adapter that remembers the rule of what it is bound to.

    Each search leaves a cycle of eight objects for the garbage collector.
    """

    def __init__(self, adapter: MapAdapter) -> None:
        vars(self).update(vars(adapter))
        self._found: tuple[Rule, Mapping[str, Any]] | None = None

    def match(self, *args: Any, **asked: Any) -> Any:
        if args or asked != {"return_rule": True}:
            return super().match(*args, **asked)
        rule, values = self._found = self._found or super().match(return_rule=True)
        # Whoever asks may change them.
        return rule, {**values}
