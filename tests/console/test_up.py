"""`rollcall up` as a newcomer meets it: real processes, an embedded Redis, no settings at all."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

ROLLCALL = Path(sys.executable).with_name("rollcall")
# An idle machine needs 3 s to be ready and 5 s for the demo.
BOUND = 60.0


class Running:
    """A `rollcall` command under way, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, *texts: str) -> None:
        deadline = time.monotonic() + BOUND
        while not all(text in self.said for text in texts):
            try:
                self.said += self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"{texts} were not all said in time, but:\n{self.said}")

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def wait(self) -> int:
        code = self.process.wait(BOUND)
        self._reader.join(BOUND)
        while not self._lines.empty():
            self.said += self._lines.get()
        return code

    def close(self) -> None:
        # Only where a test has failed is anything left; killing it first ends its children.
        self.process.kill()
        self.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)


@pytest.fixture
def environment(tmp_path: Path, unused_port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "PORT": str(unused_port),
    }


@contextmanager
def running(*arguments: str, environment: dict[str, str]) -> Iterator[Running]:
    with subprocess.Popen(
        [ROLLCALL, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=environment["HOME"],
        start_new_session=True,
    ) as process:
        command = Running(process)
        try:
            yield command
        finally:
            command.close()


def run(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROLLCALL, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=environment["HOME"],
        check=False,
        timeout=BOUND,
    )


def assert_nothing_left(family: list[psutil.Process], environment: dict[str, str]) -> None:
    _, left = psutil.wait_procs(family, timeout=15)
    assert not left
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("", int(environment["PORT"])))


def test_the_demo_shows_everything_and_ctrl_c_leaves_nothing(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with running("up", "--demo", environment=environment) as up:
        up.wait_for(
            f"http://localhost:{environment['PORT']}/callbacks",
            "StatusCallback on POST /v1/Rooms",
            "TWILIO_AUTH_TOKEN is not set",
            str(tmp_path / "state" / "rollcall" / "redis"),
            str(tmp_path / "state" / "rollcall" / "logs"),
            "redis-cli -u redis://127.0.0.1:",
            "Ready.",
            "Room 1   opened",
            "joined  (inferred",
            "published audio",
            "left after 184 s",
            "muted audio",
            "unmuted audio",
            "Dana  evicted",
            "ALERT raised  info duplicate-identity",
            "The demo is over",
        )
        family = up.family()
        assert len(family) >= 4
        up.process.send_signal(signal.SIGINT)
        assert up.wait() == 0
        assert "instead of 204" not in up.said
        assert up.said.endswith("Stopped.\n")
        assert up.said.count("Room 1   Front Desk  joined") == 1
        assert up.said.count("  joined") == 5
        assert up.said.count("  evicted") == 1
    assert_nothing_left(family, environment)
    logs = tmp_path / "state" / "rollcall" / "logs"
    assert '"callback_applied"' in (logs / "worker.log").read_text()
    # Read by the right people only, as identities stand in it.
    assert logs.stat().st_mode & 0o077 == 0


def test_sigterm_stops_everything_as_ctrl_c_does(environment: dict[str, str]) -> None:
    with running("up", environment=environment) as up:
        up.wait_for("Ready.")
        family = up.family()
        up.process.terminate()
        assert up.wait() == 0
    assert_nothing_left(family, environment)


def test_ctrl_c_before_all_is_ready_stops_everything(environment: dict[str, str]) -> None:
    with running("up", environment=environment) as up:
        up.wait_for("Callback URL")
        up.process.send_signal(signal.SIGINT)
        assert up.wait() == 0
        assert "Ready." not in up.said
        assert up.said.endswith("Stopped.\n")
    assert_nothing_left([], environment)


@pytest.mark.parametrize("name", ["web", "worker", "beat"])
def test_a_process_that_dies_stops_the_others_and_is_named(
    environment: dict[str, str], name: str
) -> None:
    with running("up", environment=environment) as up:
        up.wait_for("Ready.")
        family = up.family()
        [child] = [one for one in family if one.ppid() == up.process.pid and name in one.cmdline()]
        child.kill()
        assert up.wait() == 1
        assert f"rollcall: {name} ended by itself by SIGKILL" in up.said
        assert "Traceback" not in up.said
    assert_nothing_left(family, environment)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_everything_ends_when_it_is_killed_itself(environment: dict[str, str]) -> None:
    with running("up", environment=environment) as up:
        up.wait_for("Ready.")
        family = up.family()
        up.process.kill()
        up.wait()
    assert_nothing_left(family, environment)


def test_events_shows_what_an_earlier_run_has_kept(environment: dict[str, str]) -> None:
    with running("up", "--demo", environment=environment) as up:
        up.wait_for("redis-cli -u ", "The demo is over")
        url = up.said.partition("redis-cli -u ")[2].split()[0]
        elsewhere = environment | {"REDIS_URL": url}
        with running("events", "--all", environment=elsewhere) as events:
            events.wait_for("left after 184 s", "ALERT resolved")
            events.process.send_signal(signal.SIGINT)
            assert events.wait() == 0
            assert "\x1b" not in events.said
        with running("up", environment=environment) as second:
            assert second.wait() == 1
            assert "is in use" in second.said
        up.process.send_signal(signal.SIGINT)
        assert up.wait() == 0


def test_a_port_in_use_is_one_sentence(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("", int(environment["PORT"])))
        taken.listen()
        done = run("up", environment=environment)
    assert done.returncode == 1
    assert done.stderr.startswith(f"rollcall: PORT: {environment['PORT']} is in use; ")
    assert done.stderr.count("\n") == 1


def test_a_redis_that_does_not_answer_is_one_sentence_without_the_password(
    environment: dict[str, str],
) -> None:
    environment["REDIS_URL"] = "redis://:hidden@127.0.0.1:1/0"
    done = run("up", environment=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("rollcall: REDIS_URL: redis://127.0.0.1:1/0 does not answer")
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stdout + done.stderr
    events = run("events", environment=environment)
    assert (events.returncode, events.stderr) == (1, done.stderr)


@pytest.mark.parametrize("command", ["web", "worker", "beat", "up", "events"])
def test_a_bad_setting_is_one_sentence(environment: dict[str, str], command: str) -> None:
    environment |= {"REDIS_URL": "redis://127.0.0.1:1/0", "PORT": "many"}
    done = run(command, environment=environment)
    assert done.returncode == 2
    assert done.stderr == "rollcall: PORT: must be a whole number from 1 to 65535, not 'many'.\n"


def test_web_refuses_to_start_without_a_token(environment: dict[str, str]) -> None:
    environment["REDIS_URL"] = "redis://127.0.0.1:1/0"
    done = run("web", environment=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("rollcall: TWILIO_AUTH_TOKEN")
    assert done.stderr.count("\n") == 1
