"""The samples for shipping the worker log: what they let through is whole when it is read again.

journald and rsyslog are the real ones, where the distribution has them. The others are in no
distribution: their files are read, and their filters applied to a real log.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from audit_logs import RECORDED, STORM
from click.testing import CliRunner
from logging_worker import LoggingWorker
from rooms import PHONE, connected

from console.audit.sources import LONGEST_LINE
from console.commands import rollcall

SHIPPING = Path(__file__).parent.parent.parent / "deploy" / "shipping"
JOURNALD = Path("/lib/systemd/systemd-journald")
_UNITS = {"": 1, "k": 1 << 10, "M": 1 << 20}
OTHERS = [
    b'{"event":"worker_started","terms":{"code":"ab"},"process":"worker","pid":7}\n',
    b'{"event":"drain_interrupted","error":"a \\"hash\\": none","process":"worker","pid":7}\n',
    b"worker: Warm shutdown (MainProcess)\n",
]


def long_room() -> bytes:
    """The log of a room with a record of more than 300 kB."""
    worker = LoggingWorker()
    room = {"RoomSid": "RM" + "e" * 32, "Mood": "\x01" * 50_000}
    worker.take([connected(PHONE, 0) | room, connected(PHONE, 5) | room])
    assert max(map(len, worker.log.splitlines())) > 300_000
    return worker.log


@pytest.fixture(scope="module")
def log() -> list[bytes]:
    """The lines of a worker's log, records and others."""
    lines = [*OTHERS]
    for part in (RECORDED, STORM, long_room()):
        lines += [*part.splitlines(keepends=True), *OTHERS]
    return lines


def assert_whole(shipped: bytes, log: list[bytes], folder: Path) -> None:
    """Hold what came through to what was written."""
    came = folder / "shipped.log"
    came.write_bytes(shipped)
    said = CliRunner().invoke(rollcall, ["audit", "verify", "--json", str(came)])
    assert said.exit_code == 0, said.output
    summary = json.loads(said.output.splitlines()[-1])
    assert summary["records"] == sum(b'"prev":' in line for line in log)


