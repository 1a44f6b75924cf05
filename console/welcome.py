"""What `rollcall up` says to the person who started it. Texts only; nothing is done here."""

from __future__ import annotations

from pathlib import Path

from schemas.settings import Settings

# Stands for the embedded server's URL until that is known.
EMBEDDED = "redis://embedded"

READY = "Ready. Derived events and alerts follow as they come (times are UTC).\n"
STOPPING = "\nStopping ..."
STOPPED = "Stopped."

_REGISTER = """\
Callback URL   {url}
  Register it as StatusCallback on POST /v1/Rooms, or for all rooms of the account in the Console
  under Video > Rooms > Settings. Twilio must be able to reach it: put a public https URL or a
  tunnel in front of port {port}{hint}.
"""

_DEVELOPMENT = """\
Token          made for this run, since TWILIO_AUTH_TOKEN is not set
  Only what is signed with it is accepted: the demo is, Twilio's callbacks are not. For real use set
  TWILIO_AUTH_TOKEN to the account's primary token.
"""

_PLACES = """\
Redis          {redis}
Logs           {logs} (web.log, beat.log; worker.log holds the audit lines)
Read events    redis-cli -u {quoted} XREAD BLOCK 0 STREAMS {prefix}:events {prefix}:alerts 0 0
  or, in words: REDIS_URL={quoted} rollcall events --all
Stop           Ctrl-C
"""


def welcome(settings: Settings, state: Path, *, embedded: bool, made_token: bool) -> str:
    """Say where to register, where things are, and how to stop."""
    url = (settings.public_url or f"http://localhost:{settings.port}") + "/callbacks"
    hint = "" if settings.public_url else ", and set PUBLIC_URL to it"
    paragraphs = [_REGISTER.format(url=url, port=settings.port, hint=hint)]
    if made_token:
        paragraphs.append(_DEVELOPMENT)
    paragraphs.append(
        _PLACES.format(
            redis=f"embedded, its data in {state / 'redis'}" if embedded else "REDIS_URL",
            logs=state / "logs",
            # A URL of the operator's may hold a password, which the shell knows as well.
            quoted=settings.redis_url if embedded else '"$REDIS_URL"',
            prefix=settings.prefix,
        )
    )
    return "\n".join(["", *paragraphs])
