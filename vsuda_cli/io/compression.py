"""Gzip streams: read with a limit and verified to their end, written the same every time."""

import importlib
import io
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from types import ModuleType

from vsuda_cli.errors import VsudaError

library: ModuleType
try:
    # Scans load in two thirds of zlib's time and are saved in a third (tests/benchmarks/files.py).
    library = importlib.import_module("isal.isal_zlib")
except ImportError:
    library = zlib

SUFFIX = ".gz"
# zlib's name for "with gzip's header and trailer": the trailer's checksum is verified.
GZIP_FORMAT = 31
GZIP_MAGIC = b"\x1f\x8b"
# Deflate, no name, no time, fast, of no system.
GZIP_HEADER = GZIP_MAGIC + b"\x08\x00\x00\x00\x00\x00\x04\xff"
CHUNK_BYTES = 1 << 20
# What is compressed at once; what lies in another block is not referred to. Small enough that a
# crop's blocks keep all threads busy; files are as large as with blocks of 1 MiB, to 1 %.
BLOCK_BYTES = 1 << 17
# So many are deflated sooner than threads are started: a crop's labels take 1.1 ms, not 4.
FEW_BLOCKS = 8
# What may follow the voxels: some writers fill the last block. More is another image or a bomb.
MOST_TRAILING_BYTES = 1 << 16
BROKEN_STREAM: tuple[type[Exception], ...] = (EOFError, zlib.error, library.error)

# Measured by tests/benchmarks/files.py on a 12 bit scan of 16 million voxels: level 1 takes 1.6 s
# for 18.3 MB, level 4 2.3 s for 17.8 MB, level 6 6.4 s for 17.5 MB, level 9 25 s for 17.3 MB: 5 %
# are not worth several times the time.
COMPRESSION_LEVEL = 1
# Pseudo-images of 16 bits, MB/s and size: 790 and 0.80 of the bytes; zlib's level 1 60 and 0.79.
ISAL_LEVEL = 1


def is_compressed(path: Path) -> bool:
    """Tell by the name whether a file is gzip-compressed."""
    return path.name.endswith(SUFFIX)


def read_start(path: Path, most: int) -> bytearray:
    """Return the first `most` bytes of a file, decompressed, fewer if it is shorter."""
    found, _ = _read(path, most)
    return found


def read_whole(path: Path, expected: int) -> bytearray:
    """Return a file's content, of which `expected` bytes are wanted, after all of it was verified.

    Raises EOFError if the file is shorter or its stream ends early, zlib's error if a checksum is
    wrong or it is no gzip file, and VsudaError if much more follows than was expected; no more
    memory is taken then.
    """
    found, complete = _read(path, expected + MOST_TRAILING_BYTES)
    if not complete:
        raise VsudaError(
            path, f"goes on after the {expected} bytes its header declares", "convert it anew"
        )
    if len(found) < expected:
        raise EOFError(f"{len(found)} of {expected} bytes")
    return found


def compress(payload: bytes, *, runs: bool = False) -> bytes:
    """Compress without time stamp and name: the same bytes give the same file on one machine.

    With python-isal, whose output has other bytes than zlib's and may differ from processor to
    processor, though never in what it holds. `runs` is for label maps, and always zlib's: it looks
    for nothing but repetitions of one byte, and they become a third to half as large as by looking
    for what stood anywhere before, scans 13 to 25 % larger.
    """
    if runs or library is zlib:
        return _by_zlib(payload, zlib.Z_RLE if runs else zlib.Z_DEFAULT_STRATEGY)
    packed: bytes = library.compress(payload, ISAL_LEVEL, wbits=GZIP_FORMAT)
    return packed


def _by_zlib(payload: bytes, strategy: int) -> bytes:
    """Deflate blocks side by side, on as many threads as numerical libraries may use.

    The result does not depend on how many those are.
    """
    view = memoryview(payload)
    blocks = [view[at : at + BLOCK_BYTES] for at in range(0, len(view), BLOCK_BYTES)]
    if len(blocks) <= FEW_BLOCKS:
        checksum = zlib.crc32(view)
        deflated = [_deflate(block, strategy) for block in blocks]
    else:
        with ThreadPoolExecutor(_threads()) as pool:
            summing = pool.submit(zlib.crc32, view)
            deflated = list(pool.map(_deflate, blocks, repeat(strategy)))
        checksum = summing.result()
    # A stream of full flushes goes on; an empty last block ends it.
    end = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS).flush()
    trailer = struct.pack("<II", checksum, len(view) & 0xFFFFFFFF)
    return b"".join([GZIP_HEADER, *deflated, end, trailer])


def _deflate(block: memoryview, strategy: int) -> bytes:
    level, window, memory = COMPRESSION_LEVEL, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL
    deflater = zlib.compressobj(level, zlib.DEFLATED, window, memory, strategy)
    return deflater.compress(block) + deflater.flush(zlib.Z_FULL_FLUSH)


def _threads() -> int:
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(wanted)) if wanted.isdecimal() else os.cpu_count() or 1


def _read(path: Path, most: int) -> tuple[bytearray, bool]:
    """Return up to `most` bytes, and whether the file ended there, whole."""
    with path.open("rb", buffering=0) as stream:
        if not is_compressed(path):
            found = bytearray(min(most, path.stat().st_size))
            view, filled = memoryview(found), 0
            # A system reads at most 2 GiB at a time.
            while count := stream.readinto(view[filled:]):
                filled += count
            view.release()
            del found[filled:]
            return found, not stream.read(1)
        return _inflate(stream, most)


def _inflate(stream: io.FileIO, most: int) -> tuple[bytearray, bool]:
    found = bytearray()
    inflating = library.decompressobj(wbits=GZIP_FORMAT)
    waiting = stream.read(CHUNK_BYTES)
    # Isal takes other bytes for the beginning of a stream, and would wait for the rest.
    start = waiting[: len(GZIP_MAGIC)]
    if not (start and GZIP_MAGIC.startswith(start)):
        raise zlib.error("it is no gzip file, though its name says so")
    while len(found) < most:
        found += inflating.decompress(waiting, most - len(found))
        if inflating.eof:
            # A file may hold several streams (bgzip), and zeros that fill its last block.
            waiting = (inflating.unused_data or stream.read(CHUNK_BYTES)).lstrip(b"\0")
            while not waiting:
                chunk = stream.read(CHUNK_BYTES)
                if not chunk:
                    return found, True
                waiting = chunk.lstrip(b"\0")
            inflating = library.decompressobj(wbits=GZIP_FORMAT)
        else:
            waiting = inflating.unconsumed_tail or stream.read(CHUNK_BYTES)
            if not waiting:
                raise EOFError("the compressed stream ends early")
    return found, False
