"""The claim on PORT: one holder of a name at a time, however together they are started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from console.embedded import free_port
from ingest.port import claimed_port
from schemas.errors import StartError

# Claims, says so, and holds the claim until its standard input ends.
HOLD = """
import sys
from ingest.port import claimed_port
from schemas.errors import StartError
try:
    with claimed_port(int(sys.argv[1]), "web"):
        print("mine", flush=True)
        sys.stdin.read()
except StartError as error:
    print(error, flush=True)
"""
TOGETHER = 8


def test_of_many_that_start_together_one_has_the_port() -> None:
    port = free_port()
    command = [sys.executable, "-c", HOLD, str(port)]
    holders = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(TOGETHER)
    ]
    said = [holder.stdout.readline() for holder in holders if holder.stdout]
    for holder in holders:
        holder.communicate()
    assert said.count("mine\n") == 1
    refusal = (
        f"PORT: {port} is in use by another process; stop it, or set PORT to a free one,"
        f" as in PORT={port + 1}.\n"
    )
    assert said.count(refusal) == TOGETHER - 1


def test_a_claim_ends_with_its_block_and_with_a_process_that_is_killed() -> None:
    port = free_port()
    with claimed_port(port, "web"), pytest.raises(StartError), claimed_port(port, "web"):
        pass
    command = [sys.executable, "-c", HOLD, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mine\n"
        with pytest.raises(StartError), claimed_port(port, "web"):
            pass
        holder.kill()
        holder.wait()
    with claimed_port(port, "web"):
        pass


def test_rollcall_up_and_its_web_process_hold_a_claim_each() -> None:
    port = free_port()
    with claimed_port(port, "up"), claimed_port(port, "web"):
        pass


def test_a_port_that_somebody_listens_on_is_refused_and_leaves_no_claim() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(StartError, match=f"PORT: {port} is in use"), claimed_port(port, "web"):
            pass
    with claimed_port(port, "web"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may listen on any port")
def test_a_port_that_is_not_allowed_is_told_with_its_reason() -> None:
    with pytest.raises(StartError, match="PORT: 1 cannot be used"), claimed_port(1, "web"):
        pass


@pytest.mark.parametrize("obstacle", ["link", "no folder"])
def test_what_is_put_in_the_lock_s_place_does_not_keep_it_from_starting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, obstacle: str
) -> None:
    port = free_port()
    folder = tmp_path / "tmp"
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    victim = tmp_path / "victim"
    if obstacle == "link":
        folder.mkdir()
        (folder / f"rollcall-{os.geteuid()}-web-{port}.lock").symlink_to(victim)
    with claimed_port(port, "web"):
        assert not victim.exists()
