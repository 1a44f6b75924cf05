"""What the tests are worth: each promise is broken in a copy, and some test must fail for it.

`make mutations` plays them all. Before, the same tests have to pass in a copy where nothing is
broken: one that fails anyway notices nothing. Without the nonce, the number of the commit, the
idempotence of merging, the sweep or the fsync of the spool, everything would seem to work until
something dies.
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
        "a commit does not look whether the inbox is the one that was read",
        "workers/scripts/commit.lua",
        "if #found ~= going or found[1][1] ~= ARGV[6] then",
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
        # The first watches the kernel, and is skipped where strace is missing.
        ("tests/ingest/test_door_fsync.py", "tests/ingest/test_door_spool.py"),
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
        "lost = self._make_good(strangers) if self._servers and strangers else 0",
        "lost = 0",
        ("tests/ingest/test_door_losses.py",),
    ),
)


def main() -> int:
    """Play all; return 1 where one was not noticed, or a test fails where nothing is broken."""
    for tests in dict.fromkeys(mutation.tests for mutation in MUTATIONS):
        played = _played(tests)
        if played.returncode:
            _say(f"{', '.join(tests)} fail where nothing is broken:\n{played.stdout}")
            return 1
    noticed = []
    for mutation in MUTATIONS:
        test = _first_failed(_played(mutation.tests, mutation).stdout)
        noticed.append(bool(test))
        _say(f"{mutation.what}\n    {test or 'NOBODY NOTICED'}")
    return 0 if all(noticed) else 1


def _played(
    tests: tuple[str, ...], mutation: Mutation | None = None
) -> subprocess.CompletedProcess[str]:
    """Run tests in a copy, in which a promise may be broken; the first that fails ends it.

    Raises:
        ValueError: the code is not what the mutation expects.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=_LEFT_OUT)
        if mutation:
            _break(copy / mutation.file, mutation)
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
            cwd=copy,
            # The package that is installed is the one of the repository.
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{copy}:{copy / 'tests'}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_BOUND_SECONDS,
        )


def _break(file: Path, mutation: Mutation) -> None:
    text = file.read_text()
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.file} does not hold once: {mutation.old}")
    file.write_text(text.replace(mutation.old, mutation.new))


def _first_failed(said: str) -> str:
    failed = [line for line in said.splitlines() if line.startswith("FAILED ")]
    return failed[0].removeprefix("FAILED ").partition(" - ")[0] if failed else ""


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # a report is printed


if __name__ == "__main__":
    sys.exit(main())
