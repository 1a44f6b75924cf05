"""Crash points for the fault suite: a process kills itself at a named step, once it is told to.

Python imports a `sitecustomize` in every interpreter that finds one on its path; the suite puts
this folder there, and the packages of Rollcall hold nothing of it. A point is armed by a file of
its name in the folder that ROLLCALL_TEST_CRASH names: the first process that passes removes the
file, so that only one dies of it, and kills itself as `kill -9` would.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = "ROLLCALL_TEST_CRASH"
# The steps, and where the code takes them: a module, and a method in it.
STEPS = {
    "deposit": ("ingest.inbox", "Inbox.deposit_all"),
    "wake-up": ("schemas.wakeups", "WakeUps.send"),
    "spool-put": ("ingest.spool_file", "SpoolFile.add"),
    "spool-send": ("ingest.inbox", "Inbox.deposit_again"),
    "spool-settle": ("ingest.spool_file", "SpoolFile.settle"),
    "read": ("workers.store", "Store.read"),
    "audit": ("workers.committing", "Committing.write"),
    "send-alert": ("workers.notify.webhook", "WebhookChannel.send"),
    "notify": ("workers.notify.outbox", "Outbox.commit"),
}
# The steps of a worker that are sent together with those of other shards, and by what.
ASKED = frozenset({"lease", "load", "commit", "release"})
SEND = ("workers.store", "Store.send")
# Where a point lies in its step. `unread` is between a command that was sent and its reply; `half`
# writes half of what was to be written. At `stop` the process is not killed but stopped, and its id
# is left in a file named so.
BEFORE, UNREAD, HALF, AFTER, STOP = "before", "unread", "half", "after", "stop"

# A wake-up that comes so late finds that the sweep was faster.
_DELAY_SECONDS = 3.0

# The step that a thread is taking.
_under_way = threading.local()


def _crash_if_armed(point: str) -> None:
    if _claimed(point):
        os.kill(os.getpid(), signal.SIGKILL)


def _stop_if_armed(point: str) -> None:
    if _claimed(point):
        written = _folder / f"{point}.pid"
        written.write_text(str(os.getpid()))
        written.rename(_folder / f"{point}ped")
        os.kill(os.getpid(), signal.SIGSTOP)


def _claimed(point: str) -> bool:
    try:
        (_folder / point).unlink()
    except FileNotFoundError:
        return False
    return True


def _crashing(step: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def passing(self: Any, *args: Any, **kwargs: Any) -> Any:
        _crash_if_armed(f"{step}.{BEFORE}")
        _stop_if_armed(f"{step}.{STOP}")
        # What is done within another step is a part of that.
        outer = getattr(_under_way, "step", None)
        _under_way.step = outer or step
        try:
            result = method(self, *args, **kwargs)
        finally:
            _under_way.step = outer
        _crash_if_armed(f"{step}.{AFTER}")
        return result

    return passing


def _crashing_asks(send: Callable[..., Any]) -> Callable[..., Any]:
    """The same for whatever is asked in one round trip."""

    @wraps(send)
    def passing(self: Any, asks: Any) -> Any:
        steps = sorted({ask.step for ask in asks} & ASKED)
        for step in steps:
            _crash_if_armed(f"{step}.{BEFORE}")
            _stop_if_armed(f"{step}.{STOP}")
        _under_way.asked = steps
        try:
            result = send(self, asks)
        finally:
            _under_way.asked = ()
        for step in steps:
            _crash_if_armed(f"{step}.{AFTER}")
        return result

    return passing


def _unreliable(send: Callable[..., Any]) -> Callable[..., Any]:
    """Make wake-ups drop out, double or come late, as long as there is a file that says so."""

    @wraps(send)
    def passing(*args: Any, **kwargs: Any) -> Any:
        if _marked("wake-up.drop"):
            return True
        if _marked("wake-up.delay"):
            threading.Timer(_DELAY_SECONDS, send, args, kwargs).start()
            return True
        if _marked("wake-up.double"):
            send(*args, **kwargs)
        return send(*args, **kwargs)

    return passing


def _marked(how: str) -> bool:
    """Whether the file is there; a byte is added for each wake-up, to be counted."""
    try:
        file = os.open(_folder / how, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:
        return False
    os.write(file, b".")
    os.close(file)
    return True


def _unread(read_response: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(read_response)
    def passing(self: Any, *args: Any, **kwargs: Any) -> Any:
        for step in (getattr(_under_way, "step", None), *getattr(_under_way, "asked", ())):
            if step:
                _crash_if_armed(f"{step}.{UNREAD}")
        return read_response(self, *args, **kwargs)

    return passing


def _half_written(write: Callable[..., int]) -> Callable[..., int]:
    @wraps(write)
    def passing(self: Any, lines: memoryview) -> int:
        step = getattr(_under_way, "step", None)
        if step and len(lines) > 1 and _claimed(f"{step}.{HALF}"):
            write(self, lines[: len(lines) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return write(self, lines)

    return passing


def _change(module: ModuleType) -> None:
    if module.__name__ == "redis.connection":
        of = module.AbstractConnection
        of.read_response = _unread(of.read_response)
    for step, (name, path) in STEPS.items():
        if name == module.__name__:
            of, method = path.split(".")
            changed = getattr(module, of)
            setattr(changed, method, _crashing(step, getattr(changed, method)))
    if module.__name__ == SEND[0]:
        of, method = SEND[1].split(".")
        store = getattr(module, of)
        setattr(store, method, _crashing_asks(getattr(store, method)))
    if module.__name__ == "schemas.logs":
        lines = module.Lines
        lines._write_some = _half_written(lines._write_some)  # noqa: SLF001  # all lines pass there
    if module.__name__ == "schemas.wakeups":
        module.WakeUps.send = _unreliable(module.WakeUps.send)


class _Finder(MetaPathFinder):
    """Finds the modules of the steps as Python would, and changes them once they are loaded."""

    _names = frozenset({"redis.connection", "schemas.logs", *(name for name, _ in STEPS.values())})

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._names:
            return None
        for finder in sys.meta_path[1:]:
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                break
        else:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            _change(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]  # a loader a module
        return spec


if FOLDER in os.environ:
    _folder = Path(os.environ[FOLDER])
    sys.meta_path.insert(0, _Finder())
