"""The report of `rollcall doctor`: a line for each finding, or JSON. Judges nothing itself."""

from __future__ import annotations

import json

import click

from console.doctor.broker import look_at_broker
from console.doctor.data import look_at_data
from console.doctor.door import look_at_door
from console.sentences import printable
from schemas.settings import Settings
from workers.safety import Finding, Mark

_COLOURS: dict[Mark, str] = {"ok": "green", "warning": "yellow", "error": "red"}


def examine(settings: Settings, *, as_json: bool) -> bool:
    """Look at everything and print what was found; false where there is an error."""
    findings = [
        *look_at_data(settings),
        *look_at_broker(settings),
        *look_at_door(settings),
    ]
    healthy = all(one.mark != "error" for one in findings)
    if as_json:
        told = {"healthy": healthy, "findings": [one._asdict() for one in findings]}
        click.echo(json.dumps(told, indent=2))
    else:
        for one in findings:
            click.echo(line(one))
    return healthy


def line(found: Finding) -> str:
    mark = click.style(f"{found.mark:7}", fg=_COLOURS[found.mark])
    text = f"{found.what}; {found.todo}" if found.todo else found.what
    return f"{mark}  {found.reason:12}  {printable(text)}"
