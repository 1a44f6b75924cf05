"""Where the `rollcall` command begins: until it knows what to do, Ctrl-C simply ends it.

It imports nothing at first, since an import takes a while, and a Ctrl-C in one makes a traceback.
"""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command that the arguments name."""
    # Unless it is ignored, as in the background of a script. Who wants to end in order, such as
    # `rollcall up`, takes the signal over.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from console.commands import run  # noqa: PLC0415  # see the first lines

    run()


if __name__ == "__main__":
    main()
