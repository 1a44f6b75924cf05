"""The commands of `rollcall`: what was asked, handed over. It knows names, not how things work.

What each subcommand needs is imported when it is asked for: the web process needs no Celery worker,
and a bad setting is told at once.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

import click

from console.audit.commands import audit
from console.scheduling import use_batch_scheduling
from schemas.errors import BadSettingError, RollcallError
from schemas.settings import Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rollcall")
def rollcall() -> None:
    """Receive Twilio's room callbacks and say who is really in the room."""


@rollcall.command()
def web() -> None:
    """Run the web process: takes callbacks in."""
    settings = Settings.from_environment()
    from ingest.serve import serve  # noqa: PLC0415  # see the first lines

    use_batch_scheduling()
    serve(settings)


@rollcall.command()
def worker() -> None:
    """Run a worker: draws the conclusions and writes the audit lines."""
    settings = Settings.from_environment()
    from workers.main import work  # noqa: PLC0415  # see the first lines

    use_batch_scheduling()
    work(settings)


@rollcall.command()
def beat() -> None:
    """Run beat: wakes the workers for what was forgotten; one is enough."""
    settings = Settings.from_environment()
    from workers.main import beat as keep_time  # noqa: PLC0415  # see the first lines

    keep_time(settings)


@rollcall.command()
def console() -> None:
    """Run the console: gives snapshots of rooms to consumers that were away."""
    settings = Settings.from_environment()
    from console.serve import serve  # noqa: PLC0415  # see the first lines

    serve(settings)


@rollcall.command()
@click.option("--demo", is_flag=True, help="Play a recorded room and an eviction.")
def up(*, demo: bool) -> None:
    """Start everything on this machine and show derived events."""
    from console.up import up as start  # noqa: PLC0415  # see the first lines

    start(demo=demo)


@rollcall.command()
@click.option("--all", "from_beginning", is_flag=True, help="From the oldest entry that is kept.")
def events(*, from_beginning: bool) -> None:
    """Show derived events and alerts as they come, from REDIS_URL."""
    settings = Settings.from_environment()
    from console.tail import follow  # noqa: PLC0415  # see the first lines

    with suppress(KeyboardInterrupt):
        # A look is broken off at once.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        follow(settings, from_beginning=from_beginning)


@rollcall.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for machines.")
def doctor(*, as_json: bool) -> None:
    """Say what would lose data or keep Rollcall from working; ends with 1 where that is so now."""
    settings = Settings.from_environment()
    from console.doctor.report import examine  # noqa: PLC0415  # see the first lines

    sys.exit(0 if examine(settings, as_json=as_json) else 1)


@rollcall.command()
@click.argument("shards", type=click.IntRange(1, 1024))
def reshard(*, shards: int) -> None:
    """Spread the rooms over another number of shards, while nothing else runs."""
    settings = Settings.from_environment()
    from console.reshard import reshard as spread  # noqa: PLC0415  # see the first lines

    spread(settings, shards)


rollcall.add_command(audit)


def run() -> None:
    """Run the command; what goes wrong is one sentence and an exit code."""
    try:
        rollcall(prog_name="rollcall")
    except BadSettingError as error:
        _fail(error, 2)
    except RollcallError as error:
        _fail(error, 1)


def _fail(error: RollcallError, code: int) -> None:
    click.echo(f"rollcall: {error}", err=True)
    sys.exit(code)
