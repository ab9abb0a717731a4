"""Can outputs be written where they are wanted? Asked before the work, not after it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from vsuda_cli.errors import VsudaError

# Where systems keep what looks like a file and is none.
DEVICES = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))


def require_writable(folders: Iterable[Path]) -> None:
    """Raise VsudaError for a folder that is a file, or that this user cannot make or write to.

    Nothing is made: a folder that is not there yet is judged by the first one above it that is.
    """
    for folder in sorted(set(folders)):
        place = folder.absolute()
        while not os.path.lexists(place):
            place = place.parent
        if not place.is_dir():
            raise VsudaError(place, "is no folder", f"outputs go to {folder}; give another one")
        if not os.access(place, os.W_OK | os.X_OK):
            raise VsudaError(place, "cannot be written to", "change its permissions or the output")


def require_writable_files(paths: Sequence[Path]) -> None:
    """Raise VsudaError for a file to be written that is a folder, or whose folder cannot be.

    And for what is no file at all: a device or pipe would be replaced by one.
    """
    for path in paths:
        if path.is_dir():
            raise VsudaError(path, "is a folder", "give a file")
        # /dev/stdout may lead to a regular file, and is still nothing to be replaced.
        if (path.exists() and not path.is_file()) or path.absolute().parent in DEVICES:
            raise VsudaError(path, "is a device or a pipe", "give a file, or - for standard output")
    require_writable(path.parent for path in paths)
