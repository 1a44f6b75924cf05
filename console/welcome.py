"""What `rollcall up` says to the person who started it. Texts only; nothing is done here."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from console.embedded import EmbeddedRedis
from schemas.settings import Settings

# Stands for the embedded server's URL until that is known.
EMBEDDED = "redis://embedded"

READY = "Ready. Derived events and alerts follow as they come (times are UTC).\n"
INVENTED = """\
The demo plays invented rooms through the door: their events and alerts go into the streams of
REDIS_URL, among those of real rooms.\
"""
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

_SNAPSHOTS = """\
Snapshots      http://localhost:{port}/api/rooms, for whoever shows a token of ROLLCALL_API_TOKEN
"""

_PLACES = """\
Redis          {redis}
Logs           {logs} (web.log, beat.log; worker.log holds the audit lines)
Read events    in another terminal:
{reading}
Stop           Ctrl-C
"""

# The secrets stand in files, so that none is left on a screen or in a list of processes.
_READ_EMBEDDED = """\
  export REDIS_URL="$(cat {url_file})"
  {rollcall} events --all
  or, entry by entry:
  REDISCLI_AUTH="$(cat {password_file})" {redis_cli} -p {port} {xread}"""

_READ = """\
  {rollcall} events --all
  or, entry by entry:
  {redis_cli} -u "$REDIS_URL" --no-auth-warning {xread}"""


def welcome(
    settings: Settings, state: Path, *, embedded: EmbeddedRedis | None, made_token: bool
) -> str:
    """Say where to register, where things are, and how to stop.

    Args:
        settings: of this run.
        state: the folder of everything that is kept.
        embedded: the server, unless REDIS_URL names one.
        made_token: whether the token was made for this run.
    """
    url = (settings.public_url or f"http://localhost:{settings.port}") + "/callbacks"
    hint = "" if settings.public_url else ", and set PUBLIC_URL to it"
    paragraphs = [_REGISTER.format(url=url, port=settings.port, hint=hint)]
    if made_token:
        paragraphs.append(_DEVELOPMENT)
    if settings.api_tokens:
        paragraphs.append(_SNAPSHOTS.format(port=settings.console_port))
    paragraphs.append(
        _PLACES.format(
            redis=f"embedded, its data in {embedded.folder}" if embedded else "REDIS_URL",
            logs=state / "logs",
            reading=_reading(settings, embedded),
        )
    )
    return "\n".join(["", *paragraphs])


def _reading(settings: Settings, embedded: EmbeddedRedis | None) -> str:
    told = {
        "rollcall": _program("rollcall"),
        "redis_cli": _program("redis-cli"),
        "xread": f"XREAD COUNT 10 STREAMS {settings.prefix}:events {settings.prefix}:alerts 0 0",
    }
    if embedded is None:
        return _READ.format(**told)
    return _READ_EMBEDDED.format(
        **told,
        url_file=shlex.quote(str(embedded.url_file)),
        password_file=shlex.quote(str(embedded.password_file)),
        port=embedded.port,
    )


def _program(name: str) -> str:
    """Name a program so that it runs in another terminal, where no environment is activated."""
    ours = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if not ours.exists() or (found and Path(found).samefile(ours)):
        return name
    return shlex.quote(str(ours))
