"""The gateway: slow bodies cost no thread, and WSGI is given what was sent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from granian.rsgi import ProtocolClosed
from prometheus_client.parser import text_string_to_metric_families
from rsgi import Request

from ingest.app import create_app
from ingest.gateway import Gateway
from ingest.inbox import Inbox
from schemas.settings import Settings

# More than the door has threads.
SLOW_CLIENTS = 300
HEAD = b"POST /callbacks HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: none\r\n"
LIMIT = 100


class BrokenOff(Request):
    async def __call__(self) -> bytes:
        raise ProtocolClosed


class Echo:
    """A WSGI application that keeps what it was given."""

    def __init__(self) -> None:
        self.environ: dict[str, Any] = {}
        self.body = b""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        self.environ = environ
        self.body = environ["wsgi.input"].read()
        start_response("204 NO CONTENT", [("X-Told", "yes")])
        return iter([b"o", b"k"])


def send(request: Request, app: Any, seconds: float = 30.0) -> Request:
    gateway = Gateway(app, LIMIT, body_seconds=seconds)
    asyncio.run(gateway.__rsgi__(request.scope, request))  # type: ignore[arg-type]
    return request


def test_a_request_arrives_as_it_was_sent_and_is_answered_as_it_was_answered() -> None:
    echo = Echo()
    sent = (("host", "x"), ("content-type", "text/plain"), ("content-length", "4"), ("x-a-b", "1"))
    request = send(Request(*sent, chunks=(b"bo", b"dy")), echo)
    assert echo.body == b"body"
    told = {name: value for name, value in echo.environ.items() if not name.startswith("wsgi.")}
    assert told == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/callbacks",
        "QUERY_STRING": "a=1",
        "SERVER_NAME": "10.0.0.1",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "4",
        "HTTP_HOST": "x",
        "HTTP_X_A_B": "1",
    }
    assert (request.status, request.headers, request.body) == (204, [("X-Told", "yes")], b"ok")


def test_headers_of_one_name_are_joined_so_that_two_signatures_fit_nothing() -> None:
    echo = Echo()
    send(Request(("x-twilio-signature", "a"), ("x-twilio-signature", "b")), echo)
    assert echo.environ["HTTP_X_TWILIO_SIGNATURE"] == "a,b"


def test_an_underscore_does_not_make_a_header_look_like_one_that_a_proxy_sets() -> None:
    echo = Echo()
    send(Request(("x_forwarded_host", "evil.example")), echo)
    assert "HTTP_X_FORWARDED_HOST" not in echo.environ


def test_text_that_is_not_ascii_is_handed_over_byte_for_byte() -> None:
    echo = Echo()
    request = Request()
    request.scope.path = "/callb\u00e4cks"
    send(request, echo)
    assert echo.environ["PATH_INFO"].encode("latin-1") == "/callb\u00e4cks".encode()


def test_a_body_that_announces_more_than_is_allowed_is_not_read() -> None:
    request = Request(("content-length", str(LIMIT + 1)), chunks=(b"x",), ends=False)
    echo = Echo()
    send(request, echo)
    assert (request.read, echo.body) == (0, b"")


def test_of_a_body_without_a_length_no_more_than_is_allowed_is_read() -> None:
    chunks = tuple(b"x" * 40 for _ in range(1000))
    request = send(Request(("transfer-encoding", "chunked"), chunks=chunks), Echo())
    assert LIMIT <= request.read < LIMIT + 40


@pytest.mark.parametrize("length", [("content-length", "9"), ("transfer-encoding", "chunked")])
def test_a_body_that_does_not_come_in_time_is_answered_408_and_counted(
    settings: Settings, inbox: Inbox, bell: Any, length: tuple[str, str]
) -> None:
    app = create_app(settings, inbox=inbox, doorbell=bell)
    signed = ("x-twilio-signature", "none")
    request = send(Request(signed, length, chunks=(b"a",), ends=False), app, seconds=0.01)
    assert request.status == 408
    assert b'"reason": "too-slow"' in request.body
    families = text_string_to_metric_families(app.test_client().get("/metrics").text)
    samples = [one for family in families for one in family.samples]
    counts = {one.name: one.value for one in samples if one.labels == {"reason": "too-slow"}}
    assert counts["rollcall_callbacks_refused_total"] == 1


def test_who_does_not_need_the_body_does_not_care_that_it_did_not_come(
    settings: Settings, inbox: Inbox, bell: Any
) -> None:
    app = create_app(settings, inbox=inbox, doorbell=bell)
    request = send(Request(("content-length", "9"), ends=False), app, seconds=0.01)
    assert (request.status, b"signature-missing" in request.body) == (403, True)


def test_a_body_that_is_broken_off_is_malformed(
    settings: Settings, inbox: Inbox, bell: Any
) -> None:
    app = create_app(settings, inbox=inbox, doorbell=bell)
    request = send(BrokenOff(("x-twilio-signature", "none"), ("content-length", "9")), app)
    assert (request.status, b'"reason": "malformed"' in request.body) == (400, True)


def test_what_the_application_iterates_over_is_closed() -> None:
    closed = []

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            raise ZeroDivisionError

        def close(self) -> None:
            closed.append(True)

    def app(_environ: Any, start_response: Callable[..., Any]) -> Chunks:
        start_response("200 OK", [])
        return Chunks()

    with pytest.raises(ZeroDivisionError):
        send(Request(), app)
    assert closed == [True]


def test_beside_300_clients_that_send_no_body_a_callback_is_taken(
    web: Any, recorded: list[dict[str, Any]]
) -> None:
    with ExitStack() as stack:
        address = ("127.0.0.1", web.port)
        for _ in range(SLOW_CLIENTS):
            slow = stack.enter_context(socket.create_connection(address, timeout=10))
            slow.sendall(HEAD + b"Content-Length: 9\r\n\r\na")
        assert web.post(recorded[0]) == 204
