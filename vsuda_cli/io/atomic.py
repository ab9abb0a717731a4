"""Files that appear whole or not at all."""

import os
import socket
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL_SUFFIX = ".partial"
_READING_MASK = threading.Lock()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed to `path`.

    When the block raises, the temporary file is removed and whatever was at `path` stays. The
    temporary name starts with a dot and ends in `.partial`, so no command takes it for an image.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Thirty characters are at most 120 bytes, a machine's name 64: no longer than a name may be.
    handle, name = tempfile.mkstemp(
        dir=path.parent,
        prefix=f".{path.name[:30]}.{_machine()}.{os.getpid()}.",
        suffix=PARTIAL_SUFFIX,
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # Python names no file where a write itself fails, as on a full disk.
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file atomically, in UTF-8; file names that are not stay as they are."""
    write_bytes(path, text.encode(errors="surrogateescape"))


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove temporary files in `folders` whose writers on this machine were killed.

    Those of running processes and of other machines that share the folders stay.
    """
    for folder in set(folders):
        for path in folder.glob(f".*.{_machine()}.*{PARTIAL_SUFFIX}"):
            writer = path.name.removesuffix(PARTIAL_SUFFIX).split(".")[-2]
            if writer.isdecimal() and not _is_running(int(writer)):
                path.unlink(missing_ok=True)


def _machine() -> str:
    return socket.gethostname().partition(".")[0][:64]


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _umask() -> int:
    # The process's mask can only be read by setting it; mkstemp alone would leave files private.
    # Two threads at it would leave one's substitute as the mask for good.
    with _READING_MASK:
        mask = os.umask(0o022)
        os.umask(mask)
    return mask
