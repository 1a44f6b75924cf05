"""The log of the door: nobody who says something waits for who reads it, and nothing is lost."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from procfile import wait_for

from ingest.log_thread import LogThread
from schemas.logs import Lines, configure_logs

# More than a pipe takes (https://man7.org/linux/man-pages/man7/pipe.7.html).
A_LOT = 256 * 1024


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(write)
    os.close(read)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[LogThread], None]]:
    """Have this process log as the door does, as long as the test lasts."""
    # A logger remembers for good where it first wrote.
    monkeypatch.setattr("ingest.log_thread._log", structlog.get_logger())
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda log: configure_logs(log, "web")
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_lines_of_several_threads_are_written_whole_and_those_of_one_in_their_order(
    tmp_path: Path,
) -> None:
    with (tmp_path / "log").open("wb") as file:
        log = LogThread(Lines(file.fileno()))

        def speak(name: str) -> None:
            for number in range(500):
                log.write(b"%s %d\n" % (name.encode(), number))

        threads = [threading.Thread(target=speak, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        log.stop()
    said = (tmp_path / "log").read_text().splitlines()
    for name in "abcd":
        assert [line for line in said if line[0] == name] == [f"{name} {n}" for n in range(500)]
    assert len(said) == 2000


def test_a_line_is_written_soon_without_anybody_asking(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        log = LogThread(Lines(file.fileno()))
        log.write(b"one\n")
        wait_for((tmp_path / "log").read_bytes, seconds=5.0)
        log.write(b"two\n")
        wait_for(lambda: (tmp_path / "log").read_bytes() == b"one\ntwo\n", seconds=5.0)
        log.stop()


def test_who_speaks_while_nobody_reads_does_not_wait_and_what_is_too_much_is_counted(
    pipe: tuple[int, int], configured: Callable[[LogThread], None]
) -> None:
    read, write = pipe
    log = LogThread(Lines(write), most_bytes=A_LOT)
    configured(log)
    line = b"x" * 1023 + b"\n"
    # This returns at all: the pipe takes a quarter of it, and nobody reads yet.
    for _ in range(4 * A_LOT // len(line)):
        log.write(line)
    heard = b""
    while b"log_lines_dropped" not in heard:
        heard += os.read(read, A_LOT)
    log.stop()
    *others, told = heard.splitlines(keepends=True)
    assert set(others) == {line}
    dropped = json.loads(told)["lines"]
    assert dropped > 0
    assert dropped + len(others) == 4 * A_LOT // len(line)


def test_what_is_said_after_the_stop_or_in_a_child_is_written_at_once(
    pipe: tuple[int, int], configured: Callable[[LogThread], None]
) -> None:
    read, write = pipe
    log = LogThread(Lines(write))
    configured(log)
    log.stop()
    structlog.get_logger().info("late")
    assert json.loads(os.read(read, A_LOT))["event"] == "late"
