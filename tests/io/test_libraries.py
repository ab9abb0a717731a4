"""Libraries say on stderr what they are allowed to, in this process and in its workers."""

import logging
import sys
import warnings
from pathlib import Path

import pytest
from odd_headers import write_with_header

from vsuda_cli import console
from vsuda_cli.io.batch import Job, JobResult
from vsuda_cli.io.header import read_header
from vsuda_cli.io.workers import run

pytestmark = pytest.mark.usefixtures("restored_console")


@pytest.fixture
def mirrored(tmp_path: Path) -> Path:
    """An image whose pixel sizes are negative, which nibabel mends and tells."""

    def change(header: object) -> None:
        header["pixdim"][1:4] *= -1  # type: ignore[index]

    return write_with_header(tmp_path / "a_hrT2.nii.gz", change)


def read(path: Path) -> JobResult:
    """Read a header; a worker process imports this."""
    read_header(path)
    return JobResult(())


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("quiet", "verbose", "heard"),
    [(True, 0, False), (False, 0, False), (False, 1, False), (False, 2, True)],
)
def test_libraries_are_heard_with_vv_only(
    workers: int,
    quiet: bool,
    verbose: int,
    heard: bool,
    mirrored: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # Its handler keeps the stderr that there was when it was imported.
    for handler in logging.getLogger("nibabel.global").handlers:
        monkeypatch.setattr(handler, "stream", sys.stderr)
    console.set_up_logging(quiet, verbose)
    jobs = [Job(str(number), (), (mirrored,)) for number in range(2)]
    assert [type(result) for _, result in run(jobs, read, workers)] == [JobResult, JobResult]
    assert ("pixdim" in capfd.readouterr().err) is heard


def warn(path: Path) -> JobResult:
    """Warn of a file, as libraries do; a worker process imports this."""
    warnings.warn(f"{path}: hoping for the best", stacklevel=1)
    return JobResult(())


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("quiet", "verbose", "heard"),
    [(True, 0, False), (False, 0, False), (False, 1, False), (False, 2, True)],
)
@pytest.mark.filterwarnings("always:.*hoping")
def test_warnings_are_heard_with_vv_only(
    workers: int,
    quiet: bool,
    verbose: int,
    heard: bool,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # A test before may have left them captured.
    logging.captureWarnings(False)
    # Not pytest's, which keeps them for its summary.
    monkeypatch.setattr(warnings, "showwarning", print_warning)
    console.set_up_logging(quiet, verbose)
    jobs = [Job(str(number), (), (Path(f"{number}.nii"),)) for number in range(2)]
    assert [type(result) for _, result in run(jobs, warn, workers)] == [JobResult, JobResult]
    assert ("hoping for the best" in capfd.readouterr().err) is heard


def print_warning(message: Warning | str, *where: object) -> None:
    """Print a warning where Python prints it."""
    print(message, file=sys.stderr)


def test_drawing_says_nothing_of_its_cache() -> None:
    for verbose, heard in ((0, False), (2, True)):
        console.set_up_logging(False, verbose)
        assert logging.getLogger("matplotlib.font_manager").isEnabledFor(logging.WARNING) is heard
