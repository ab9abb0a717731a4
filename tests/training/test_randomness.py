"""Random numbers: continued exactly, and different in every process."""

import pytest
import torch

from vsuda_cli.training import randomness, ranks

CPU = torch.device("cpu")


def draw(stream: torch.Generator) -> list[float]:
    return [*torch.rand(2).tolist(), *torch.rand(2, generator=stream).tolist()]


def test_torchs_numbers_and_the_streams_continue() -> None:
    stream = torch.Generator().manual_seed(1)
    draw(stream)
    saved = randomness.state([stream], CPU)
    wanted = draw(stream)
    torch.manual_seed(99)
    other = torch.Generator().manual_seed(99)
    randomness.restore(saved, [other], CPU)
    assert draw(other) == wanted


def test_a_stream_of_another_kind_of_device_starts_anew_with_a_message(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "own", lambda: 0)
    torchs, stream = torch.get_rng_state(), torch.Generator().manual_seed(1)
    wanted = torch.rand(2, generator=torch.Generator().manual_seed(1)).tolist()
    # A GPU's generator has a seed and an offset.
    with caplog.at_level("WARNING", logger="vsuda_cli"):
        randomness.restore([torchs[None], torch.zeros((1, 16), dtype=torch.uint8)], [stream], CPU)
    assert "began on another kind of device" in caplog.text
    assert torch.rand(2, generator=stream).tolist() == wanted


def test_processes_are_apart_and_the_first_is_as_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    for rank in (None, 0, 1, 2):
        if rank is not None:
            monkeypatch.setattr(ranks, "own", lambda rank=rank: rank)
        torch.manual_seed(0)
        stream = torch.Generator().manual_seed(0)
        randomness.separate([stream])
        drawn.append(draw(stream))
    assert drawn[0] == drawn[1]
    assert len({tuple(numbers) for numbers in drawn}) == 3


def test_each_process_takes_its_own_row(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    one, first = torch.get_rng_state(), torch.rand(3).tolist()
    torch.manual_seed(1)
    two, second = torch.get_rng_state(), torch.rand(3).tolist()
    for rank, wanted in enumerate((first, second)):
        monkeypatch.setattr(ranks, "own", lambda rank=rank: rank)
        randomness.restore([torch.stack([one, two])], [], CPU)
        assert torch.rand(3).tolist() == wanted
