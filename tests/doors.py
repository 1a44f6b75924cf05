"""Web processes of a test's own, started as `rollcall web` starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twilio.request_validator import RequestValidator

from console.embedded import free_port

ROOT = Path(__file__).parent.parent
TOKEN = "a-token-of-the-tests"
URL = "https://rollcall.example/callbacks"
_START = """
from ingest.serve import serve
from schemas.settings import Settings
serve(Settings.from_environment())
"""


class Web:
    """A web process of its own, as `rollcall web` will start it."""

    def __init__(self, redis_url: str, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.folder = folder
        self.log = folder / "web.log"
        environment = {
            "PATH": os.environ["PATH"],
            "PORT": str(self.port),
            "REDIS_URL": redis_url,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "PUBLIC_URL": "https://rollcall.example",
            "TMPDIR": str(folder),
            **settings,
        }
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START],
                cwd=ROOT,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def ask(self, method: str, path: str, *args: Any, **kwargs: Any) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, *args, **kwargs)
            return connection.getresponse().status
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/healthz") == 200
        except OSError:
            return False

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def post(self, recorded: Mapping[str, Any]) -> int:
        """Send a recorded callback as Twilio would."""
        signature = RequestValidator(TOKEN).compute_signature(URL, recorded["params"])
        headers = recorded["headers"] | {
            "content-type": "application/x-www-form-urlencoded",
            "x-twilio-signature": signature,
        }
        headers.pop("connection", None)
        return self.ask("POST", "/callbacks", recorded["body"].encode(), headers)

    def metric(self, name: str, **labels: str) -> float:
        """Read one sample as Prometheus would."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        families = text_string_to_metric_families(text)
        samples = [one for family in families for one in family.samples]
        (value,) = [one.value for one in samples if (one.name, one.labels) == (name, labels)]
        return value
