"""`vsuda` in this process, through its entry point: a new interpreter needs seconds for torch."""

import contextlib
import io
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from vsuda_cli import cli, console


@dataclass(frozen=True)
class Result:
    """What one call gave."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of stdout."""
        return self.out.splitlines()


def vsuda(*words: object, stdin: str = "") -> Result:
    """Run `vsuda WORDS`; a string of several words is split, a path is not."""
    split: list[str] = []
    for word in words:
        split += word.split() if isinstance(word, str) else [str(word)]
    return run(split, stdin)


def run(arguments: Sequence[str], stdin: str = "") -> Result:
    """Run `vsuda` with these arguments and leave logging and signals as they were."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["vsuda", *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        _restored(),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Result(code, out.getvalue(), err.getvalue())


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones too, but for TensorBoard's with their times."""
    every = (path for path in sorted(folder.rglob("*")) if path.is_file())
    files = (path for path in every if path.parent.name != "tensorboard")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    logger = logging.getLogger("vsuda_cli")
    before = logger.handlers[:], logger.level, logger.propagate, console.err.quiet
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        logger.handlers[:], logger.level, logger.propagate, console.err.quiet = before
