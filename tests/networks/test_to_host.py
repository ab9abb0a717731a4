"""Results reach the host whole, however late they are asked for."""

import pytest
import torch
from torch import Tensor

from vsuda_cli.networks.to_host import ToHost

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_on_a_cpu_a_result_is_there_already() -> None:
    x = torch.rand((2, 3), requires_grad=True)
    found = ToHost(x).arrived()
    assert torch.equal(found, x)
    assert found.data_ptr() == x.data_ptr()
    assert not found.requires_grad


def test_a_copy_is_waited_for_and_nothing_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    class Event:
        def __init__(self, *, blocking: bool) -> None:
            assert blocking

        def record(self, stream: object) -> None:
            told.append(("record", stream))

        def synchronize(self) -> None:
            told.append("synchronize")

    class OnDevice:
        device = torch.device("cuda:1")

        def detach(self) -> "OnDevice":
            return self

        def to(self, where: str, *, non_blocking: bool) -> Tensor:
            told.append((where, non_blocking))
            return torch.ones(2)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"of {device}")
    result = ToHost(OnDevice())  # type: ignore[arg-type]
    assert told == [("cpu", True), ("record", "of cuda:1")]
    assert torch.equal(result.arrived(), torch.ones(2))
    assert told[-1] == "synchronize"


@needs_gpu
def test_on_a_gpu_each_result_is_what_it_was_when_it_was_sent() -> None:
    x = torch.zeros(2_000_000, device="cuda")
    sent = []
    for _ in range(20):
        x += 1
        sent.append(ToHost(x))
    for value, result in enumerate(sent, start=1):
        assert (result.arrived() == value).all()
