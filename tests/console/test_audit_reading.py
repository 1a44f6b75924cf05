"""Reading worker logs: records are found in whatever log shippers make of a line."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from audit_logs import RECORDED, RECORDED_ROOM, STORM, STORM_ROOM, Verifier, lines_of
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from logging_worker import LoggingWorker
from rooms import PHONE, connected

from console.audit import sources
from console.audit.claims import is_as_written
from console.audit.reading import Reading
from console.audit.sources import Sources

COUNT = len(lines_of(STORM))


@pytest.fixture
def verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Verifier:
    return Verifier(tmp_path, capsys)


def _each(change: Callable[[str], str]) -> bytes:
    lines = STORM.decode().splitlines()
    return "".join(change(line) + "\n" for line in lines).encode()


def _json(**fields: str) -> Callable[[str], str]:
    """Put a line into a field of another JSON object, beside others."""

    def wrap(line: str) -> str:
        told = {name: value.replace("%", line) for name, value in fields.items()}
        return json.dumps({"time": "2023-08-14T20:00:00Z", **told})

    return wrap


SHIPPED = {
    "compose": _each(lambda line: f"worker-1  | {line}"),
    "foreman": _each(lambda line: f"20:00:00 worker.1  | {line}"),
    "heroku": _each(lambda line: f"2023-08-14T20:00:00.1+00:00 app[worker.1]: {line}"),
    "journald": _each(lambda line: f"Aug 14 20:00:00 host rollcall[41]: {line}"),
    "kubernetes": _each(lambda line: f"2023-08-14T20:00:00.1Z stdout F {line}"),
    "kubectl --prefix": _each(lambda line: f"[pod/worker-{{1}}/worker] {line}"),
    "docker json-file": _each(_json(log="%\n", stream="stdout")),
    "docker of compose": _each(_json(log="worker-1  | %\n")),
    "vector": _each(_json(message="%", source_type="docker_logs")),
    "journald json": _each(_json(MESSAGE="%", _PID="41")),
    "google": _each(lambda line: json.dumps({"jsonPayload": json.loads(line)})),
    "other blanks and order": _each(
        lambda line: json.dumps(dict(reversed(json.loads(line).items())), ensure_ascii=True)
    ),
    "windows": STORM.replace(b"\n", b"\r\n"),
    "coloured": _each(lambda line: f"\x1b[32m{line}\x1b[0m"),
    "utf-8 with a mark": b"\xef\xbb\xbf" + STORM,
    "utf-16": STORM.decode().encode("utf-16"),
    "without an end": STORM[:-1],
    "gzip": gzip.compress(STORM),
    "gzip of two": gzip.compress(STORM[:5000]) + gzip.compress(STORM[5000:]),
    "gzip of utf-16": gzip.compress(STORM.decode().encode("utf-16")),
    "bzip2": bz2.compress(STORM),
    "xz": lzma.compress(STORM),
    "among others": b"\xff\xfe\x00 garbage {\n".join([b"x\n", *lines_of(STORM)]),
}


@pytest.mark.parametrize("log", SHIPPED.values(), ids=SHIPPED.keys())
def test_records_are_found_in_what_shippers_make_of_lines(log: bytes, verified: Verifier) -> None:
    said = verified(log)
    assert said.whole
    assert said.summary["records"] == COUNT


@pytest.mark.parametrize("wrap", [str, _json(log="%\n"), lambda line: f"worker-1  | {line}"])
def test_a_record_behind_half_a_line_is_found(
    wrap: Callable[[str], str], verified: Verifier
) -> None:
    lines = STORM.decode().splitlines()
    for at in range(1, len(lines[9]), 67):
        # Killed while it wrote the tenth; the next worker wrote it again, and went on.
        glued = [*lines[:9], lines[9][:at] + lines[9], *lines[10:]]
        said = verified("".join(wrap(line) + "\n" for line in glued).encode())
        assert (said.whole, said.rooms) == (True, {STORM_ROOM: []}), at
    # Of what was not written again, it is said that it is lost; what stands behind it is there.
    half = len(lines[9]) - 9
    glued = [*lines[:9], lines[9][:half] + lines[10], *lines[11:]]
    said = verified("".join(wrap(line) + "\n" for line in glued).encode())
    assert said.rooms == {STORM_ROOM: ["altered"]}
    assert said.summary["records"] == COUNT


def test_whole_records_on_one_line_are_all_found(verified: Verifier) -> None:
    said = verified(STORM.replace(b"\n", b" ") + b"\n")
    assert said.whole
    assert (said.summary["lines"], said.summary["records"]) == (1, COUNT)


def long_room() -> bytes:
    """The log of a room with records of up to some 100 kB."""
    worker = LoggingWorker()
    room = {"RoomSid": "RM" + "e" * 32}
    worker.take([connected(PHONE, at) | room | {"Mood": "m" * 9_000 * at} for at in range(8)])
    return worker.log


def in_pieces(log: bytes) -> Iterator[tuple[str, bool]]:
    """Cut lines as Docker and containerd do; gives each piece, and whether it is the last."""
    for line in log.decode().splitlines():
        for at in range(0, len(line), 16_384):
            yield line[at : at + 16_384], at + 16_384 >= len(line)


def as_docker(said: str, *, is_last: bool, stream: str = "stdout") -> str:
    return json.dumps(
        {"log": said + "\n" * is_last, "stream": stream, "time": "2023-08-14T20:00:00Z"},
        separators=(",", ":"),
    )


def as_cri(said: str, *, is_last: bool, stream: str = "stdout") -> str:
    return f"2023-08-14T20:00:00.123456789Z {stream} {'F' if is_last else 'P'} {said}"


@pytest.mark.parametrize("wrap", [as_docker, as_cri])
def test_long_lines_that_a_runtime_has_cut_are_put_together(
    wrap: Callable[..., str], verified: Verifier
) -> None:
    log = long_room()
    lines = []
    for said, is_last in in_pieces(log):
        lines += [wrap(said, is_last=is_last), wrap("oh", is_last=is_last, stream="stderr")]
    said = verified("".join(f"{line}\n" for line in lines).encode())
    assert said.whole
    assert said.summary["records"] == len(lines_of(log))
    # The last piece of the last record has not come.
    said = verified("".join(f"{line}\n" for line in lines[:-2]).encode())
    assert (said.whole, said.summary["records"]) == (True, len(lines_of(log)) - 1)


def test_long_lines_that_a_shipper_has_put_together_stay_so(verified: Verifier) -> None:
    lines = [
        json.dumps({"log": line.decode().rstrip(), "stream": "stdout"}, separators=(",", ":"))
        for line in lines_of(long_room())
    ]
    said = verified("\n".join(lines).encode())
    assert (said.whole, said.summary["records"]) == (True, len(lines))


def test_what_other_lines_of_rollcall_quote_is_no_record(verified: Verifier) -> None:
    quoted = lines_of(STORM)[0].decode()
    own = json.dumps({"event": "library_log", "message": quoted, "process": "web", "pid": 1})
    assert verified(own.encode() + b"\n").summary["records"] == 0


def test_the_place_of_a_record_is_its_file_and_line(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(b"one\n\n" + STORM)
    found = next(iter(Reading(Sources([str(log)]))))
    assert (found.line.file, found.line.number) == (0, 3)
    assert is_as_written(found)


def test_a_line_longer_than_any_record_is_passed_over(
    verified: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "LONGEST_LINE", 8_192)
    said = verified(b"[" * 100_000 + b"\n" + STORM + b'{"hash":' * 5_000)
    assert said.whole
    assert said.summary["long"] == 2


def test_a_file_that_breaks_off_is_named_and_not_whole(verified: Verifier) -> None:
    packed = gzip.compress(STORM)
    said = verified(packed[: len(packed) // 2], RECORDED)
    assert not said.whole
    assert [*said.summary["broken"].values()] == [
        "EOFError: Compressed file ended before the end-of-stream marker was reached"
    ]
    assert said.rooms[RECORDED_ROOM] == []


@hypothesis_settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.binary(max_size=80)
        | st.sampled_from(
            [
                b'{"n":1,"prev":2,"hash":3}',
                b'{"n":true,"prev":"","hash":"","room_sid":[]}',
                b'{"n":1e400,"prev":"","hash":"","room_sid":""}',
                b'{"n":-5,"prev":"\\ud800","hash":"x","room_sid":"\\u0000"}',
                b'{"log":{"n":1,"prev":"","hash":"","room_sid":"RM"}}',
                b'{"log":"{\\"log\\":\\"hash' + b"[" * 2_000,
                b'{"a":' * 3_000 + b'"prev hash"',
                b'{"n":99999999999999999999,"room_sid":"a","prev":"","hash":"' + b"0" * 64 + b'"}',
                b"\x1f\x8b",
                b"BZh",
                b"\xff\xfe",
            ]
        )
    )
)
def test_garbage_never_stops_the_reading(verified: Verifier, pieces: list[bytes]) -> None:
    verified(b"\n".join(pieces))
