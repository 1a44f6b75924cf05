"""`rollcall up` as a newcomer meets it: real processes, an embedded Redis, no settings at all."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest
from readers import API_TOKEN, SHOWN

from console.embedded import EmbeddedRedis, free_port
from schemas.settings import Settings

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


def _command(process: psutil.Process) -> list[str]:
    # It may end between being found and being asked.
    try:
        return process.cmdline()
    except psutil.Error:
        return []


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
            f"cat {tmp_path / 'state' / 'rollcall' / 'redis' / 'url'}",
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


def test_the_demo_is_signed_with_the_token_of_an_account_where_there_is_no_other(
    environment: dict[str, str],
) -> None:
    environment["TWILIO_AUTH_TOKEN"] = f"AC{'aF' * 16}=own"
    with running("up", "--demo", environment=environment) as up:
        up.wait_for(" joined")
        up.process.send_signal(signal.SIGINT)
        assert up.wait() == 0
    assert "instead of 204" not in up.said
    assert "TWILIO_AUTH_TOKEN is not set" not in up.said


def test_sigterm_stops_everything_as_ctrl_c_does(environment: dict[str, str]) -> None:
    with running("up", environment=environment) as up:
        up.wait_for("Ready.")
        family = up.family()
        up.process.terminate()
        assert up.wait() == 0
    assert_nothing_left(family, environment)


def test_where_there_is_a_token_for_them_snapshots_are_given_as_well(
    environment: dict[str, str],
) -> None:
    port = free_port()
    environment |= {"ROLLCALL_API_TOKEN": API_TOKEN, "ROLLCALL_CONSOLE_PORT": str(port)}
    with running("up", environment=environment) as up:
        up.wait_for(f"Snapshots      http://localhost:{port}/api/rooms", "Ready.")
        connection = HTTPConnection("127.0.0.1", port, timeout=BOUND)
        connection.request("GET", "/api/rooms", headers=SHOWN)
        answer = connection.getresponse()
        assert (answer.status, json.load(answer).keys()) == (200, {"rooms", "unread", "next"})
        connection.close()
        family = up.family()
        up.process.send_signal(signal.SIGINT)
        assert up.wait() == 0
        assert API_TOKEN not in up.said
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
        up.wait_for("The demo is over")
        folder = Path(environment["XDG_STATE_HOME"]) / "rollcall" / "redis"
        elsewhere = environment | {"REDIS_URL": (folder / "url").read_text()}
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
    assert done.stderr.startswith(
        f"rollcall: PORT: {environment['PORT']} is in use by another process; "
    )
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


@pytest.mark.parametrize("command", ["web", "worker", "beat", "console", "up", "events"])
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


def test_nothing_that_it_starts_shows_the_password_in_its_arguments(
    environment: dict[str, str],
) -> None:
    with running("up", environment=environment) as up:
        up.wait_for("Ready.")
        folder = Path(environment["XDG_STATE_HOME"]) / "rollcall" / "redis"
        password = (folder / "password").read_text()
        assert f":{password}@" in (folder / "url").read_text()
        family = up.family()
        assert len(family) >= 4
        assert not any(password in one for process in family for one in process.cmdline())
        assert password not in up.said
        up.process.send_signal(signal.SIGINT)
        assert up.wait() == 0
        assert not (folder / "url").exists()
        assert not (folder / "password").exists()


@pytest.mark.parametrize("module", ["click", "schemas.settings", "celery", "console.up"])
def test_ctrl_c_while_it_is_still_loading_makes_no_traceback(
    environment: dict[str, str], module: str
) -> None:
    # Tells of every module as soon as it is imported.
    environment["PYTHONPROFILEIMPORTTIME"] = "1"
    with running("up", environment=environment) as up:
        up.wait_for(f" {module}\n")
        up.process.send_signal(signal.SIGINT)
        code = up.wait()
    assert "Traceback" not in up.said
    # The signal's own way to end it, or the orderly one where `up` has taken over.
    assert code == -signal.SIGINT or (code == 0 and up.said.endswith("Stopped.\n"))


HANGING = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "Redis server v=7.2.0"; exit; fi
exec sleep 300
"""


