"""The commands of `rollcall audit`: what was asked, handed over.

It knows names, not how things work. What each subcommand needs is imported when it is asked for, as
in `console/commands.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from schemas.settings import Settings

FILES = click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE…",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
)


@click.group()
def audit() -> None:
    """Read worker logs again: are they whole, and what do they say.

    A FILE may be `-` for standard input, and may be compressed. Several can be given in any order;
    lines of other programs are passed over.
    """


@audit.command()
@FILES
@click.option("--live", is_flag=True, help="Compare with what is in Redis, at REDIS_URL.")
@click.option(
    "--key",
    "public_keys",
    metavar="KEY",
    multiple=True,
    # Several are separated by white space there, so PEM must be in a file.
    envvar="ROLLCALL_AUDIT_PUBLIC_KEY",
    show_envvar=True,
    help="Demand that every room ends signed, or as in Redis: a public key, or a file with it.",
)
@click.option("--closed", is_flag=True, help="Demand that every room has been closed.")
@click.option("-q", "--quiet", is_flag=True, help="Only the rooms that are not whole.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")
def verify(  # noqa: PLR0913  # options are arguments
    files: tuple[str, ...],
    *,
    live: bool,
    public_keys: tuple[str, ...],
    closed: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Say of each room whether its records are whole; ends with 1 where they are not."""
    settings = Settings.from_environment() if live else None
    from console.audit.verify import Demands  # noqa: PLC0415  # see the first lines
    from console.audit.verify import verify as check  # noqa: PLC0415

    demands = Demands(settings=settings, public_keys=public_keys, closed=closed)
    sys.exit(0 if check(files, demands, quiet=quiet, as_json=as_json) else 1)


@audit.command()
@click.argument("room")
@FILES
@click.option("--identity", metavar="X", help="Only what is about this person, to the byte.")
@click.option("--at", "moment", metavar="TIME", help="Who was there then: 20:25, or a whole time.")
@click.option(
    "--html",
    "page",
    metavar="OUT",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write a page with a picture to this file instead.",
)
def explain(
    room: str,
    files: tuple[str, ...],
    *,
    identity: str | None,
    moment: str | None,
    page: Path | None,
) -> None:
    """Tell what happened in a room, given its SID or its name: who came, went and was thrown out.

    All times are UTC.
    """
    from console.audit.explain import explain as tell  # noqa: PLC0415  # see the first lines

    tell(room, files, identity=identity, moment=moment, page=page)


@audit.command()
@FILES
@click.option("-q", "--quiet", is_flag=True, help="Only the rooms that are not identical.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")
def replay(files: tuple[str, ...], *, quiet: bool, as_json: bool) -> None:
    """Conclude everything anew from what was received, and compare it with what was logged.

    Ends with 0 where all is identical, with 1 where something differs, and with 3 where nothing
    does, but not every room could be played from its first record to its last.
    """
    from console.audit.replay import replay as play  # noqa: PLC0415  # see the first lines

    sys.exit(play(files, quiet=quiet, as_json=as_json))


@audit.command()
def keygen() -> None:
    """Make new keys: one that signs closing records, one that identities are hashed with."""
    from console.audit.keys import keygen as make  # noqa: PLC0415  # see the first lines

    make()


@audit.command()
def forget() -> None:
    """Tell how a request to erase a person is served."""
    from console.audit.forget import forget as tell  # noqa: PLC0415  # see the first lines

    tell()
