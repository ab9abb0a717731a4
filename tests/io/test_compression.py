"""Streams are written whole, and read to their verified end, by zlib and by isal alike."""

import gzip
import io
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.io import compression

# Not a multiple of any buffer, and long enough for several chunks.
PAYLOAD = bytes(range(251)) * 5000


@pytest.fixture(params=["zlib", "isal"], autouse=True)
def _library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    library: ModuleType = zlib
    if request.param == "isal":
        library = pytest.importorskip("isal.isal_zlib")
    monkeypatch.setattr(compression, "library", library)
    monkeypatch.setattr(compression, "BROKEN_STREAM", (EOFError, zlib.error, library.error))
    # Small chunks: every boundary falls somewhere inside the stream.
    monkeypatch.setattr(compression, "CHUNK_BYTES", 1000)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_what_is_read_is_what_was_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(compression.compress(PAYLOAD) if path.suffix == ".gz" else PAYLOAD)
    assert compression.read_start(path, 300) == PAYLOAD[:300]
    assert compression.read_start(path, 10 * len(PAYLOAD)) == PAYLOAD
    assert compression.read_whole(path, len(PAYLOAD)) == PAYLOAD
    with pytest.raises(EOFError):
        compression.read_whole(path, len(PAYLOAD) + 1)


def test_a_file_that_the_system_gives_in_parts_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sparing(io.FileIO):
        # As Linux does beyond 2 GiB.
        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            return super().readinto(buffer[:1000])

    path = tmp_path / "a.nii"
    path.write_bytes(PAYLOAD)
    monkeypatch.setattr(Path, "open", lambda self, mode, buffering: Sparing(self, mode))
    assert compression.read_whole(path, len(PAYLOAD)) == PAYLOAD


@pytest.mark.parametrize("runs", [False, True])
def test_several_blocks_are_one_stream_that_other_programs_read(runs: bool) -> None:
    payload = PAYLOAD + bytes(3 * compression.BLOCK_BYTES + 7)
    packed = compression.compress(payload, runs=runs)
    assert gzip.decompress(packed) == payload
    assert packed == compression.compress(payload, runs=runs)


def test_label_maps_are_smaller_by_their_runs_alone() -> None:
    numbers = np.indices((96, 96, 40))
    inside = sum((n - c) ** 2 for n, c in zip(numbers, (40, 50, 20), strict=True)) < 300
    label = inside.astype(np.uint8).tobytes(order="F")
    assert len(compression.compress(label, runs=True)) < 0.75 * len(compression.compress(label))


def test_label_maps_have_the_same_bytes_with_either_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = compression.compress(PAYLOAD, runs=True)
    monkeypatch.setattr(compression, "library", zlib)
    assert found == compression.compress(PAYLOAD, runs=True)


def test_images_are_written_by_isal_where_it_is_installed() -> None:
    isal = pytest.importorskip("isal.isal_zlib")
    by_isal = compression.compress(PAYLOAD) == isal.compress(PAYLOAD, 1, wbits=31)
    assert by_isal == (compression.library is isal)


def test_several_streams_and_padding_are_one_file(tmp_path: Path) -> None:
    # bgzip writes many streams; tape archives fill the last block with zeros.
    path = tmp_path / "a.nii.gz"
    parts = [PAYLOAD[start : start + 90_000] for start in range(0, len(PAYLOAD), 90_000)]
    path.write_bytes(b"".join(map(gzip.compress, parts)) + bytes(2500))
    assert compression.read_whole(path, len(PAYLOAD)) == PAYLOAD


def test_truncation_is_noticed_wherever_it_falls(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    short = PAYLOAD[:3000]
    whole = compression.compress(short)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(compression.BROKEN_STREAM):
            compression.read_whole(path, len(short))


def test_damage_and_foreign_bytes_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    whole = bytearray(compression.compress(PAYLOAD))
    whole[-8] ^= 1  # the checksum stands before the length, at the very end
    for content in (bytes(whole), b"plain text", compression.compress(PAYLOAD) + b"rubbish"):
        path.write_bytes(content)
        with pytest.raises(compression.BROKEN_STREAM):
            compression.read_whole(path, len(PAYLOAD))


@pytest.mark.parametrize("content", [b"", bytes(2000), b"plain text " * 200, b"no", b"\x1f?"])
def test_what_is_no_gzip_file_is_told_as_such(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    for read in (compression.read_start, compression.read_whole):
        with pytest.raises(compression.BROKEN_STREAM, match="it is no gzip file"):
            read(path, 348)
    # One that ends early is told as that.
    path.write_bytes(compression.compress(PAYLOAD)[:1])
    with pytest.raises(EOFError, match="ends early"):
        compression.read_start(path, 348)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_what_goes_on_far_beyond_the_header_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(compression.compress(PAYLOAD) if path.suffix == ".gz" else PAYLOAD)
    wanted = len(PAYLOAD) - 500
    monkeypatch.setattr(compression, "MOST_TRAILING_BYTES", 600)
    assert compression.read_whole(path, wanted)[:wanted] == PAYLOAD[:wanted]
    monkeypatch.setattr(compression, "MOST_TRAILING_BYTES", 400)
    with pytest.raises(VsudaError, match="goes on after the"):
        compression.read_whole(path, wanted)


def test_the_same_bytes_give_the_same_file() -> None:
    assert compression.compress(PAYLOAD) == compression.compress(PAYLOAD)
    assert gzip.decompress(compression.compress(PAYLOAD)) == PAYLOAD
    assert compression.compress(PAYLOAD)[4:8] == bytes(4)  # no time stamp


@pytest.mark.parametrize("size", [0, 1, 4999, 5000, 5001, 23456])
def test_blocks_make_one_gzip_file_whatever_the_threads(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "BLOCK_BYTES", 5000)
    monkeypatch.setattr(compression, "FEW_BLOCKS", 2)
    found = []
    for threads in ("1", "3", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(compression.compress(PAYLOAD[:size]))
    assert found[0] == found[1] == found[2]
    # Read by others too, as one stream with a whole checksum.
    assert gzip.decompress(found[0]) == PAYLOAD[:size]
    path = tmp_path / "a.nii.gz"
    path.write_bytes(found[0])
    assert compression.read_whole(path, size) == PAYLOAD[:size]
