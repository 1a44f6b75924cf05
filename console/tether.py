"""The tether: a child that ends with its parent, even when that one is killed -9.

Run as a script in front of the child's own command. On Linux it asks the kernel for a SIGTERM when
the parent is gone, which holds through the exec that follows; elsewhere it only does the exec. A
process of its own rather than a `preexec_fn`, which may hang where the parent has threads. It knows
nothing of Rollcall and needs no package, so it costs 20 ms.

The kernel means the *thread* that started the child: start children from one that stays.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def tethered(command: list[str]) -> list[str]:
    """Put the tether in front of a command."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main() -> None:
    """Tie this process to the parent named first, and become the command that follows."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  # the parent imports this module and has no use for it

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            # The parent went before the kernel was asked.
            sys.exit(f"rollcall: {command[0]} was not started, since its parent is gone.")
    os.execvp(command[0], command)  # noqa: S606  # to become the child is the purpose


if __name__ == "__main__":
    main()
