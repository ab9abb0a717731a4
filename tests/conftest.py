"""All tests run on one thread: small arrays, and results that do not depend on the machine."""

import logging
from collections.abc import Iterator

import pytest
import torch

from vsuda_cli import console
from vsuda_cli.io import libraries

torch.set_num_threads(1)


@pytest.fixture
def restored_console() -> Iterator[None]:
    """Let a test set up logging; afterwards all is as loud as it was."""
    logger = logging.getLogger("vsuda_cli")
    before = logger.handlers[:], logger.level, logger.propagate, console.err.quiet
    loudness = libraries.loudness()
    yield
    logger.handlers[:], logger.level, logger.propagate, console.err.quiet = before
    libraries.set_loudness(loudness)
