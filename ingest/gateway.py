"""The gateway: every request is read whole, within a time, before the application sees it.

Under WSGI alone a thread waits for the body, so that as many clients as there are threads hold the
door by sending drop by drop. Here the event loop of Granian waits (RSGI), for all at once. Then
Flask answers: on the loop's own thread where the view says how it waits, in another one where it
may block. Knows HTTP and nothing of callbacks.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

# Documented, and without a stub.
from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope  # type: ignore[attr-defined]

from ingest.waiting import on_loop
from schemas.errors import TooSlowError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# For whoever watches over the process, who may have to wait for Redis.
_THREADS = 8
# The largest recorded callback has 1 KiB. To take apart a request that is as large as may be costs
# some 20 ms, which anybody can ask for without a signature: it must not have the loop to itself,
# and few threads share the interpreter with it.
_LARGE_BYTES = 8 * 1024
_THREADS_FOR_LARGE = 2
# Twilio's body comes with its head, and Twilio gives up a connection after 5 s itself
# (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
_BODY_SECONDS = 5.0

_Answer = tuple[int, list[tuple[str, str]], bytes]


class Gateway:
    """An RSGI application that has a WSGI application answer.

    https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md
    """

    def __init__(
        self,
        app: WSGIApplication,
        max_body_bytes: int,
        *,
        on_loop: Collection[str] = (),
        stop: Callable[[], None] = lambda: None,
        body_seconds: float = _BODY_SECONDS,
    ) -> None:
        """Set up the threads.

        Args:
            app: is given a body that lies in memory, or one that raises TooSlowError when read.
            max_body_bytes: of a longer one no more than this is read. A body that announces that
                it is longer is not read at all.
            on_loop: the paths whose views wait for nothing, or as `ingest.waiting` has it.
            stop: called when the last request was answered, before the process ends.
            body_seconds: how long a body may take.
        """
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._on_loop = frozenset(on_loop)
        self._stop = stop
        self._body_seconds = body_seconds
        self._threads = ThreadPoolExecutor(_THREADS, "door")
        self._threads_for_large = ThreadPoolExecutor(_THREADS_FOR_LARGE, "large")

    def __rsgi_del__(self, _loop: asyncio.AbstractEventLoop) -> None:
        """End: Granian calls this, and its processes, being forked, do not come to `atexit`."""
        self._stop()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        headers = _joined(scope.headers.items())
        body = await self._body(headers, protocol)
        environ = _environ(scope, headers, body)
        waits = scope.path not in self._on_loop
        if waits or len(scope.query_string) + body.size > _LARGE_BYTES:
            loop = asyncio.get_running_loop()
            threads = self._threads if waits else self._threads_for_large
            answer = await loop.run_in_executor(threads, _answer, self._app, environ)
        else:
            answer = await on_loop(_answer, self._app, environ)
        protocol.response_bytes(*answer)

    async def _body(self, headers: dict[str, str], protocol: HTTPProtocol) -> _Body | _NoBody:
        chunked = "transfer-encoding" in headers
        # The server has made sure that it is a number.
        length = int(headers.get("content-length") or 0)
        if length > self._max_body_bytes or not (length or chunked):
            return _Body(b"")
        try:
            async with asyncio.timeout(self._body_seconds):
                return _Body(await self._chunks(protocol) if chunked else await protocol())
        except TimeoutError:
            return _NoBody(TooSlowError())
        except ProtocolClosed:
            # What Werkzeug makes a 400 of, should anybody be there to read it.
            return _NoBody(ConnectionError("The body was broken off."))

    async def _chunks(self, protocol: HTTPProtocol) -> bytes:
        body = bytearray()
        async for chunk in protocol:
            body += chunk
            if len(body) >= self._max_body_bytes:
                break
        return bytes(body)


class _Body(io.BytesIO):
    """A body that lies in memory."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.size = len(body)


class _NoBody(io.RawIOBase):
    """Stands for a body that has not come, so that who does not read it need not care."""

    size = 0

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def readinto(self, _buffer: Any) -> int:
        raise self._error


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Several headers of one name become one, joined by a comma (RFC 9110 5.3)."""
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _environ(scope: Scope, headers: dict[str, str], body: io.IOBase) -> dict[str, Any]:
    """https://peps.python.org/pep-3333/#environ-variables."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": _latin(scope.path),
        "QUERY_STRING": _latin(scope.query_string),
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        # X_Forwarded_Host would arrive under the same key as X-Forwarded-Host, which a proxy sets.
        if "_" not in name:
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    # These two alone have no prefix.
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if f"HTTP_{name}" in environ:
            environ[name] = environ.pop(f"HTTP_{name}")
    return environ


def _latin(text: str) -> str:
    """Text as WSGI hands it over: one character a byte."""
    return text if text.isascii() else text.encode().decode("latin-1")


def _answer(app: WSGIApplication, environ: dict[str, Any]) -> _Answer:
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc: Any = None) -> Any:
        started[:] = [(status, headers)]

    chunks = app(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    status, headers = started[0]
    return int(status[:3]), headers, body
