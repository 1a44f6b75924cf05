"""Behind nginx, which ends TLS, set up as deploy/nginx.conf says."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from procfile import ROOT, healthy, processes, wait_for
from redis import Redis
from twilio.request_validator import RequestValidator

from console.embedded import EmbeddedRedis, free_port
from schemas.keys import Keyspace

HOST = "rollcall.example"
URL = f"https://{HOST}/callbacks"
TOKEN = "a-token-of-the-tests"
SLOW_CLIENTS = 200
PARAMS = {
    "AccountSid": "AC" + "0" * 32,
    "RoomSid": "RM" + "0" * 32,
    "RoomName": "Room 1",
    "StatusCallbackEvent": "room-created",
    "Timestamp": "2023-08-14T20:03:25.609Z",
}
BODY = urlencode(PARAMS, quote_via=quote).encode()
# Not on the PATH of everybody.
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
OPENSSL = shutil.which("openssl")

pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="needs nginx: apt-get install nginx-light"),
    pytest.mark.skipif(OPENSSL is None, reason="needs openssl: apt-get install openssl"),
]

# What Debian's own nginx.conf holds around conf.d, and everything in the test's own folder.
FRAME = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include {sample};
}}
"""


def signature(url: str = URL, params: Mapping[str, str] = PARAMS) -> dict[str, str]:
    made = RequestValidator(TOKEN).compute_signature(url, dict(params))
    return {"X-Twilio-Signature": made, "Content-Type": "application/x-www-form-urlencoded"}


