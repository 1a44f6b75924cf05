"""The Makefile's environment belongs to its folder: a copy of both makes one of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

# Stands in for Python, and for the one in the environment that it makes. `rollcall` there says in
# which folder it was made, as the real one runs the code of that folder.
PYTHON = """\
#!/bin/sh
echo "$*" >> python.log
case "$*" in
  *"--clear .venv") rm -rf .venv ;;
esac
case "$*" in
  "-m venv "*)
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    printf '#!/bin/sh\\necho "made in %s"\\n' "$PWD" > .venv/bin/rollcall
    chmod +x .venv/bin/rollcall ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    folder.mkdir()
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


def make(project: Path) -> tuple[str, list[str]]:
    """Run `make run`; return what the environment's program said and what Python was asked."""
    python = project.parent / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    log = project / "python.log"
    log.unlink(missing_ok=True)
    done = subprocess.run(
        ["make", "--silent", "run", f"PYTHON={python}"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        cwd=project,
        check=True,
    )
    asked = log.read_text().splitlines() if log.exists() else []
    return done.stdout.splitlines()[-1], asked


def test_the_environment_is_made_once(project: Path) -> None:
    said, asked = make(project)
    assert said == f"made in {project}"
    assert any("--require-hashes" in one for one in asked)
    assert make(project) == (said, [])


def test_a_copied_folder_makes_its_environment_anew_and_runs_its_own_code(project: Path) -> None:
    make(project)
    copy = project.parent / "copy"
    shutil.copytree(project, copy, symlinks=True)
    said, asked = make(copy)
    assert said == f"made in {copy}"
    assert "-m venv --clear .venv" in asked
    assert make(copy) == (said, [])
    assert make(project) == (f"made in {project}", [])


def test_a_changed_pin_is_installed_into_the_environment_that_is_there(project: Path) -> None:
    make(project)
    os.utime(project / "constraints.txt", (2**32, 2**32))
    _, asked = make(project)
    assert "-m venv .venv" in asked
