"""Log files as they lie about: opened, decompressed, recoded, and cut into lines of bounded length.

Knows nothing of what a line says. A file that breaks off is read as far as it goes, and named.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import click

STANDARD_INPUT = "-"
# In place of the number of a file, for what does not come from one.
IN_REDIS = -1
# Twice what the largest callback makes of a record: 64 KiB of parameters, told once more as it lay
# in the inbox where it was set aside, with every byte escaped.
LONGEST_LINE = 2 * 1024 * 1024
_BUFFER = 1 << 20
# The bar is drawn anew after so many lines.
_LINES_BETWEEN = 5_000

# What compressed files begin with.
_COMPRESSED: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError)


class Line(NamedTuple):
    """A line of a file; `text` is None where it was longer than any record."""

    file: int
    number: int
    text: bytes | None


class Sources:
    """Several files, read in turn, more than once where that is wanted."""

    def __init__(self, paths: Iterable[str], *, again: bool = False) -> None:
        """Take note of the files.

        Args:
            paths: `-` stands for standard input.
            again: they are read more than once, so standard input is kept on disk.
        """
        self.paths = [*dict.fromkeys(paths)]
        # Of files that could not be read to their end: why.
        self.broken: dict[str, str] = {}
        self._kept = _kept_input() if again and STANDARD_INPUT in self.paths else None

    def name(self, file: int) -> str:
        """Name a file for a person."""
        if file == IN_REDIS:
            return "Redis"
        path = self.paths[file]
        return "standard input" if path == STANDARD_INPUT else path

    def lines(self) -> Iterator[Line]:
        """Read all files, with a bar on standard error where that is a terminal."""
        with ExitStack() as stack:
            bar = stack.enter_context(
                click.progressbar(
                    length=sum(map(_size, self.paths)),
                    label="Reading",
                    file=sys.stderr,
                    hidden=STANDARD_INPUT in self.paths or not sys.stderr.isatty(),
                )
            )
            for file, path in enumerate(self.paths):
                try:
                    yield from self._lines_of(file, path, bar.update)
                except _BROKEN as error:
                    self.broken[self.name(file)] = f"{type(error).__name__}: {error}"

    def _lines_of(self, file: int, path: str, advance: Callable[[int], None]) -> Iterator[Line]:
        with self._opened(path) as stream, _plain(stream) as readline:
            told = 0
            for number, text in enumerate(_cut(readline), start=1):
                yield Line(file, number, text)
                if number % _LINES_BETWEEN == 0 and path != STANDARD_INPUT:
                    advance(stream.tell() - told)
                    told = stream.tell()
            if path != STANDARD_INPUT:
                advance(_size(path) - told)

    @contextmanager
    def _opened(self, path: str) -> Iterator[BufferedReader]:
        if path != STANDARD_INPUT:
            with Path(path).open("rb", buffering=_BUFFER) as file:
                yield cast("BufferedReader", file)
        elif self._kept is None:
            yield cast("BufferedReader", sys.stdin.buffer)
        else:
            self._kept.seek(0)
            yield cast("BufferedReader", self._kept)


def _size(path: str) -> int:
    return 0 if path == STANDARD_INPUT else Path(path).stat().st_size


def _kept_input() -> IO[bytes]:
    kept = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as it is read
    shutil.copyfileobj(sys.stdin.buffer, kept)
    return kept


@contextmanager
def _plain(stream: BufferedReader) -> Iterator[Callable[[int], bytes]]:
    """Give a way to read lines of UTF-8, or of what nearly is, whatever lies in the file."""
    head = stream.peek(8)
    with ExitStack() as stack:
        for magic, open_ in _COMPRESSED.items():
            if head.startswith(magic):
                unpacked = stack.enter_context(open_(stream))
                stream = stack.enter_context(BufferedReader(unpacked, _BUFFER))
                head = stream.peek(8)
                break
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            # What PowerShell's > makes of a log.
            recoded = TextIOWrapper(stream, "utf-16", errors="replace", newline="\n")
            stack.callback(recoded.detach)
            yield lambda size: recoded.readline(size).encode()
        else:
            yield stream.readline


def _cut(readline: Callable[[int], bytes]) -> Iterator[bytes | None]:
    while line := readline(LONGEST_LINE):
        if line.endswith(b"\n") or len(line) < LONGEST_LINE:
            yield line
            continue
        while (rest := readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
            pass
        yield None
