"""The Flask side of the plain receiver: verify, validate, have a task sent, 204."""

from __future__ import annotations

import os

from flask import Flask, abort, request
from twilio.request_validator import RequestValidator

from benchmarks.plain.tasks import apply_callback
from schemas.errors import MalformedError
from schemas.reading import check

app = Flask(__name__, static_folder=None)
_validator = RequestValidator(os.environ["TWILIO_AUTH_TOKEN"])
_url = os.environ["PUBLIC_URL"] + "/callbacks"


@app.post("/callbacks")
def receive() -> tuple[str, int]:
    """Take one callback."""
    if not _validator.validate(_url, request.form, request.headers.get("X-Twilio-Signature", "")):
        abort(403)
    params = request.form.to_dict()
    try:
        check(params)
    except MalformedError:
        abort(400)
    apply_callback.delay(params)
    return "", 204


@app.get("/healthz")
def health() -> tuple[str, int]:
    """Tell that the process runs."""
    return "", 200
