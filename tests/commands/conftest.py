"""Tiny training runs that the tests of several commands look at."""

from collections.abc import Iterator
from pathlib import Path

import killable_runs
import pytest
from without_plots import without_plots


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with source and target crops and one finished run of every training command."""
    folder = tmp_path_factory.mktemp("tiny")
    killable_runs.write_crops(folder)
    for name in killable_runs.LINES:
        log = folder / f"{name}.log"
        code = killable_runs.run(killable_runs.words(name, folder, folder / name), log)
        assert code == 0, log.read_text()
    return folder


@pytest.fixture(scope="module")
def plain_pages() -> Iterator[None]:
    """Runs' pages without curves: what a module's tests check is something else."""
    with without_plots():
        yield
