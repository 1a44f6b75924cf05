"""Log lines: whole, one JSON object each, whoever writes them and however long they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from schemas import logs
from schemas.logs import Lines, iso_milliseconds

# Far longer than a pipe takes in one piece (4 KiB), so that writers without a lock tear them.
LINE_BYTES = 20 * 1024
TWO_PROCESSES = f"""
import os
from schemas.logs import Lines
lines = Lines(1)
children = [os.fork() for _ in "a"]
letter = b"a" if children[0] else b"b"
for _ in range(100):
    lines.write(letter * {LINE_BYTES} + b"\\n")
if children[0]:
    os.waitpid(children[0], 0)
"""
HOLDER_AND_HEIR = """
import os, select, signal, time
from schemas.logs import Lines
read, write = os.pipe()
lines = Lines(write)
child = os.fork()
if child == 0:
    lines.write(b"x" * (1 << 20))  # more than the pipe takes: it stops half way, holding the lock
while not select.select([read], [], [], 0)[0]:
    time.sleep(0.001)
time.sleep(0.05)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
while select.select([read], [], [], 0)[0]:
    os.read(read, 1 << 20)
began = time.monotonic()
lines.write(b"heir\\n")
print(os.read(read, 100), time.monotonic() - began)
"""
SPEAKING = """
import logging
import structlog
from schemas.logs import Lines, configure_logs
configure_logs(Lines(1), "worker")
log = structlog.get_logger()
log.info("shard_drained", shard=3, identity="Night  Nurse \\U0001f642", odd=object, raw=b"\\xff")
logging.getLogger("kombu.connection").warning("retry %s of %d", "one", 2)
logging.getLogger("kombu.connection").debug("not heard")
structlog.contextvars.bind_contextvars(task_id="t-1")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("drain_failed")
    logging.getLogger("celery").exception("task %s failed", "t-1")
log.warning("two\\nlines")
log.warning("drain_interrupted", error=ValueError("of the test"))
"""


def said_by(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.endswith("\n")
    return done.stdout.splitlines()


def test_two_processes_that_write_long_lines_to_one_pipe_never_tear_them() -> None:
    lines = said_by(TWO_PROCESSES)
    assert sorted(lines) == ["a" * LINE_BYTES] * 100 + ["b" * LINE_BYTES] * 100


def test_a_process_killed_while_it_writes_leaves_nothing_locked_and_swallows_no_line() -> None:
    (line,) = said_by(HOLDER_AND_HEIR)
    text, _, seconds = line.rpartition(" ")
    assert text == r"b'\nheir\n'"
    assert float(seconds) < 1.0


def test_threads_do_not_tear_lines_either() -> None:
    read, write = os.pipe()
    lines = Lines(write)

    def speak(letter: bytes) -> None:
        for _ in range(20):
            lines.write(letter * LINE_BYTES + b"\n")

    threads = [threading.Thread(target=speak, args=(letter,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    heard = b""
    while heard.count(b"\n") < 40:
        heard += os.read(read, 1 << 16)
    for thread in threads:
        thread.join()
    os.close(read)
    os.close(write)
    assert sorted(heard.splitlines()) == [b"a" * LINE_BYTES] * 20 + [b"b" * LINE_BYTES] * 20


def test_a_stopped_process_holds_the_others_up_only_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "_PATIENCE_SECONDS", 0.05)
    read, write = os.pipe()
    lines = Lines(write)
    # Another process holds the lock and does not move.
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys; fcntl.lockf(0, fcntl.LOCK_EX); print(flush=True);sys.stderr.read()",
        ],
        stdin=lines._lock_file,  # noqa: SLF001  # there is no other way to hold it
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert holder.stdout
    assert holder.stderr
    holder.stdout.readline()
    lines.write(b"line\n")
    assert os.read(read, 100) == b"line\n"
    holder.kill()
    holder.communicate()
    os.close(read)
    os.close(write)


def test_an_output_that_is_closed_is_told_to_the_caller() -> None:
    read, write = os.pipe()
    lines = Lines(write)
    os.close(read)
    with pytest.raises(BrokenPipeError):
        lines.write(b"line\n")
    # And the lock is free again.
    with pytest.raises(BrokenPipeError):
        lines.write(b"line\n")
    os.close(write)


def test_every_line_is_one_json_object_with_a_constant_name_whoever_speaks() -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in said_by(SPEAKING)]
    assert [line["event"] for line in lines] == [
        "shard_drained",
        "library_log",
        "drain_failed",
        "library_log",
        "two\nlines",
        "drain_interrupted",
    ]
    for line in lines:
        assert line["process"] == "worker"
        assert isinstance(line["pid"], int)
        assert len(line["time"]) == len("2023-08-14T20:03:25.609Z")
        assert line["time"].endswith("Z")
    ours, theirs, failed, theirs_failed, _, interrupted = lines
    assert interrupted["error"] == "of the test"
    assert (ours["level"], ours["shard"]) == ("info", 3)
    assert ours["identity"] == "Night  Nurse \U0001f642"
    assert ours["odd"] == "<class 'object'>"
    assert (theirs["level"], theirs["logger"]) == ("warning", "kombu.connection")
    assert theirs["message"] == "retry one of 2"
    assert failed["task_id"] == "t-1"
    for line in (failed, theirs_failed):
        assert line["level"] == "error"
        assert "ZeroDivisionError: division by zero" in line["exception"]


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (999, "1970-01-01T00:00:00.000Z"),
        (1_000, "1970-01-01T00:00:00.001Z"),
        (1_692_043_405_609_999, "2023-08-14T20:03:25.609Z"),
        (1_692_043_405_010_000, "2023-08-14T20:03:25.010Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        # What was worked out from nonsense is moved to the edge of what can be written.
        (10**30, "9999-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_written_in_utc_with_milliseconds_rounded_down(
    microseconds: int, text: str
) -> None:
    assert iso_milliseconds(microseconds) == text


def test_a_line_that_was_broken_off_does_not_swallow_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, write = os.pipe()
    lines = Lines(write)
    written = os.write

    def break_off(descriptor: int, rest: memoryview) -> int:
        if len(rest) < 3:
            return written(descriptor, rest)
        if len(rest) == 6:
            return written(descriptor, rest[:2])
        # As a time limit does, wherever the process is.
        raise KeyboardInterrupt

    monkeypatch.setattr(logs.os, "write", break_off)
    with pytest.raises(KeyboardInterrupt):
        lines.write(b"first\n")
    monkeypatch.undo()
    lines.write(b"next\n")
    assert os.read(read, 100) == b"fi\nnext\n"
    os.close(read)
    os.close(write)


def test_a_reader_that_stands_still_stops_nobody_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "_PATIENCE_SECONDS", 0.05)
    read, write = os.pipe()
    lines = Lines(write)
    # More than the pipe takes.
    with pytest.raises(OSError, match="nobody has read it"):
        lines.write(b"a" * (1 << 20) + b"\n")
    # The next one is not kept waiting as long again.
    monkeypatch.setattr(logs, "_PATIENCE_SECONDS", 60.0)
    with pytest.raises(OSError, match="nobody has read it"):
        lines.write(b"lost\n")
    torn = os.read(read, 1 << 20)
    assert set(torn) == set(b"a")
    # Once somebody reads again, all is well, and the torn line swallows no other.
    lines.write(b"heard\n")
    lines.write(b"and the next\n")
    assert os.read(read, 100) == b"\nheard\nand the next\n"
    os.close(read)
    os.close(write)


DISCREET = """
import logging
import structlog
from schemas.logs import Lines, configure_logs
configure_logs(Lines(1), "worker", hide_names=True)
log = structlog.get_logger()
try:
    try:
        {}["Dana"]
    except KeyError as error:
        raise ValueError("room of Dana") from error
