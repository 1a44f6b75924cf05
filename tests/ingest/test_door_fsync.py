"""What the spool has kept is on the disk by then: the kernel is watched, not SQLite believed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

MISSING = "needs strace, and the right to trace (Debian: apt-get install strace)"
_BOUND_SECONDS = 60.0

KEEPS = """
import os, sys
from pathlib import Path
from ingest.spool import Spool
spool = Spool(Path(sys.argv[1]), 1 << 20)
for number in range(5):
    os.write(1, b"asked\\n")
    spool.put(b'{"n": "%d"}' % number, "", seconds=30)
os.write(1, b"asked\\n")
"""


@pytest.fixture
def watched(tmp_path: Path) -> list[str]:
    """What a process that keeps callbacks asks of the kernel, as strace writes it down."""
    written = tmp_path / "calls"
    if not traced(["true"], written):
        pytest.skip(MISSING)
    assert traced([sys.executable, "-c", KEEPS, str(tmp_path / "spool")], written)
    return written.read_text().splitlines()


def traced(command: list[str], written: Path) -> bool:
    """Run a command and write down what it asks; no, where it failed or may not be traced."""
    calls = "trace=write,pwrite64,fsync,fdatasync"
    strace = shutil.which("strace")
    return (
        bool(strace)
        and not subprocess.run(
            [strace, "-f", "-y", "-qq", "-e", calls, "-o", str(written), *command],
            cwd=Path(__file__).parent.parent.parent,
            capture_output=True,
            check=False,
            timeout=_BOUND_SECONDS,
        ).returncode
    )


def test_nothing_is_kept_before_the_disk_has_synced_it(watched: list[str]) -> None:
    asked = [place for place, call in enumerate(watched) if '"asked' in call]
    assert len(asked) == 6
    for one, next_one in pairwise(asked):
        calls = watched[one:next_one]
        # SQLite writes a commit into the file beside its own (https://sqlite.org/wal.html).
        [*_, last_write] = [
            n for n, call in enumerate(calls) if "pwrite64(" in call and "-wal>" in call
        ]
        assert any("sync(" in call and "-wal>" in call for call in calls[last_write:]), calls
