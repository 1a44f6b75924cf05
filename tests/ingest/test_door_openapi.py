"""`/openapi.json`: that it is valid, says what the schemas say, and that the door does as it says.

Schemathesis makes requests from the document, both such as it allows and such as it does not; they
are signed as Twilio signs them, below Schemathesis and byte for byte, or only the 403 would be
tried.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

import jsonschema_rs
import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

from ingest.app import create_app
from ingest.form import read_form
from ingest.inbox import Inbox
from ingest.openapi import openapi_document
from schemas.callbacks import SCHEMAS
from schemas.errors import RefusedError, RollcallError
from schemas.settings import Settings

DOCUMENT = openapi_document()
URL = "https://rollcall.example/callbacks"
# The names that the document has for them.
CALLBACKS = ("POST /callbacks", "GET /callbacks")
OTHERS = ("GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.json")
AS_THE_DOCUMENT_SAYS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


class Signing:
    """A WSGI application that signs what passes through it."""

    def __init__(self, app: Flask, token: str) -> None:
        self._app = app
        self._validator = RequestValidator(token)
        self.statuses: Counter[int] = Counter()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        raw = environ["wsgi.input"].read()
        environ["wsgi.input"] = io.BytesIO(raw)
        query = environ["QUERY_STRING"]
        posted = environ["REQUEST_METHOD"] == "POST"
        form = MultiDict(read_form(raw).pairs if posted else [])
        url = f"{URL}?{query}" if query else URL
        environ["HTTP_X_TWILIO_SIGNATURE"] = self._validator.compute_signature(url, form)

        def counted(status: str, *args: Any) -> Any:
            self.statuses[int(status[:3])] += 1
            return start_response(status, *args)

        return self._app(environ, counted)


@pytest.fixture
def app(settings: Settings, inbox: Inbox, bell: Any) -> Flask:
    return create_app(settings, inbox=inbox, doorbell=bell)


@pytest.fixture
def signing(app: Flask, settings: Settings) -> Signing:
    return Signing(app, settings.auth_tokens[0])


def cases(operation: str, app: Any, mode: GenerationMode) -> Any:
    """A strategy of requests that the document allows, or that it does not."""
    config = schemathesis.Config()
    schema = schemathesis.openapi.from_dict(DOCUMENT, config=config)
    schema.app = app
    [found] = [one.ok() for one in schema.get_all_operations() if one.ok().label == operation]
    return found.as_strategy(generation_mode=mode)


def each(strategy: Any, count: int, do: Callable[[Case], None]) -> None:
    """Do something with examples of a strategy."""

    @hypothesis_settings(
        max_examples=count,
        deadline=None,
        # How long Schemathesis takes to make a case, and how many it throws away, is its affair.
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def tried(case: Case) -> None:
        do(case)

    tried()


def test_it_is_served_as_it_is_made(app: Flask) -> None:
    answer = app.test_client().get("/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.json == DOCUMENT


def test_it_is_valid_openapi() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    assert DOCUMENT["openapi"] == "3.1.0"
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_the_check_would_see_that_it_is_not() -> None:
    broken = json.loads(json.dumps(DOCUMENT))
    del broken["paths"]["/callbacks"]["post"]["responses"]["204"]["description"]
    with pytest.raises(jsonschema_rs.ValidationError, match="description"):
        schemathesis.openapi.from_dict(broken).validate()


def test_it_names_every_path_of_the_application(app: Flask) -> None:
    named = {
        (path, method.upper()) for path, known in DOCUMENT["paths"].items() for method in known
    }
    routed = {
        (rule.rule, method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert named == routed


def test_it_names_every_reason_under_its_status() -> None:
    named = {
        (schema["properties"]["status"]["const"], reason)
        for response in DOCUMENT["components"]["responses"].values()
        for schema in [response["content"]["application/problem+json"]["schema"]]
        for reason in schema["properties"]["reason"]["enum"]
    }
    refusals = {(one.status, one.reason) for one in RefusedError.__subclasses__()}
    assert named == refusals | {(500, RollcallError.reason)}


def test_every_recorded_callback_fits_it(recorded: list[dict[str, Any]]) -> None:
    validator = validator_of("Callback")
    for one in recorded:
        validator.validate(one["params"])


def test_every_family_has_its_events_parameters_and_examples() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for event, schema in SCHEMAS.items():
        told = schemas[type(schema).__name__]
        assert event in told["properties"]["StatusCallbackEvent"]["enum"]
        assert set(told["properties"]) == {one.data_key for one in schema.fields.values()}
        assert set(told["required"]) == {
            one.data_key for one in schema.fields.values() if one.required
        }
        for one in schema.fields.values():
            parameter = told["properties"][one.data_key]
            assert parameter.get("examples", []) or "known" not in one.metadata
            if one.data_key != "StatusCallbackEvent":
                assert "enum" not in parameter


@pytest.mark.parametrize(
    "changes",
    [
        {"StatusCallbackEvent": "participant-reconnecting"},
        {"TrackKind": "hologram", "Brand": "new"},
        {"SequenceNumber": "many"},
        {"RoomSid": "RM" + "AB" * 16},
    ],
)
def test_what_is_accepted_fits_it(
    twilio: Any, recorded: list[dict[str, Any]], changes: dict[str, str]
) -> None:
    params = recorded[0]["params"] | changes
    validator_of("Callback").validate(params)
    assert twilio.post(urlencode(params)).status_code == 204


@pytest.mark.parametrize("operation", CALLBACKS)
def test_what_it_allows_is_answered_as_it_says_and_mostly_taken(
    operation: str, signing: Signing
) -> None:
    def send(case: Case) -> None:
        case.call_and_validate(checks=AS_THE_DOCUMENT_SAYS)

    each(cases(operation, signing, GenerationMode.POSITIVE), 80, send)
    assert set(signing.statuses) <= {204, 400}
    # What a schema cannot say, like that a 31st of June does not exist.
    assert signing.statuses[204] > signing.statuses[400]


@pytest.mark.parametrize("operation", CALLBACKS)
def test_what_it_does_not_allow_is_answered_as_it_says(operation: str, signing: Signing) -> None:
    def send(case: Case) -> None:
        case.call_and_validate(checks=AS_THE_DOCUMENT_SAYS)

    each(cases(operation, signing, GenerationMode.NEGATIVE), 80, send)
    # As text, much of what a schema does not allow is allowed; how much, the cases' chance decides.
    assert signing.statuses[400] > 0


@pytest.mark.parametrize("operation", CALLBACKS)
def test_without_a_signature_all_of_it_is_refused(operation: str, app: Flask) -> None:
    def send(case: Case) -> None:
        answer = case.call_and_validate(checks=AS_THE_DOCUMENT_SAYS)
        assert answer.status_code == 403

    each(cases(operation, app, GenerationMode.POSITIVE), 30, send)


@pytest.mark.parametrize("operation", OTHERS)
def test_the_other_paths_answer_as_it_says(operation: str, app: Flask) -> None:
    def send(case: Case) -> None:
        assert case.call_and_validate(checks=AS_THE_DOCUMENT_SAYS).status_code == 200

    each(cases(operation, app, GenerationMode.POSITIVE), 3, send)


def validator_of(name: str) -> Any:
    whole = {"components": DOCUMENT["components"], "$ref": f"#/components/schemas/{name}"}
    return jsonschema_rs.validator_for(whole)
