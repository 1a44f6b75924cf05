"""What the tests are worth: each promise is broken in a copy, and some test must fail for it.

`make mutations` plays them all. Without the nonce, the number of the commit, the idempotence of
merging, the sweep or the fsync of the spool, everything would seem to work until something dies.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
_BOUND_SECONDS = 300.0
_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info")


class Mutation(NamedTuple):
    """A promise that is broken."""

    what: str
    file: str
    old: str
    new: str
    # Where a test is expected to notice.
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "a commit does not look at the nonce",
        "workers/scripts/commit.lua",
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then",
        "if false then",
        ("tests/workers/test_store.py",),
    ),
    Mutation(
        "a commit does not look at the number of the one before",
        "workers/scripts/commit.lua",
        "if (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then",
        "if false then",
        ("tests/workers/test_store.py",),
    ),
    Mutation(
        "a callback that was merged before counts as news",
        "workers/room/conclude.py",
        "if merged is facts:",
        "if merged is None:",
        ("tests/workers/test_drain.py", "tests/room/test_laws.py"),
    ),
    Mutation(
        "of a track's switches the last that came counts",
        "workers/room/merge.py",
        'return {"switched": _greatest(track.switched, switched)}',
        'return {"switched": switched}',
        ("tests/room/test_beliefs.py",),
    ),
    Mutation(
        "the sweep finds nothing",
        "workers/sweep.py",
        "_wake(store.waiting(), wake)",
        "_wake([], wake)",
        ("tests/workers/test_sweep.py", "tests/workers/test_drain.py"),
    ),
    Mutation(
        "a worker's own sweep drains nothing",
        "workers/sweep.py",
        "            if shard in self._waited and not self._leaving.is_set():",
        "            if False:",
        ("tests/workers/test_sweep.py", "tests/workers/test_drain.py"),
    ),
    Mutation(
        "the spool does not wait for the disk",
        "ingest/spool_database.py",
        "pragma synchronous = full",
        "pragma synchronous = off",
        ("tests/ingest/test_door_spool.py",),
    ),
    Mutation(
        "audit lines are taken for written as soon as they are committed",
        "workers/drain.py",
        "self._store.release(hold, hand_on=True, audited=False)",
        "self._store.release(hold, hand_on=True, audited=True)",
        ("tests/workers/test_drain.py",),
    ),
    Mutation(
        "what Redis has lost is not deposited again",
        "ingest/losses.py",
        "lost = self._make_good() if self._servers and servers - self._servers else 0",
        "lost = 0",
        ("tests/ingest/test_door_losses.py",),
    ),
)


def caught_by(mutation: Mutation, folder: Path) -> str:
    """Break a promise in a copy; return the first test that fails, or nothing.

    Raises:
        ValueError: the code is not what the mutation expects.
    """
    shutil.copytree(ROOT, folder, ignore=_LEFT_OUT)
    file = folder / mutation.file
    text = file.read_text()
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.file} does not hold once: {mutation.old}")
    file.write_text(text.replace(mutation.old, mutation.new))
    played = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutation.tests],
        cwd=folder,
        # The package that is installed is the one of the repository.
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{folder}:{folder / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_BOUND_SECONDS,
    )
    failed = [line for line in played.stdout.splitlines() if line.startswith("FAILED ")]
    return failed[0].removeprefix("FAILED ").partition(" - ")[0] if failed else ""


def main() -> int:
    """Play all; return 1 where one was not noticed."""
    noticed = []
    for mutation in MUTATIONS:
        with tempfile.TemporaryDirectory() as folder:
            test = caught_by(mutation, Path(folder) / "copy")
        noticed.append(bool(test))
        print(f"{mutation.what}\n    {test or 'NOBODY NOTICED'}", flush=True)  # noqa: T201  # a report is printed
    return 0 if all(noticed) else 1


if __name__ == "__main__":
    sys.exit(main())
