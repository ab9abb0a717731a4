"""How much the libraries that read and draw for us may say on stderr."""

import logging

# Nibabel tells there what it mends in a header, matplotlib that it has nowhere to keep its fonts.
LIBRARIES = ("nibabel.global", "matplotlib")
SILENT = logging.CRITICAL + 1


def set_loudness(level: int) -> None:
    """Let libraries log what is of this level or above, and Python print their warnings if it is.

    Captured warnings go to a log that nobody prints.
    """
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(level > logging.WARNING)


def loudness() -> int:
    """Return the level set, for a worker process to take over."""
    return logging.getLogger(LIBRARIES[0]).level