def test_ctrl_c_is_heard_while_the_embedded_redis_hangs(
    environment: dict[str, str], tmp_path: Path
) -> None:
    server = tmp_path / "bin" / "redis-server"
    server.parent.mkdir()
    server.write_text(HANGING)
    server.chmod(0o755)
    environment["PATH"] = f"{server.parent}{os.pathsep}{environment['PATH']}"
    with running("up", environment=environment) as up:
        deadline = time.monotonic() + BOUND
        while not any("sleep" in _command(child) for child in up.family()):
            assert time.monotonic() < deadline, up.said
            time.sleep(0.01)
        family = up.family()
        began = time.monotonic()
        up.process.send_signal(signal.SIGINT)
        assert up.wait() == 0
        assert time.monotonic() - began < 5
        assert up.said.endswith("Stopped.\n")
    assert_nothing_left(family, environment)


def _file_in_its_place(tmp_path: Path) -> Path:
    (tmp_path / "state").write_text("")
    return tmp_path / "state"


def _file_further_down(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "rollcall").mkdir()
    (tmp_path / "state" / "rollcall" / "logs").write_text("")
    return tmp_path / "state"


def _folder_in_the_place_of_a_log(tmp_path: Path) -> Path:
    (tmp_path / "state" / "rollcall" / "logs" / "worker.log").mkdir(parents=True)
    return tmp_path / "state"


@pytest.mark.parametrize(
    "state",
    [
        lambda _: Path("/proc/x"),
        _file_in_its_place,
        _file_further_down,
        _folder_in_the_place_of_a_log,
    ],
    ids=["proc", "file", "file-further-down", "log"],
)
def test_a_state_folder_that_cannot_be_used_is_one_sentence(
    environment: dict[str, str], tmp_path: Path, state: Callable[[Path], Path]
) -> None:
    environment["XDG_STATE_HOME"] = str(state(tmp_path))
    done = run("up", environment=environment)
    assert done.returncode == 1
    assert done.stderr.startswith(f"rollcall: {environment['XDG_STATE_HOME']}/rollcall/")
    assert "set XDG_STATE_HOME" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.parametrize("hangs", [False, True], ids=["refuses", "hangs"])
def test_a_broker_that_does_not_answer_is_one_sentence_at_once_without_the_password(
    environment: dict[str, str], settings: Settings, scheme: str, *, hangs: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1] if hangs else 1}/0"
        environment |= {
            "REDIS_URL": settings.redis_url,
            "CELERY_BROKER_URL": f"{scheme}://me:hidden@{where}",
        }
        began = time.monotonic()
        done = run("up", environment=environment)
        # 3 s, and the start of Python on a slow machine; it was 30 s.
        assert time.monotonic() - began < 15
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"rollcall: CELERY_BROKER_URL: {scheme}://{where} does not answer"
    )
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stdout + done.stderr


def test_of_two_that_are_started_together_on_one_port_one_comes_up(
    environment: dict[str, str], tmp_path: Path
) -> None:
    other = environment | {"XDG_STATE_HOME": str(tmp_path / "other")}
    with (
        running("up", environment=environment) as one,
        running("up", environment=other) as two,
    ):
        deadline = time.monotonic() + BOUND
        while one.process.poll() is None and two.process.poll() is None:
            assert time.monotonic() < deadline, one.said + two.said
            time.sleep(0.05)
        refused, up = (two, one) if one.process.poll() is None else (one, two)
        assert refused.wait() == 1
        assert f"rollcall: PORT: {environment['PORT']} is in use by another process" in refused.said
        up.wait_for("Ready.")
        up.process.send_signal(signal.SIGINT)
        assert up.wait() == 0


def test_the_demo_says_so_before_it_plays_into_streams_that_may_be_real(
    environment: dict[str, str], tmp_path: Path
) -> None:
    theirs = EmbeddedRedis(tmp_path / "theirs")
    theirs.start()
    try:
        with running("up", "--demo", environment=environment | {"REDIS_URL": theirs.url}) as up:
            up.wait_for("Room 1   opened")
            told, played, _ = up.said.partition("Playing ")
            assert "The demo plays invented rooms" in told
            assert "REDIS_URL" in told.partition("The demo plays invented rooms")[2]
            assert played
            assert theirs.url not in up.said
            up.process.send_signal(signal.SIGINT)
            assert up.wait() == 0
    finally:
        theirs.stop()