class Nginx:
    """One of the test's own, in front of the web process on `upstream`."""

    def __init__(self, folder: Path, upstream: int) -> None:
        self.port = free_port()
        self.log = folder / "nginx.log"
        self._certificate = folder / "rollcall.pem"
        key = folder / "rollcall.key"
        _make_certificate(self._certificate, key)
        sample = (ROOT / "deploy" / "nginx.conf").read_text()
        for said, meant in (
            ("443 ssl", f"127.0.0.1:{self.port} ssl"),
            ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
            ("/etc/ssl/rollcall.pem", str(self._certificate)),
            ("/etc/ssl/private/rollcall.key", str(key)),
        ):
            assert said in sample
            sample = sample.replace(said, meant)
        (folder / "rollcall.conf").write_text(sample)
        (folder / "nginx.conf").write_text(FRAME.format(sample=folder / "rollcall.conf"))
        assert NGINX is not None
        # The log named by -e stands for the one compiled in, which is the system's.
        command = [NGINX, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(self._listens)
        except BaseException:
            self.stop()
            raise

    def _listens(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def connect(self, name: str = HOST) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self._certificate))
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=5.0)
        return context.wrap_socket(plain, server_hostname=name)

    def send(self, method: str, target: str, body: bytes = b"", **headers: str) -> int:
        """Send a request as Twilio would; return the status."""
        connection = HTTPConnection(HOST, timeout=5.0)
        connection.sock = self.connect()
        return _status(connection, method, target, body, _named(headers))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10.0)


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _status(
    connection: HTTPConnection, method: str, target: str, body: bytes, headers: Mapping[str, str]
) -> int:
    try:
        connection.request(method, target, body, dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()


def _make_certificate(certificate: Path, key: Path) -> None:
    assert OPENSSL is not None
    command = [OPENSSL, "req", "-x509", "-nodes", "-days", "1", "-subj", f"/CN={HOST}"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-addext", f"subjectAltName=DNS:{HOST}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


Start = Callable[..., tuple[Nginx, int]]


@pytest.fixture
def started(private_redis: EmbeddedRedis, tmp_path: Path) -> Iterator[Start]:
    """Start a web process with these settings, and nginx before it; give that and the port."""
    with ExitStack() as stack:

        def start(**settings: str) -> tuple[Nginx, int]:
            port = free_port()
            environment = {
                "PATH": os.environ["PATH"],
                "REDIS_URL": private_redis.url,
                "TWILIO_AUTH_TOKEN": TOKEN,
                "PORT": str(port),
                "ROLLCALL_SPOOL_DIR": str(tmp_path / "spool"),
                **settings,
            }
            stack.enter_context(processes(environment, tmp_path))("web")
            folder = tmp_path / "nginx"
            folder.mkdir()
            nginx = Nginx(folder, port)
            stack.callback(nginx.stop)
            wait_for(lambda: healthy(port))
            return nginx, port

        yield start


PUBLIC = {"PUBLIC_URL": f"https://{HOST}"}
TRUSTING = {"ROLLCALL_TRUSTED_PROXIES": "1"}


@pytest.mark.parametrize("settings", [PUBLIC, TRUSTING], ids=["PUBLIC_URL", "trusted proxy"])
def test_behind_nginx_what_twilio_signed_for_the_public_url_is_taken_and_nothing_else(
    started: Start, settings: dict[str, str]
) -> None:
    nginx, _ = started(**settings)
    query, in_query = BODY.decode(), "a=b%20c&bodySHA256=d"
    assert nginx.send("POST", "/callbacks", BODY, **signature()) == 204
    assert nginx.send("GET", f"/callbacks?{query}", **signature(f"{URL}?{query}", {})) == 204
    own_query = signature(f"{URL}?{in_query}")
    assert nginx.send("POST", f"/callbacks?{in_query}", BODY, **own_query) == 204
    assert nginx.send("POST", "/callbacks", BODY) == 403
    assert nginx.send("POST", "/callbacks", BODY + b"x", **signature()) == 403
    for url in (f"http://{HOST}/callbacks", "https://evil.example/callbacks"):
        assert nginx.send("POST", "/callbacks", BODY, **signature(url)) == 403


@pytest.mark.parametrize("settings", [PUBLIC, TRUSTING], ids=["PUBLIC_URL", "trusted proxy"])
def test_forwarding_headers_of_a_client_are_not_believed_behind_nginx(
    started: Start, settings: dict[str, str]
) -> None:
    nginx, _ = started(**settings)
    forged = {
        "X_Forwarded_Host": "evil.example",
        "X_Forwarded_Proto": "http",
        "X_Forwarded_For": "192.0.2.1",
        "Forwarded": "host=evil.example;proto=http",
    }
    assert nginx.send("POST", "/callbacks", BODY, **signature(), **forged) == 204
    for url in ("http://evil.example/callbacks", "https://evil.example/callbacks"):
        assert nginx.send("POST", "/callbacks", BODY, **signature(url), **forged) == 403


def test_a_request_for_another_host_gets_no_answer_from_nginx(started: Start) -> None:
    nginx, _ = started(**TRUSTING)
    evil = signature("https://evil.example/callbacks")
    # http.client says this of a connection that ends before the answer.
    with pytest.raises(ConnectionError):
        nginx.send("POST", "/callbacks", BODY, **evil, Host="evil.example")
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        nginx.connect("evil.example")


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/healthz", "/openapi.json", "/"])
def test_nginx_passes_nothing_on_but_callbacks(started: Start, path: str) -> None:
    nginx, _ = started(**PUBLIC)
    assert nginx.send("GET", path) == 404


def test_a_door_that_trusts_no_proxy_ignores_forwarding_headers(started: Start) -> None:
    _, port = started()
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    own = f"http://127.0.0.1:{port}/callbacks"
    for url, status in ((own, 204), ("https://evil.example/callbacks", 403)):
        connection = HTTPConnection("127.0.0.1", port, timeout=5.0)
        headers = signature(url) | forged
        assert _status(connection, "POST", "/callbacks", BODY, headers) == status


def test_behind_nginx_a_callback_is_answered_within_a_second_beside_200_slow_clients(
    started: Start, private_redis: EmbeddedRedis, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    nginx, _ = started(**PUBLIC)
    head = [f"POST /callbacks HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(BODY)}"]
    head += [f"{name}: {value}" for name, value in signature().items()]
    seconds = []
    with ExitStack() as stack:
        slow = [stack.enter_context(nginx.connect()) for _ in range(SLOW_CLIENTS)]
        for client in slow:
            client.sendall("\r\n".join([*head, "", ""]).encode())
        for at in range(8):
            for client in slow:
                client.sendall(BODY[at : at + 1])
            began = time.monotonic()
            assert nginx.send("POST", "/callbacks", BODY, **signature()) == 204
            seconds.append(time.monotonic() - began)
        # They are slow and not wrong: each is answered once it has sent all of it.
        for client in slow:
            client.sendall(BODY[8:])
        answers = [client.recv(12) for client in slow]
    assert max(seconds) < 1.0, seconds
    assert answers == [b"HTTP/1.1 204"] * SLOW_CLIENTS
    with Redis.from_url(private_redis.url) as redis:
        shards = [Keyspace("rollcall").shard(number).inbox for number in range(8)]
        # Two hundred at once may well be too many for Redis on a busy machine; the rest is spooled
        # and comes in a moment.
        eventually(lambda: sum(map(redis.xlen, shards)) >= SLOW_CLIENTS + len(seconds))
