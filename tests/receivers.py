"""Receivers of alerts on loopback: an HTTP sink that can refuse, an SMTP server, Alertmanager."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller

from console.embedded import free_port

ALERTMANAGER = shutil.which("prometheus-alertmanager")
_BOUND_SECONDS = 30.0


class Posted(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Sink:
    """An HTTP server that keeps what it is sent, and answers as it is told to: 204 otherwise."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        # The statuses of the next answers, each with headers.
        self.answers: deque[tuple[int, dict[str, str]]] = deque()
        # What happens while a request waits for its answer.
        self.meanwhile: deque[Any] = deque()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                sink.posted.append(Posted(self.path, headers, body))
                if sink.meanwhile:
                    sink.meanwhile.popleft()()
                status, extra = sink.answers.popleft() if sink.answers else (204, {})
                self.send_response(status)
                for name, value in {"Content-Length": "0", **extra}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def answer(self, *statuses: int, **headers: str) -> None:
        self.answers.extend((status, headers) for status in statuses)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(_BOUND_SECONDS)
        self._server.server_close()


class MailServer:
    """An SMTP server; `mails` yields what it has accepted."""

    def __init__(self) -> None:
        self.mails: Queue[EmailMessage] = Queue()
        self.refuses = False
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    @property
    def url(self) -> str:
        """The address of a target, as Apprise takes it."""
        return (
            f"mailto://rollcall.example:{self.port}/ops@rollcall.example"
            "?from=rollcall@rollcall.example&smtp=127.0.0.1&mode=insecure"
        )

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.refuses:
            return "451 Try again later"
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.put(mail)
        return "250 OK"

    def close(self) -> None:
        self._controller.stop()


class Alertmanager:
    """Debian's Alertmanager, that notifies a sink at once of what it is told."""

    def __init__(self, folder: Path, sink: Sink, port: int | None = None) -> None:
        assert ALERTMANAGER
        folder.mkdir()
        self.port = port or free_port()
        config = {
            "global": {"resolve_timeout": "1s"},
            "route": {
                "receiver": "sink",
                "group_by": ["room_sid"],
                "group_wait": "0s",
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "inhibit_rules": [
                {
                    "source_matchers": ["severity=critical"],
                    "target_matchers": ["severity=warning"],
                    "equal": ["room_sid"],
                }
            ],
            "receivers": [
                {
                    "name": "sink",
                    "webhook_configs": [{"url": f"http://127.0.0.1:{sink.port}/notified"}],
                }
            ],
        }
        # YAML takes JSON.
        (folder / "alertmanager.yml").write_text(json.dumps(config))
        command = [ALERTMANAGER, f"--config.file={folder / 'alertmanager.yml'}"]
        command += [f"--storage.path={folder / 'data'}", "--cluster.listen-address="]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--web.route-prefix=/am"]
        self._said = (folder / "alertmanager.log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._said, stderr=subprocess.STDOUT)
        wait_until(self._is_ready, "Alertmanager is ready")

    @property
    def url(self) -> str:
        return f"alertmanager://127.0.0.1:{self.port}/am"

    def alerts(self) -> list[dict[str, Any]]:
        """What it believes to be firing."""
        return list(json.loads(self._asked("GET", "/am/api/v2/alerts")[1]))

    def silence(self, label: str, value: str, until: str) -> None:
        matcher = {"name": label, "value": value, "isRegex": False, "isEqual": True}
        silence = {"matchers": [matcher], "startsAt": "2020-01-01T00:00:00Z", "endsAt": until}
        told = json.dumps(silence | {"createdBy": "a test", "comment": "maintenance"})
        assert self._asked("POST", "/am/api/v2/silences", told)[0] == 200

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(_BOUND_SECONDS)
        self._said.close()

    def _is_ready(self) -> bool:
        try:
            return self._asked("GET", "/am/-/ready")[0] == 200
        except ConnectionRefusedError:
            return False

    def _asked(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_BOUND_SECONDS)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def sink() -> Iterator[Sink]:
    server = Sink()
    try:
        yield server
    finally:
        server.close()


def wait_until(condition: Any, what: str) -> None:
    """Wait for another process, which gives no sign."""
    deadline = time.monotonic() + _BOUND_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