def size_of(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([kM]?)", text).groups()
    return int(number) * _UNITS[unit]


def vector() -> tuple[str, int]:
    sample = yaml.safe_load((SHIPPING / "vector.yaml").read_text())
    source, filter_, sink = sample["sources"]["worker"], sample["transforms"]["audit"], None
    (sink,) = sample["sinks"].values()
    assert filter_["inputs"] == [*sample["sources"]]
    assert sink["inputs"] == [*sample["transforms"]]
    assert sink["encoding"] == {"codec": "text"}
    found = re.fullmatch(r"match\(string!\(\.message\), r'(.*)'\)", filter_["condition"])
    assert found
    return found[1], source["max_line_bytes"]


def fluent_bit() -> tuple[str, int]:
    sample = yaml.safe_load((SHIPPING / "fluent-bit.yaml").read_text())
    pipeline = sample["pipeline"]
    [tail], [grep], [output] = pipeline["inputs"], pipeline["filters"], pipeline["outputs"]
    assert grep["match"] == output["match"] == tail["tag"]
    assert output["log_key"] == tail["key"]
    assert ("storage.path" in sample["service"]) == (tail["storage.type"] == "filesystem")
    key, _, expression = grep["regex"].partition(" ")
    assert key == tail["key"]
    return expression, size_of(tail["buffer_max_size"])


def cloudwatch() -> tuple[str, int]:
    sample = json.loads((SHIPPING / "amazon-cloudwatch-agent.json").read_text())
    [file] = sample["logs"]["logs_collected"]["files"]["collect_list"]
    [include] = file["filters"]
    assert include["type"] == "include"
    # What longer a line may be is not a setting: docs/audit.md tells.
    return include["expression"], LONGEST_LINE


@pytest.mark.parametrize("sample", [vector, fluent_bit, cloudwatch])
def test_what_a_sample_lets_through_is_every_record_and_nothing_else(
    sample: Any, log: list[bytes], tmp_path: Path
) -> None:
    expression, longest = sample()
    assert longest >= LONGEST_LINE
    shipped = [line for line in log if re.search(expression.encode(), line)]
    assert all(b'"prev":' in line for line in shipped)
    assert_whole(b"".join(shipped), log, tmp_path)


def test_the_unit_gives_the_worker_a_journal_of_its_own_and_time_to_end() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(SHIPPING / "rollcall-worker.service")
    service = unit["Service"]
    assert service["ExecStart"].split("/")[-1] == "rollcall worker"
    assert (service["LogNamespace"], service["StandardOutput"]) == ("rollcall", "journal")
    assert int(service["TimeoutStopSec"]) == 30
    assert "/etc/systemd/journald@rollcall.conf" in (SHIPPING / "journald.conf").read_text()


@pytest.fixture
def journal() -> Iterator[str]:
    """A journald of the test's own, with the sample; gives its namespace."""
    if not JOURNALD.exists() or not shutil.which("journalctl"):
        pytest.skip("journald is not here (Debian: apt-get install systemd)")
    if os.geteuid():
        pytest.skip("only root may start a journald")
    namespace = f"rollcall-test-{uuid.uuid4().hex[:8]}"
    conf = Path(f"/etc/systemd/journald@{namespace}.conf")
    text = (SHIPPING / "journald.conf").read_text()
    conf.write_text(text.replace("Storage=persistent", "Storage=volatile"))
    process = subprocess.Popen(
        [JOURNALD, namespace], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield namespace
    finally:
        process.terminate()
        process.wait(30)
        conf.unlink()
        shutil.rmtree(f"/run/systemd/journal.{namespace}", ignore_errors=True)
        for folder in Path("/run/log/journal").glob(f"*.{namespace}"):
            shutil.rmtree(folder)


def test_what_journald_took_is_whole_when_it_gives_it_back(
    journal: str, log: list[bytes], tmp_path: Path
) -> None:
    place = Path(f"/run/systemd/journal.{journal}/stdout")
    deadline = time.monotonic() + 20
    while not place.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # As systemd connects the standard output of a unit: identifier, unit, priority, and four flags.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as output:
        output.connect(str(place))
        output.sendall(b"rollcall-worker\n\n6\n0\n0\n0\n0\n")
        for line in log:
            output.sendall(line)
    command = ["journalctl", f"--namespace={journal}", "--output=cat", "--all", "--no-pager"]
    shipped = b""
    while shipped.count(b"\n") < len(log) and time.monotonic() < deadline:
        subprocess.run(["journalctl", f"--namespace={journal}", "--sync"], check=False, timeout=20)
        shipped = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    assert_whole(shipped, log, tmp_path)


def test_what_rsyslog_took_is_whole_where_it_has_put_it(log: list[bytes], tmp_path: Path) -> None:
    if not (rsyslogd := shutil.which("rsyslogd", path=os.environ["PATH"] + ":/usr/sbin")):
        pytest.skip("rsyslogd is not here (Debian: apt-get install rsyslog)")
    (tmp_path / "rollcall").mkdir()
    (tmp_path / "rollcall" / "worker-1.log").write_bytes(b"".join(log))
    conf = tmp_path / "rsyslog.conf"
    sample = (SHIPPING / "rsyslog.conf").read_text().replace("/var/log/", f"{tmp_path}/")
    conf.write_text(f'global(workDirectory="{tmp_path}")\n{sample}')
    command = [rsyslogd, "-n", "-f", conf, "-i", tmp_path / "pid"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    records = sum(b'"prev":' in line for line in log)
    shipped, deadline = b"", time.monotonic() + 30
    try:
        while shipped.count(b"\n") < records:
            assert time.monotonic() < deadline, shipped[-200:]
            time.sleep(0.05)
            shipped = b"".join(one.read_bytes() for one in tmp_path.glob("rollcall-audit/*.log"))
    finally:
        process.terminate()
        process.wait(30)
    assert shipped.count(b"\n") == records
    assert_whole(shipped, log, tmp_path)
