"""The demo: a recorded room and an eviction, played through the door with valid signatures.

It sends what Twilio would send and knows nothing of what comes of it. Every play has SIDs of its
own, since a callback that was heard before would be a duplicate.
"""

from __future__ import annotations

import json
import re
import secrets
import uuid
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import click
from twilio.request_validator import RequestValidator

from console.sentences import printable
from schemas.settings import Settings

# Slow enough for a person to follow, fast enough not to bore one.
_PACE_SECONDS = 0.08
# The events of one scene are out before the next is announced.
_BETWEEN_SECONDS = 1.5
_REPLY_SECONDS = 5.0

_FOLDER = Path(__file__).parent / "scenes"
_SID = re.compile(r"(AC|RM|PA|MT)[0-9a-f]{32}")


class Scene(NamedTuple):
    """A file of callbacks, one a line, and what it shows."""

    file: str
    title: str


SCENES = (
    Scene("recorded.jsonl", "a recorded room: two people join, mute, leave, and one comes back"),
    Scene(
        "eviction.jsonl", "an eviction: Dana joins from a second device, the first is thrown out"
    ),
)


def play(settings: Settings) -> Iterator[float]:
    """Play all scenes, a callback each step; yields how many seconds to let pass before the next.

    Args:
        settings: with the token to sign with.
    """
    account = min(settings.account_sids or settings.account_tokens, default=None)
    for scene in SCENES:
        callbacks = load(scene, account)
        click.echo(f"\nPlaying {scene.title} ({len(callbacks)} callbacks).")
        for callback in callbacks:
            said = send(callback, settings)
            if said != "204":
                event = callback["params"]["StatusCallbackEvent"]
                click.echo(f"The door answered {event} with {said} instead of 204.", err=True)
            yield _PACE_SECONDS
        yield _BETWEEN_SECONDS
    click.echo("\nThe demo is over; Rollcall keeps running until Ctrl-C.")


def load(scene: Scene, account: str | None = None) -> list[dict[str, Any]]:
    """Read the scene's one room, with fresh SIDs of the same shape, alike in every place.

    Args:
        scene: which.
        account: the AccountSid to use, where only certain ones are accepted.
    """
    fresh: dict[str, str] = {}

    def replaced(found: re.Match[str]) -> str:
        prefix = found[1]
        sid = account if prefix == "AC" and account else prefix + secrets.token_hex(16)
        return fresh.setdefault(found[0], sid)

    text = _SID.sub(replaced, (_FOLDER / scene.file).read_text())
    callbacks = [json.loads(line) for line in text.splitlines()]
    room_sid = callbacks[0]["params"]["RoomSid"]
    return [one for one in callbacks if one["params"]["RoomSid"] == room_sid]


def send(callback: dict[str, Any], settings: Settings) -> str:
    """Send one callback to the door on this machine, signed as Twilio would; return the answer."""
    host = f"localhost:{settings.port}"
    url = (settings.public_url or f"http://{host}") + "/callbacks"
    params = callback["params"]
    # Bound to other accounts, no token fits: the door says so.
    token = next(iter(settings.tokens_for([params["AccountSid"]])), "")
    signature = RequestValidator(token).compute_signature(url, params)
    headers = callback["headers"] | {
        "host": host,
        "i-twilio-idempotency-token": str(uuid.uuid4()),
        "x-twilio-signature": signature,
    }
    connection = HTTPConnection("127.0.0.1", settings.port, timeout=_REPLY_SECONDS)
    try:
        connection.request("POST", "/callbacks", callback["body"].encode(), headers)
        answer = connection.getresponse()
        told = answer.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        return f"no answer ({error!r})"
    finally:
        connection.close()
    return printable(f"{answer.status} {told}".strip())
