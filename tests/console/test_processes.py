"""The children of `rollcall up`: all of them end, whatever they think of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from procfile import wait_for

from console.processes import Children
from schemas.errors import ChildEndedError

OBEDIENT = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('up', flush=True); time.sleep(60)"
)
# Ends at once on SIGTERM and leaves a child of its own behind, which does not.
CARELESS = (
    "import subprocess, sys, time;"
    f"subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]); time.sleep(60)"
)


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    started = Children(tmp_path / "logs", os.environ, stop_seconds=0.5)
    yield started
    started.stop()


def start(children: Children, tmp_path: Path, name: str, program: str) -> psutil.Process:
    """Start a child and return it as soon as it, or its own child, has said something."""
    before = {process.pid for process in psutil.Process().children()}
    children.start(name, [sys.executable, "-c", program])
    log = tmp_path / "logs" / f"{name}.log"
    wait_for(lambda: log.stat().st_size > 0)
    [process] = [one for one in psutil.Process().children() if one.pid not in before]
    return process


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_child_is_a_session_of_its_own(children: Children, tmp_path: Path) -> None:
    process = start(children, tmp_path, "web", OBEDIENT)
    assert os.getsid(process.pid) == process.pid


def test_an_obedient_child_is_stopped(children: Children, tmp_path: Path) -> None:
    process = start(children, tmp_path, "web", OBEDIENT)
    children.check()
    children.stop()
    assert not process.is_running()


def test_a_child_that_ignores_sigterm_is_killed(children: Children, tmp_path: Path) -> None:
    process = start(children, tmp_path, "web", STUBBORN)
    children.stop()
    assert not process.is_running()


def test_a_grandchild_that_is_left_behind_is_killed(children: Children, tmp_path: Path) -> None:
    process = start(children, tmp_path, "worker", CARELESS)
    [grandchild] = process.children()
    children.stop()
    assert not process.is_running()
    wait_for(lambda: gone(grandchild))


def test_children_are_stopped_in_reverse_order(children: Children, tmp_path: Path) -> None:
    tell = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        f"    open({str(tmp_path / 'order')!r}, 'a').write(NAME + ' '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)"
    )
    for name in ("worker", "beat", "web"):
        start(children, tmp_path, name, f"NAME = {name!r}\n{tell}")
    children.stop()
    assert (tmp_path / "order").read_text() == "web beat worker "


def test_a_child_that_ends_by_itself_is_reported(children: Children, tmp_path: Path) -> None:
    program = "import sys; print('first', flush=True); sys.exit('rollcall: no \\x1b[31mluck')"
    process = start(children, tmp_path, "beat", program)
    wait_for(lambda: gone(process))
    with pytest.raises(ChildEndedError) as raised:
        children.check()
    told = str(raised.value)
    assert told.startswith("beat ended by itself with exit code 1; ")
    assert str(tmp_path / "logs" / "beat.log") in told
    assert told.endswith(r"rollcall: no \x1b[31mluck")


def test_a_child_that_is_killed_is_reported(children: Children, tmp_path: Path) -> None:
    process = start(children, tmp_path, "worker", OBEDIENT)
    process.kill()
    wait_for(lambda: gone(process))
    with pytest.raises(ChildEndedError, match="worker ended by itself by SIGKILL"):
        children.check()


def test_the_last_line_is_of_this_run(children: Children, tmp_path: Path) -> None:
    (tmp_path / "logs" / "web.log").write_text("yesterday\n")
    process = start(children, tmp_path, "web", "")
    wait_for(lambda: gone(process))
    with pytest.raises(ChildEndedError, match=r"web.log: \(nothing\)"):
        children.check()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys; from console.processes import Children;"
        "children = Children(pathlib.Path(sys.argv[1]), os.environ);"
        f"children.start('web', [sys.executable, '-c', {OBEDIENT!r}]);"
        "print('started', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        [child] = psutil.Process(parent.pid).children()
        wait_for(lambda: (tmp_path / "web.log").stat().st_size > 0)
        parent.kill()
    wait_for(lambda: gone(child))
