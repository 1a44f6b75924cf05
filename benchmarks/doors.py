"""Doors that do less than Rollcall's: what the parts could do if the rest cost nothing.

`python -m benchmarks.doors bare` answers 204 with no work, on Granian as it comes. `gateway` does
the same, served as Rollcall serves its door. `checked` is Rollcall's door without the deposit: it
verifies, validates and logs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from flask import Flask
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from ingest import serve
from ingest.app import from_environment
from ingest.callbacks import MAX_BODY_BYTES, PATH
from ingest.deposits import Deposits
from ingest.gateway import Gateway
from ingest.receipts import Receipt
from schemas.logs import Lines, configure_logs
from schemas.reading import room_of
from schemas.settings import Settings


def bare() -> Flask:
    """Make an application that answers 204 without looking."""
    app = Flask("bare", static_folder=None)

    @app.post("/callbacks")
    def receive() -> tuple[str, int]:
        return "", 204

    @app.get("/healthz")
    def health() -> tuple[str, int]:
        return "", 200

    return app


def gateway() -> Gateway:
    """Make the same, behind what reads requests whole for Rollcall."""
    configure_logs(Lines(1), "web")
    return Gateway(bare(), MAX_BODY_BYTES, on_loop=(PATH,))


def checked() -> Any:
    """Make Rollcall's own application, but what it deposits is taken and kept nowhere."""

    def take(_: Deposits, params: Mapping[str, str], _token: str) -> Receipt:
        return Receipt(room_of(params), 0, "0-0")

    setattr(Deposits, "deposit", take)  # noqa: B010  # in its place, as said
    return from_environment()


def _serve_bare(port: int) -> None:
    Granian(
        "benchmarks.doors:bare",
        factory=True,
        interface=Interfaces.WSGI,
        address="127.0.0.1",
        port=port,
        log_level=LogLevels.error,
    ).serve()


def main() -> None:
    name = sys.argv[1]
    if name == "bare":
        _serve_bare(int(os.environ["PORT"]))
        return

    def like_rollcall(target: str, **options: Any) -> Any:  # noqa: ARG001  # ours is served
        return Granian(f"benchmarks.doors:{name}", **options)

    # Whatever options Rollcall serves its own door with are these doors' too.
    setattr(serve, "Granian", like_rollcall)  # noqa: B010  # in its place
    serve.serve(Settings.from_environment())


if __name__ == "__main__":
    main()
