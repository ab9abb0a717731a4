"""Volumes go through whole, or in windows: by choice, by an estimate, or after running out."""

import re

import pytest
import torch
from torch import Tensor

from vsuda_cli.errors import VsudaError
from vsuda_cli.networks import passes
from vsuda_cli.networks.passes import Passes, in_windows

CPU = torch.device("cpu")
WINDOW = (8, 8, 4)
IMAGE = torch.rand((1, 1, 20, 17, 9), generator=torch.Generator().manual_seed(0))


class Halves:
    """A voxelwise network that remembers the shapes it was given, and can run out of memory."""

    def __init__(self, most: int = 10**9, asked: int | None = None) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.calls = 0
        self.most, self.asked = most, asked

    def __call__(self, x: Tensor) -> Tensor:
        self.shapes += [tuple(x.shape[2:])] * len(x)
        self.calls += 1
        if x.numel() > self.most:
            if self.asked is None:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")
            torch.empty(self.asked, dtype=torch.uint8)
        return torch.cat([x / 2, 1 - x / 2], dim=1)


def run(network: Halves, largest: int = 10**9, bytes_a_voxel: int = 1) -> Tensor:
    return Passes(network, WINDOW, largest, bytes_a_voxel, CPU)(IMAGE, IMAGE.numel(), "a.nii.gz")


def test_one_pass_or_windows_by_the_number_of_voxels() -> None:
    network = Halves()
    assert torch.equal(run(network, IMAGE.numel()), torch.cat([IMAGE / 2, 1 - IMAGE / 2], dim=1))
    assert network.shapes == [(20, 17, 9)]
    network = Halves()
    found = run(network, IMAGE.numel() - 1)
    assert set(network.shapes) == {WINDOW}
    # Neighbouring windows overlap by half.
    assert len(network.shapes) == 4 * 4 * 4
    assert torch.allclose(found, torch.cat([IMAGE / 2, 1 - IMAGE / 2], dim=1), atol=1e-5)


def test_windows_go_through_together_or_where_memory_is_short_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = torch.cat([IMAGE / 2, 1 - IMAGE / 2], dim=1)
    monkeypatch.setattr(passes, "voxels_at_once", lambda device: 10 * 8 * 8 * 4)
    network = Halves()
    assert torch.allclose(run(network, 1), whole, atol=1e-5)
    assert (network.calls, len(network.shapes)) == (7, 64)
    network = Halves(most=5 * 8 * 8 * 4)
    way = Passes(network, WINDOW, 1, 1, CPU)
    assert torch.allclose(way(IMAGE, IMAGE.numel(), "a"), whole, atol=1e-5)
    assert network.calls == 1 + 64
    # The next image does not try again.
    way(IMAGE, IMAGE.numel(), "b")
    assert network.calls == 1 + 64 + 64


def test_an_image_smaller_than_a_window_lies_amid_zeros_as_a_training_patch_does() -> None:
    seen = []

    def network(x: Tensor) -> Tensor:
        seen.append(x.clone())
        return x

    image = IMAGE[..., :5, :8, :3]
    torch.testing.assert_close(in_windows(network, image, WINDOW, CPU), image)
    (patch,) = seen
    assert patch.shape[2:] == WINDOW
    # Odd margins have one voxel more behind.
    assert torch.equal(patch[..., 1:6, :, :3], image)
    assert patch.count_nonzero() == image.count_nonzero()


@pytest.mark.parametrize(
    ("asked", "told"),
    # The second is what a CPU says: no machine has so much address space.
    [(None, r"asked for 2\.50 GiB"), (1 << 60, "asked for 1152921504606846976 bytes")],
)
def test_running_out_of_memory_falls_back_to_windows_and_says_so(
    asked: int | None, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    network = Halves(most=1000, asked=asked)
    way = Passes(network, WINDOW, 10**9, 1, CPU)
    with caplog.at_level("WARNING", logger="vsuda_cli"):
        found = way(IMAGE, IMAGE.numel(), "a.nii.gz")
    assert torch.allclose(found[:, :1], IMAGE / 2, atol=1e-5)
    assert network.shapes[0] == (20, 17, 9)
    assert set(network.shapes[1:]) == {WINDOW}
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith("a.nii.gz: one pass of 3060 voxels ran out of memory (asked for ")
    assert "windows of 8x8x4" in message
    assert "--largest-pass" in message
    assert re.search(told, message)
    # The next volume of that size does not try again, a smaller one does.
    network.shapes.clear()
    way(IMAGE, IMAGE.numel(), "b.nii.gz")
    assert set(network.shapes) == {WINDOW}
    assert len(caplog.records) == 1
    small = IMAGE[:, :, :9, :9, :9]
    network.shapes.clear()
    way(small, small.numel(), "c.nii.gz")
    assert network.shapes == [(9, 9, 9)]


def test_an_estimate_above_the_free_memory_chooses_windows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(passes, "free_bytes", lambda: 10 * IMAGE.numel())
    network = Halves()
    run(network, bytes_a_voxel=10)
    assert network.shapes == [(20, 17, 9)]
    assert not caplog.records
    network = Halves()
    with caplog.at_level("WARNING", logger="vsuda_cli"):
        run(network, bytes_a_voxel=11)
    assert set(network.shapes) == {WINDOW}
    assert "needs about" in caplog.text
    assert "are free" in caplog.text
    # Where a system does not tell, the pass is tried.
    monkeypatch.setattr(passes, "free_bytes", lambda: None)
    network = Halves()
    run(network, bytes_a_voxel=10**12)
    assert network.shapes == [(20, 17, 9)]


def test_memory_too_small_for_a_window_is_an_error_of_the_case() -> None:
    with pytest.raises(
        VsudaError, match=r"a\.nii\.gz: a window ran out of memory \(asked for 2\.5"
    ):
        run(Halves(most=10))


def test_other_errors_pass_through() -> None:
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("shapes do not match")

    for largest in (10**9, 1):
        with pytest.raises(RuntimeError, match="shapes do not match"):
            Passes(broken, WINDOW, largest, 1, CPU)(IMAGE, IMAGE.numel(), "a")