except ValueError:
    log.exception("drain_failed", room_sid="RM1")
    logging.getLogger("celery").exception("task %s raised %r", "t-1", ValueError("Dana"))
log.error("alerts_set_aside", detail="no channel Dana", reason="status-404", alerts=["RM1:a2:1f"])
log.warning("drain_interrupted", error=ValueError("room of Dana"))
"""
LAST_WORDS = """
import threading, warnings
from schemas.logs import Lines, configure_logs, hear_everything
configure_logs(Lines(1), "worker")
hear_everything()
warnings.warn("old")
thread = threading.Thread(target=lambda: 1 / 0, name="sweeper")
thread.start()
thread.join()
raise SystemError("of the test")
"""
CLOSED = """
import os
import structlog
from schemas.logs import Lines, configure_logs
configure_logs(Lines(os.open("/dev/full", os.O_WRONLY)), "worker")
structlog.get_logger().warning("drain_interrupted", reason="audit-output")
"""
TERMINAL = """
import os, sys
from schemas.terminal import lines_to
lines_to(1).write(b'{"event":"callback_applied","n":3,"hash":"ab","time":"2023-08-14T20:00:00.000Z",'
                  b'"level":"info","room_sid":"RM1"}\\n{"event":"worker_ready"}\\n')
"""


def test_where_names_are_hidden_no_line_quotes_what_somebody_else_has_said() -> None:
    said = said_by(DISCREET)
    assert "Dana" not in "".join(said)
    ours, theirs, withheld, failed = map(json.loads, said)
    assert ours["exception"].splitlines()[-1] == "KeyError"
    assert "ValueError" in ours["exception"]
    assert "line 9, in <module>" in ours["exception"]
    assert theirs["message"] == "task %s raised %r"
    assert (withheld["reason"], withheld["detail"]) == ("status-404", "withheld")
    # The last part of an id is a digest over the content, at which somebody could guess.
    assert withheld["alerts"] == ["RM1:a2"]
    assert failed["error"] == "ValueError"


def test_what_python_itself_would_print_is_logged_as_well() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LAST_WORDS], capture_output=True, check=False, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (1, "")
    warning, thread, process = map(json.loads, done.stdout.splitlines())
    assert (warning["event"], warning["logger"]) == ("library_log", "py.warnings")
    assert "UserWarning: old" in warning["message"]
    assert (thread["event"], thread["thread"]) == ("thread_failed", "sweeper")
    assert "ZeroDivisionError" in thread["exception"]
    assert (process["event"], process["level"]) == ("process_failed", "critical")
    assert "SystemError: of the test" in process["exception"]


def test_why_nothing_can_be_written_is_said_on_standard_error() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLOSED], capture_output=True, check=True, text=True, timeout=60
    )
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["event"], line["reason"]) == ("drain_interrupted", "audit-output")


def test_at_a_terminal_lines_are_for_a_person() -> None:
    here, there = os.openpty()
    subprocess.run(
        [sys.executable, "-c", TERMINAL],
        stdout=there,
        check=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "NO_COLOR": "1"},
        cwd=Path(__file__).parent.parent.parent,
    )
    os.close(there)
    shown = os.read(here, 1 << 16).decode().splitlines()
    os.close(here)
    assert [line.split() for line in shown] == [
        ["2023-08-14T20:00:00.000Z", "[info", "]", "callback_applied", "n=3", "room_sid=RM1"],
        ["worker_ready"],
    ]
