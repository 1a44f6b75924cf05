"""`/openapi.json`: the HTTP surface as an OpenAPI 3.1 document, made once from the schemas.

It says what the door insists on and no more: a parameter that may hold anything has no pattern,
and values that Twilio uses today are examples, since others are taken as well. Knows no settings:
where the door can be reached is for whoever registers the URL.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final, cast

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Blueprint, Response
from marshmallow.fields import Field

from ingest.callbacks import MAX_BODY_BYTES, MAX_PARAMETERS, MAX_VALUE_BYTES, PATH
from ingest.signature import HEADER
from schemas.callbacks import EVENT, SCHEMAS, Parsed, StatusCallback
from schemas.errors import RefusedError, RollcallError
from schemas.parsing import parse_count, parse_timestamp

OPENAPI: Final = "3.1.0"
_FORM: Final = "application/x-www-form-urlencoded"

_ABOUT = f"""\
Rollcall receives the status callbacks of Twilio Programmable Video.

Every refusal is an RFC 9457 problem with a stable `reason`. A path that is not named here is
answered 404 `not-found`, and a method that is not named 405 `method-not-allowed`; HEAD and OPTIONS
are named nowhere, and answered as usual everywhere but at {PATH}.
"""
_RECEIVES = f"""\
204 once the callback is durable. At most {MAX_BODY_BYTES} bytes of body and {MAX_PARAMETERS}
parameters, each once, of at most {MAX_VALUE_BYTES} bytes each. Events and parameters that are not
known are taken and kept, and so is an optional parameter that does not have its usual shape.
"""
_SIGNED = "https://www.twilio.com/docs/usage/security#validating-requests"
_TOKEN = {
    "name": "I-Twilio-Idempotency-Token",
    "in": "header",
    "description": "Kept for the audit.",
    "schema": {"type": "string"},
}


def openapi_document() -> dict[str, Any]:
    """Make the document."""
    plugin = MarshmallowPlugin()
    spec = APISpec(
        title="Rollcall",
        version=version("rollcall"),
        openapi_version=OPENAPI,
        info={"description": _ABOUT},
        plugins=[plugin],
    )
    # The plugin has one as soon as a specification has the plugin.
    converter = cast("OpenAPIConverter", plugin.converter)
    converter.map_to_openapi_type(Parsed, "string", None)
    converter.add_attribute_function(_shape)
    _add_callbacks(spec)
    _add_problems(spec)
    spec.components.security_scheme(
        "TwilioSignature",
        {"type": "apiKey", "in": "header", "name": HEADER, "description": _SIGNED},
    )
    _add_paths(spec)
    return spec.to_dict()


def openapi_views() -> Blueprint:
    """Make the view; the document is made now, and only once."""
    views = Blueprint("openapi", __name__)
    document = json.dumps(openapi_document())

    @views.get("/openapi.json")
    def read_document() -> Response:
        return Response(document, mimetype="application/json")

    return views


def _shape(_converter: Any, field: Field[Any], **_kwargs: Any) -> dict[str, Any]:
    """What is insisted on in a required parameter, and what is usual in another one."""
    if not isinstance(field, Parsed):
        return {}
    known = field.metadata.get("known")
    if known:
        return {"examples": list(known)}
    prefix = field.metadata.get("sid")
    if prefix:
        usual, pattern = f"{prefix} and 32 hex digits.", f"^{prefix}[0-9a-fA-F]{{32}}$"
        return {"description": usual, **({"pattern": pattern} if field.required else {})}
    if field.parse is parse_count:
        return {"description": "A whole number of at most 15 digits."}
    if field.parse is parse_timestamp:
        return {
            "description": "ISO 8601 with an offset and at most 9 decimals, from 1970 on.",
            "format": "date-time",
            # With an offset, 1970 may begin in 1969.
            "pattern": r"^(1969|19[7-9][0-9]|[2-9][0-9]{3})-[0-9]{2}-[0-9]{2}"
            r"T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$",
            "examples": ["2023-08-14T20:00:00.000Z"],
        }
    return {}


def _add_callbacks(spec: APISpec) -> None:
    """Add a schema for each family of events, one for all other events, and one for any of them."""
    families: dict[type[StatusCallback], list[str]] = {}
    for event, schema in SCHEMAS.items():
        families.setdefault(type(schema), []).append(event)
    for family, events in families.items():
        _add_family(spec, family, family.__name__, {"enum": events})
    other = "UnknownCallback"
    _add_family(spec, StatusCallback, other, {"not": {"enum": list(SCHEMAS)}})
    names = [*(family.__name__ for family in families), other]
    references = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    spec.components.schema("Callback", {"type": "object", "oneOf": references})


def _add_family(
    spec: APISpec, family: type[StatusCallback], name: str, events: dict[str, Any]
) -> None:
    spec.components.schema(name, schema=family)
    made = spec.components.schemas[name]
    made["description"] = family.__doc__
    made["properties"][EVENT] |= events
    made["additionalProperties"] = {"type": "string"}
    made["maxProperties"] = MAX_PARAMETERS


def _refusals() -> Iterator[tuple[int, list[str]]]:
    """The reasons of each status."""
    reasons: dict[int, list[str]] = {
        int(HTTPStatus.INTERNAL_SERVER_ERROR): [RollcallError.reason],
    }
    for kind in RefusedError.__subclasses__():
        reasons.setdefault(kind.status, []).append(kind.reason)
    yield from sorted(reasons.items())


def _add_problems(spec: APISpec) -> None:
    text = {"type": "string"}
    spec.components.schema(
        "Problem",
        {
            "description": "https://www.rfc-editor.org/rfc/rfc9457",
            "type": "object",
            "required": ["type", "title", "status", "reason"],
            "properties": {
                "type": {"type": "string", "pattern": "^urn:rollcall:problem:"},
                "title": text,
                "status": {"type": "integer"},
                "reason": text,
                "detail": text,
                "fields": {
                    "description": "What is wrong with each parameter at fault (`malformed`).",
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": text},
                },
                "names": {
                    "description": "The parameters at fault"
                    " (`repeated-parameter`, `value-too-long`).",
                    "type": "array",
                    "items": text,
                },
            },
        },
    )
    for status, reasons in _refusals():
        schema = {
            "allOf": [{"$ref": "#/components/schemas/Problem"}],
            "properties": {"status": {"const": status}, "reason": {"enum": reasons}},
        }
        spec.components.response(
            _name_of(status),
            {
                "description": ", ".join(f"`{reason}`" for reason in reasons),
                "content": {"application/problem+json": {"schema": schema}},
            },
        )


def _add_paths(spec: APISpec) -> None:
    callback = {"$ref": "#/components/schemas/Callback"}
    answers = {
        "204": {"description": "The callback is durable."},
        **_references(400, 403, 413, 500, 503),
    }
    receives = {
        "description": _RECEIVES,
        "security": [{"TwilioSignature": []}],
        "responses": answers,
    }
    query = {
        "name": "callback",
        "in": "query",
        "required": True,
        "style": "form",
        "explode": True,
        "schema": callback,
    }
    posted = {"required": True, "content": {_FORM: {"schema": callback}}}
    spec.path(
        PATH,
        operations={
            "post": {
                "summary": "Take a status callback.",
                "operationId": "postCallback",
                "parameters": [_TOKEN],
                "requestBody": posted,
                **receives,
            },
            "get": {
                "summary": "Take a status callback whose parameters are in the query.",
                "operationId": "getCallback",
                "parameters": [query, _TOKEN],
                **receives,
            },
        },
    )
    spec.path("/healthz", operations=_read("Whether the process runs.", {"200": _status("ok")}))
    ready = {"200": _status("ready", "spooling"), "503": _status("unavailable")}
    # Only where Redis answers. Stalled: no worker is at work, or too few.
    schema = ready["200"]["content"]["application/json"]["schema"]
    schema["properties"]["inbox"] = {"enum": ["flowing", "stalled"]}
    spec.path(
        "/readyz",
        operations=_read("Whether callbacks become durable: in Redis, or on the disk.", ready),
    )
    exposition = {
        "description": "Prometheus' text format.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    spec.path("/metrics", operations=_read("What the door counts.", {"200": exposition}))
    document = {
        "description": "This document.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    spec.path("/openapi.json", operations=_read("What the door answers.", {"200": document}))


def _read(summary: str, answers: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": {**answers, **_references(500)}}}


def _status(*states: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"enum": list(states)}},
    }
    return {
        "description": ", ".join(f"`{state}`" for state in states),
        "content": {"application/json": {"schema": schema}},
    }


def _references(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {"$ref": f"#/components/responses/{_name_of(status)}"} for status in statuses
    }


def _name_of(status: int) -> str:
    # Not in words: Python itself has renamed some of them.
    return f"Problem{status}"
