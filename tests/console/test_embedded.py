"""The embedded Redis: one server a folder, and its data outlives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from redis import AuthenticationError, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from console import embedded
from console.embedded import EmbeddedRedis
from schemas.errors import StartError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path / "redis")
    assert server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("password", [None, "guessed"])
def test_who_has_no_password_cannot_have_it_write_files_or_entries(
    server: EmbeddedRedis, tmp_path: Path, password: str | None
) -> None:
    # A password that is refused would be tried ten times, ever more slowly.
    once = Retry(NoBackoff(), 0)
    with Redis(port=server.port, password=password, retry=once) as stranger:
        for command in (
            ("CONFIG", "SET", "dir", str(tmp_path)),
            ("SAVE",),
            ("XADD", "rollcall:{0}:inbox", "*", "params", "forged"),
        ):
            with pytest.raises(AuthenticationError):
                stranger.execute_command(*command)


def test_the_password_is_in_no_argument_and_not_in_the_log(server: EmbeddedRedis) -> None:
    password = server.password_file.read_text()
    assert len(password) == 64
    assert server.url == f"redis://default:{password}@127.0.0.1:{server.port}/0"
    process = psutil.Process(server.pid)
    assert not any(password in one for one in process.cmdline())
    assert password not in (server.folder / "redis.log").read_text()


def test_every_server_has_a_password_of_its_own(tmp_path: Path) -> None:
    assert (
        EmbeddedRedis(tmp_path).url.partition("@")[0]
        != EmbeddedRedis(tmp_path).url.partition("@")[0]
    )


def test_the_url_stays_the_same_over_a_stop_and_a_start(server: EmbeddedRedis) -> None:
    url = server.url
    server.stop()
    assert not server.url_file.exists()
    assert not server.password_file.exists()
    server.start()
    assert (server.url, server.url_file.read_text()) == (url, url)


def test_the_next_server_on_a_folder_has_the_port_of_the_last(tmp_path: Path) -> None:
    ports = []
    for _ in range(2):
        server = EmbeddedRedis(tmp_path / "redis")
        server.start()
        ports.append(server.port)
        server.stop()
    assert ports[0] == ports[1]


def test_the_secrets_are_the_owners_alone_also_where_others_could_look_before(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "redis"
    folder.mkdir(mode=0o755)
    for name in ("url", "password"):
        (folder / name).write_text("of a run that was killed")
        (folder / name).chmod(0o644)
    server = EmbeddedRedis(folder)
    server.start()
    server.stop()
    server.start()
    try:
        assert folder.stat().st_mode & 0o777 == 0o700
        for file in (server.url_file, server.password_file):
            assert file.stat().st_mode & 0o777 == 0o600
    finally:
        server.stop()


@pytest.mark.parametrize("name", ["with blanks", 'a "quote"', "a\\backslash", "a\nline", "ö"])
def test_the_folder_may_be_called_anything(tmp_path: Path, name: str) -> None:
    server = EmbeddedRedis(tmp_path / name)
    server.start()
    server.stop()
    assert (tmp_path / name / "appendonly.aof").exists() or (
        tmp_path / name / "appendonlydir"
    ).exists()


def _as_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, does: str) -> Path:
    """Put a program in the server's place; it writes down that it was started."""
    program = tmp_path / "server"
    program.write_text(f'#!/bin/sh\necho started >> "{tmp_path}/starts"\n{does}\n')
    program.chmod(0o755)
    monkeypatch.setattr(embedded, "find_server", lambda: str(program))
    return tmp_path / "starts"


def test_a_server_that_hangs_is_given_up_in_the_given_time_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    starts = _as_server(monkeypatch, tmp_path, "exec sleep 300")
    before = psutil.Process().children()
    server = EmbeddedRedis(tmp_path / "redis", start_seconds=1.0)
    began = time.monotonic()
    with pytest.raises(StartError, match="did not answer within 1 s"):
        server.start()
    assert time.monotonic() - began < 5
    assert starts.read_text().splitlines() == ["started"]
    assert psutil.Process().children() == before


def test_a_start_that_is_broken_off_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _as_server(monkeypatch, tmp_path, "exec sleep 300")
    before = psutil.Process().children()
    server = EmbeddedRedis(tmp_path / "redis")
    asked = iter([True, True, False])
    assert server.start(lambda: next(asked, False)) is False
    assert psutil.Process().children() == before
    # The folder is free again.
    monkeypatch.undo()
    assert server.start()
    server.stop()


def test_a_server_that_ends_is_tried_again_on_another_port_and_then_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    starts = _as_server(monkeypatch, tmp_path, 'grep "^port" | tee -a "$0.ports"')
    with pytest.raises(StartError, match=r"did not start\. It said: port "):
        EmbeddedRedis(tmp_path / "redis").start()
    assert len(starts.read_text().splitlines()) == 5
    assert len(set((tmp_path / "server.ports").read_text().splitlines())) > 1


def test_a_port_that_a_stranger_has_is_left_to_him_and_so_is_the_password_told_there(
    tmp_path: Path,
) -> None:
    server = EmbeddedRedis(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        server.port = taken = stranger.getsockname()[1]
        told = server.url
        server.start()
        server.stop()
    assert server.port != taken
    assert server.url.partition("@")[0] != told.partition("@")[0]


def test_a_program_that_does_not_tell_its_version_is_no_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, does in (("redis-server", "exec sleep 300"), ("valkey-server", "nonsense")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n" if does[0] == "e" else does)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(embedded, "_VERSION_SECONDS", 0.2)
    assert not embedded.find_server().startswith(str(tmp_path))


def test_data_survives_a_stop_and_a_start(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    with Redis.from_url(server.url) as client:
        client.xadd("inbox", {"params": "kept"})
    server.stop()
    server.start()
    try:
        with Redis.from_url(server.url) as client:
            assert client.xlen("inbox") == 1
    finally:
        server.stop()


def test_a_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    try:
        with pytest.raises(StartError, match="Another Rollcall uses the data in"):
            EmbeddedRedis(tmp_path).start()
    finally:
        server.stop()


def test_a_server_that_ended_by_itself_is_reported(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    server.check()
    os.kill(server.pid, signal.SIGKILL)
    psutil.Process(server.pid).wait(10)
    with pytest.raises(StartError, match="ended by itself"):
        server.check()
    server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_the_server_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from console.embedded import EmbeddedRedis;"
        "server = EmbeddedRedis(pathlib.Path(sys.argv[1])); server.start();"
        "print(server.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    server.wait(10)
    # The claim ended with the server, not before: the folder is free now.
    after = EmbeddedRedis(tmp_path)
    after.start()
    after.stop()
