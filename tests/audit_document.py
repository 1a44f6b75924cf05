"""The tables of docs/audit.md: the record format, field by field, taken from the schema.

`make audit-format` writes them into the document; a test holds the document to the schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
from msgspec.inspect import type_info

from schemas.audit_reasons import REASONS
from schemas.audit_records import (
    CallbackRecord,
    CallbackSetAside,
    Chained,
    RoomRecord,
    RoomSettled,
    Terms,
    TimerElapsed,
    Totals,
    WorkerStarted,
)

DOCUMENT = Path(__file__).parent.parent / "docs" / "audit.md"
_BEGIN, _END = "<!-- fields: written by make audit-format -->\n", "<!-- end of fields -->\n"
# As JSON calls them, and how they are written.
_TYPES = {
    "str": "text",
    "int": "number",
    "bool": "true or false",
    "list": "array",
    "dict": "object",
}

_GROUPS: dict[str, type[msgspec.Struct]] = {
    "Every record of a room": Chained,
    "A record of a callback has as well": CallbackRecord,
    "`callback_set_aside` has as well": CallbackSetAside,
    "`timer_elapsed` has as well": TimerElapsed,
    "`room_settled` has as well": RoomSettled,
    "`totals`": Totals,
    "`worker_started`, in no chain": WorkerStarted,
    "`terms`": Terms,
}


def events() -> Iterator[tuple[str, str]]:
    """Every `event`, and what it says."""
    for one in (*get_args(RoomRecord), WorkerStarted):
        yield one.__struct_config__.tag, str(one.__doc__).splitlines()[0]


def fields_of(struct: type[msgspec.Struct]) -> dict[str, tuple[str, bool, str]]:
    """The fields that a struct adds: type, whether it is always there, and its meaning."""
    inherited = {
        name for base in struct.__bases__ for name in getattr(base, "__struct_fields__", ())
    }
    hints = get_type_hints(struct, include_extras=True)
    return {
        field.name: (
            _type(field.type),
            field.required,
            hints[field.name].__metadata__[0].description,
        )
        for field in msgspec.structs.fields(struct)
        if field.name not in inherited
    }


def tables() -> str:
    """Write all of it."""
    return "\n".join([*_tables(), ""])


def document() -> str:
    """The document with its tables as they should be."""
    begin, end = re.escape(_BEGIN), re.escape(_END)
    text = f"{_BEGIN}\n{tables()}\n{_END}"
    return re.sub(f"{begin}.*{end}", lambda _: text, DOCUMENT.read_text(), flags=re.DOTALL)


def _tables() -> Iterator[str]:
    yield from ("| `event` | what it says |", "|---|---|")
    yield from (f"| `{name}` | {says} |" for name, says in events())
    for title, struct in _GROUPS.items():
        yield from ("", f"**{title}**", "", "| field | type | what it is |", "|---|---|---|")
        for name, (type_, always, meaning) in fields_of(struct).items():
            there = "" if always else ", not always"
            yield f"| `{name}` | {type_}{there} | {meaning} |"
    yield from ("", "**`reasons`**: each has `why`, and beside it:", "")
    yield from ("| `why` | beside it | what it means |", "|---|---|---|")
    for why, reason in REASONS.items():
        told = ", ".join(f"`{name}`" for name in reason.tells) or "nothing"
        yield f"| `{why}` | {told} | {reason.meaning} |"


def _type(hint: object) -> str:
    kind = type_info(hint)
    if isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    names = [type(one).__name__.removesuffix("Type").lower() for one in kinds]
    named = [_TYPES.get(name, "object" if name == "struct" else name) for name in names]
    return " or ".join("null" if name == "none" else name for name in named if name != "unset")


def main() -> None:
    DOCUMENT.write_text(document())


if __name__ == "__main__":
    main()
