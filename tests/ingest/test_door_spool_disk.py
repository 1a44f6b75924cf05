"""The disk under the spool: full, slow, locked, taken away, damaged, or of somebody else."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from ingest.spool import Spool
from ingest.spool_file import SpoolFile
from ingest.spool_folder import spool_folder
from ingest.spool_rows import Row
from schemas.errors import UnavailableError
from schemas.settings import Settings

MEBIBYTE = 1 << 20
SOON = 5.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Iterator[Spool]:
    made = Spool(folder, MEBIBYTE)
    yield made
    made.close()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    capture = LogCapture()
    for module in ("spool", "spool_queue"):
        logger = structlog.wrap_logger(None, processors=[capture])
        monkeypatch.setattr(f"ingest.{module}._log", logger)
    return capture.entries


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def left_by_the_dead(folder: Path, name: str, *params: bytes) -> Path:
    """Make a file as a process leaves it that is killed."""
    made = SpoolFile.make(folder)
    if params:
        made.add([Row(one, "") for one in params])
    made.close(keep=True)
    made.path.with_suffix(".lock").unlink()
    return made.path.rename(folder / name)


def kept(spool: Spool) -> list[bytes]:
    return [one.params for file in spool.waiting() for one in file.oldest(1000)]


# -- a disk that does not take it -----------------------------------------------------------------


def test_a_folder_that_cannot_be_made_is_unavailable_until_it_can(
    folder: Path, spool: Spool, log: list[Any], eventually: Callable[..., None]
) -> None:
    folder.write_text("a file where the folder should be")
    before = descriptors()
    for _ in range(50):
        with pytest.raises(UnavailableError):
            spool.put(b"{}", "", seconds=SOON)
    assert descriptors() == before
    assert not spool.has_room
    folder.unlink()

    def is_well() -> bool:
        spool.retry(seconds=SOON)
        return spool.has_room

    eventually(is_well)
    spool.put(b"{}", "", seconds=SOON)
    assert [one["event"] for one in log] == ["spool_failing", "spool_failing_no_more"]


FULL = """
import os, resource, signal, sys
from pathlib import Path
from ingest.spool import Spool
from schemas.errors import UnavailableError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder, descriptors = Path(sys.argv[1]), lambda: len(os.listdir("/proc/self/fd"))
def full(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
spool, before = Spool(folder, 1 << 20), descriptors()
full(0)
refused = 0
for _ in range(50):
    try:
        spool._queue._not_before = 0.0
        spool.put(b"{}", "", seconds=5)
    except UnavailableError:
        refused += 1
seen = refused, descriptors() - before, len(os.listdir(folder)), spool.has_room
full(resource.RLIM_INFINITY)
print(*seen)
"""


def test_a_disk_that_is_full_at_the_first_callback_leaks_nothing(folder: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(folder)], capture_output=True, check=False, text=True
    )
    assert ended.stdout.splitlines()[-1] == "50 0 0 False", ended.stderr


def test_a_file_that_somebody_has_locked_costs_no_request_more_than_its_time(
    spool: Spool, eventually: Callable[..., None]
) -> None:
    spool.put(b"{}", "", seconds=SOON)
    (file,) = spool.waiting()
    shell = sqlite3.connect(file.path, isolation_level=None)
    shell.execute("begin immediate")
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(UnavailableError):
            spool.put(b"{}", "", seconds=0.4)
    # SQLite itself would wait for five seconds each time.
    assert time.monotonic() - began < 20
    assert not spool.has_room
    shell.execute("rollback")
    shell.close()

    def is_taken() -> bool:
        try:
            spool.put(b"{}", "", seconds=SOON)
        except UnavailableError:
            return False
        return True

    eventually(is_taken)
    assert spool.has_room


def test_what_waits_for_a_disk_that_hangs_is_given_up_and_takes_no_room(spool: Spool) -> None:
    spool.put(b"{}", "", seconds=SOON)
    (file,) = spool.waiting()
    queue = spool._queue  # noqa: SLF001  # what is given up shows nowhere else
    with file._using:  # noqa: SLF001  # no test can make a disk hang

        def put() -> None:
            with pytest.raises(UnavailableError):
                spool.put(b"x" * 1000, "", seconds=0.05)

        threads = [threading.Thread(target=put) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
        # At most those that the disk was about to take.
        assert not queue._gathering._waiting  # noqa: SLF001  # as above
        assert not spool.has_room
    spool.close()
    assert queue.size == 0


def test_requests_that_come_at_once_do_not_fill_the_spool_beyond_its_bound(folder: Path) -> None:
    spool = Spool(folder, 200_000)

    def put() -> None:
        for _ in range(20):
            try:
                spool.put(b"x" * 10_000, "", seconds=SOON)
            except UnavailableError:
                return

    threads = [threading.Thread(target=put) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert 0 < spool.size <= 200_000
    spool.close()


# -- a disk that is taken away --------------------------------------------------------------------


REMOVED = """
import os, shutil, sys
from pathlib import Path
from ingest.spool import Spool
folder = Path(sys.argv[1])
spool = Spool(folder, 1 << 20)
spool.put(b'{"n": "1"}', "", seconds=5)
if sys.argv[2] == "folder":
    shutil.rmtree(folder)
else:
    (file,) = folder.glob("*.spool")
    file.unlink()
spool.put(b'{"n": "2"}', "", seconds=5)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_was_in_a_spool_that_is_removed_is_saved_into_a_new_one(
    folder: Path, spool: Spool, what: str
) -> None:
    ended = subprocess.run([sys.executable, "-c", REMOVED, str(folder), what], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert spool.adopt() == 2
    assert kept(spool) == [b'{"n": "1"}', b'{"n": "2"}']


def test_a_file_that_is_damaged_while_it_is_used_is_left_and_another_one_made(
    folder: Path, spool: Spool, log: list[Any]
) -> None:
    spool.put(b"{}", "", seconds=SOON)
    (damaged,) = folder.glob("*.spool")
    shell = sqlite3.connect(damaged)
    # With the log emptied, SQLite reads the file itself again.
    shell.execute("pragma wal_checkpoint(truncate)")
    shell.close()
    damaged.write_bytes(b"garbage" * 2000)
    spool.put(b'{"n": "2"}', "", seconds=SOON)
    assert kept(spool) == [b'{"n": "2"}']
    assert damaged.read_bytes() == b"garbage" * 2000
    assert [one["event"] for one in log] == ["spool_file_damaged"]
    assert spool.adopt() == 0


# -- what the dead have left ----------------------------------------------------------------------


def test_a_damaged_file_is_left_as_it_is_told_once_and_hinders_nobody(
    folder: Path, spool: Spool, log: list[Any]
) -> None:
    left_by_the_dead(folder, "2-sound.spool", b"{}")
    (folder / "1-damaged.spool").write_bytes(b"not a database" * 100)
    assert [spool.adopt() for _ in range(3)] == [1, 0, 0]
    assert (folder / "1-damaged.spool").read_bytes() == b"not a database" * 100
    assert [(one["event"], one["file"]) for one in log] == [
        ("spool_not_adopted", "1-damaged.spool")
    ]


def test_a_lock_that_cannot_be_opened_does_not_stop_the_adoption_of_the_others(
    folder: Path, spool: Spool, log: list[Any]
) -> None:
    left_by_the_dead(folder, "2-sound.spool", b"{}")
    (folder / "1-locked.spool").touch()
    (folder / "1-locked.lock").mkdir()
    assert [spool.adopt() for _ in range(3)] == [1, 0, 0]
    assert [one["file"] for one in log] == ["1-locked.spool"]


def test_empty_files_of_the_dead_are_removed_and_closed(folder: Path, spool: Spool) -> None:
    for number in range(20):
        left_by_the_dead(folder, f"{number}-empty.spool")
    before = descriptors()
    assert spool.adopt() == 0
    assert descriptors() == before
    assert not list(folder.iterdir())


def test_a_file_that_another_process_has_just_removed_is_not_made_anew(folder: Path) -> None:
    folder.mkdir()
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        SpoolFile.adopt(folder / "1-removed.spool")
    assert not list(folder.iterdir())
    assert descriptors() == before


# -- other people on the machine ------------------------------------------------------------------


def test_nobody_else_can_read_the_spool_even_in_a_folder_that_everybody_may_enter(
    folder: Path, spool: Spool
) -> None:
    folder.mkdir(mode=0o755)
    spool.put(b"{}", "", seconds=SOON)
    modes = {one.name[-4:]: one.stat().st_mode & 0o777 for one in folder.iterdir()}
    assert modes == dict.fromkeys(("pool", "-wal", "-shm", "lock"), 0o600)


def test_a_folder_that_the_spool_makes_is_entered_by_nobody_else(
    folder: Path, spool: Spool
) -> None:
    spool.put(b"{}", "", seconds=SOON)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_rollcalls_with_another_redis_or_another_prefix_have_folders_of_their_own(
    settings: Settings,
) -> None:
    def folder_of(url: str, prefix: str = "rollcall") -> Path:
        return spool_folder(replace(settings, redis_url=url, prefix=prefix))

    one = folder_of("redis://here/0")
    assert one.parent == settings.spool_dir
    others = {
        folder_of("redis://there/0"),
        folder_of("redis://here:6380/0"),
        folder_of("redis://here/1"),
        folder_of("redis://here/0", "staging"),
    }
    assert len(others - {one}) == 4
    # The same Redis, written otherwise, or with another password.
    same = ("redis://here", "redis://HERE:6379/", "redis://user:secret@here/0", "rediss://here/0")
    assert {folder_of(url) for url in same} == {one}
    assert "secret" not in str(folder_of("redis://user:secret@here/0"))
