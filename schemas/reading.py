"""Reading callbacks: what the door insists on, and what the drain takes from what it let in.

The schemas say which parameters there are (`callbacks`); here they are asked as fast as can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from marshmallow import EXCLUDE, Schema

from schemas.callbacks import (
    EVENT,
    PARAMETERS,
    PARSERS,
    SCHEMAS,
    UNKNOWN_EVENT,
    Parsers,
    parsers_of,
)
from schemas.errors import IndigestibleError, MalformedError
from schemas.parsing import parse_sid

# The required parameters of each schema.
_INSISTED_ON: dict[Schema, Parsers] = {
    schema: {
        name: (attribute, parse)
        for name, (attribute, parse) in parsers_of(schema).items()
        if schema.fields[attribute].required
    }
    for schema in (*SCHEMAS.values(), UNKNOWN_EVENT)
}
# Of each schema what is insisted on, and nothing else: what it would say of the others, and of what
# it does not know, has no consequence at the door.
_STRICT: dict[Schema, Schema] = {
    schema: type(schema)(
        only=tuple(attribute for attribute, _ in parsers.values()), unknown=EXCLUDE
    )
    for schema, parsers in _INSISTED_ON.items()
}


def check(params: Mapping[str, str]) -> None:
    """Check the parameters of a callback, as the door must before it accepts one.

    Only what nothing can be concluded without is insisted on: to refuse a callback is to lose it,
    since Twilio normally does not send it again. An optional parameter that cannot be read is kept
    and reported, like an unknown one.

    Raises:
        MalformedError: names each parameter at fault, and why.
    """
    schema = SCHEMAS.get(params.get(EVENT, ""), UNKNOWN_EVENT)
    # The schema names faults, which nearly no callback has, and costs ten times what its own
    # parsers do.
    if _holds_all(_INSISTED_ON[schema], params):
        return
    faults = _STRICT[schema].validate(params)
    if faults:
        raise MalformedError({str(name): list(why) for name, why in faults.items()})


def _holds_all(parsers: Parsers, params: Mapping[str, Any]) -> bool:
    """Whether every parameter of `parsers` is there, is text and can be read."""
    try:
        for name, (_, parse) in parsers.items():
            if not isinstance(value := params[name], str):
                return False
            parse(value)
    except (KeyError, ValueError):
        return False
    return True


_parse_room_sid = parse_sid("RM")


def room_of(params: Mapping[str, str]) -> str:
    """The room that a checked callback belongs to, which also decides its shard.

    An unknown event without a RoomSid of the usual shape belongs to the pseudo-room AccountSid.
    """
    try:
        return _parse_room_sid(params["RoomSid"])
    except (KeyError, ValueError):
        return params["AccountSid"]


class Reading(NamedTuple):
    """A callback's parameters, read."""

    # Those that are known, by the attribute names of the schemas.
    values: dict[str, Any]
    # What there is to report: parameters that are unknown or cannot be read, and all parameters of
    # an event that is unknown; as they came.
    strange: dict[str, str]


def read(params: Mapping[str, str]) -> Reading:
    """Read the parameters of a checked callback: the fast way of the drain, without validation.

    Raises:
        IndigestibleError: a required parameter is missing or cannot be read. That does not pass
            the door.
    """
    schema = SCHEMAS.get(params.get(EVENT, ""), UNKNOWN_EVENT)
    parsers = PARAMETERS if schema is UNKNOWN_EVENT else PARSERS[schema]
    values: dict[str, Any] = {}
    strange: dict[str, str] = {}
    for name, value in params.items():
        if name in parsers:
            attribute, parse = parsers[name]
            try:
                values[attribute] = parse(value)
            except ValueError:
                strange[name] = value
        elif name not in PARAMETERS:
            strange[name] = value
    for name, (attribute, _) in _INSISTED_ON[schema].items():
        if attribute not in values:
            raise IndigestibleError(f"{params.get(EVENT)} without a {name} that can be read.")
    return Reading(values, dict(params) if schema is UNKNOWN_EVENT else strange)
