"""`make bench-smoke`: the benchmarks run, and every callback of theirs is accounted for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import BEGIN, END, write_into

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
LETTERS = "abcdefgh"


@pytest.fixture(scope="module")
def said() -> str:
    """What is printed; the run ends with an error where something was lost or refused."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--smoke"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_figure_is_measured_of_rollcall(said: str) -> None:
    rows = re.findall(r"^\| ([a-h]) \| (.+) \| (\S+) \| (\S+) \| (\S+) \|$", said, re.MULTILINE)
    assert {letter for letter, *_ in rows} | {"f"} == set(LETTERS)
    assert [what for _, what, _, ours, _ in rows if ours == "-"] == []


def test_every_ceiling_and_every_size_is_measured(said: str) -> None:
    for ceiling in ("Flask on Granian", "Rollcall's door", "XADD", "the heart alone"):
        assert re.search(rf"^\| {ceiling}.* \| [\d,.]+ \|", said, re.MULTILINE)
    for size in ("10 live rooms", "20 live rooms", "2 participants a room"):
        assert re.search(rf"^\| {size} \| [\d,.]+ \|", said, re.MULTILINE)


def test_the_capacity_plan_is_worked_out(said: str) -> None:
    planned = re.findall(r"^\| (1,000|10,000|100,000) \| [\d,]+ \| [\d,]+ \|", said, re.MULTILINE)
    assert planned == ["1,000", "10,000", "100,000"]
    assert "What gives first" in said


def test_the_report_goes_between_the_marks_of_a_document(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_into(document, "new")
    assert document.read_text() == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    document.write_text("no marks")
    with pytest.raises(ValueError, match="has no place"):
        write_into(document, "new")


def test_the_document_has_its_marks() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    assert text.index(BEGIN) < text.index(END)
