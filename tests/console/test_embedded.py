"""The embedded Redis: one server a folder, and its data outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from redis import Redis

from console.embedded import EmbeddedRedis
from schemas.errors import StartError


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
