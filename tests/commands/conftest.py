"""Tiny training runs that the tests of several commands look at."""

from pathlib import Path

import pytest
import tiny_runs


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with source and target crops and one finished run of every training command."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_runs.write_crops(folder)
    for name in tiny_runs.LINES:
        log = folder / f"{name}.log"
        code = tiny_runs.run(tiny_runs.words(name, folder, folder / name), log)
        assert code == 0, log.read_text()
    return folder
