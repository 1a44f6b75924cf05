"""One POST: what each outcome means, and that nothing is waited for without a bound."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import receivers
from receivers import Sink

from console.embedded import free_port
from workers.notify import post as post_module
from workers.notify.post import post
from workers.notify.steps import Failure


@pytest.fixture
def sink() -> Iterator[Sink]:
    with receivers.sink() as made:
        yield made


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_is_one(sink: Sink, status: int) -> None:
    sink.answer(status)
    assert post(f"http://127.0.0.1:{sink.port}/", b"{}", {"x-of": "ours"}) is None
    [posted] = sink.posted
    assert (posted.headers["user-agent"], posted.headers["x-of"]) == ("rollcall", "ours")


@pytest.mark.parametrize(
    ("status", "about_alert"),
    [
        (302, False),
        (400, True),
        (401, False),
        (404, False),
        (408, False),
        (409, True),
        (413, True),
        (422, True),
        (429, False),
        (500, False),
        (503, False),
    ],
)
def test_any_other_status_is_a_failure_of_the_target_or_of_the_alert(
    sink: Sink, status: int, *, about_alert: bool
) -> None:
    sink.answer(status)
    failure = post(f"http://127.0.0.1:{sink.port}/", b"{}", {})
    assert failure == Failure(f"status-{status}", about_alert=about_alert)


def test_nobody_there_is_a_failure_and_the_address_is_not_told() -> None:
    port = free_port()
    failure = post(f"http://hidden:hidden@127.0.0.1:{port}/hidden", b"{}", {})
    assert failure == Failure("connection", detail="ConnectionError")
    assert post("http://[hidden/", b"{}", {}) == Failure("connection", detail="InvalidURL")


def test_who_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_module, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert post(f"http://127.0.0.1:{port}/", b"{}", {}) == Failure("timeout")


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl: apt-get install openssl")
def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    refused: list[Exception] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True)
                except ssl.SSLError as error:
                    refused.append(error)

        thread = Thread(target=serve)
        thread.start()
        url = f"https://localhost:{listener.getsockname()[1]}/"
        assert post(url, b"{}", {}) == Failure("tls")
        thread.join(30)
    assert len(refused) == 1
