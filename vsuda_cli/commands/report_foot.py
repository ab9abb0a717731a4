"""What stands at a report's foot: how it was made, with what, when, and from which data."""

import datetime
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from vsuda_cli import __version__
from vsuda_cli.errors import counted, printable
from vsuda_cli.io.fingerprint import fingerprint

LIBRARIES = ("numpy", "scipy", "nibabel", "matplotlib")


def foot(files: Sequence[Path]) -> dict[str, str]:
    """Return command, versions, date (UTC) and the fingerprint of the files, by name.

    The date is SOURCE_DATE_EPOCH's where that is set, for a page of the same bytes.
    """
    found = [path for path in files if path.is_file()]
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return {
        "command": " ".join(printable(word) for word in ["vsuda", *sys.argv[1:]]),
        "versions": f"vsuda {__version__}, Python {platform.python_version()}, {libraries}",
        "date": when.strftime("%Y-%m-%d %H:%M UTC"),
        "data": f"{counted(len(found), 'file')}, SHA-256 {fingerprint(found)}",
    }
