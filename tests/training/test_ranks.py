"""Several processes over gloo on one machine: means, sums with gradients, shares, first state."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
import torch

from vsuda_cli.errors import VsudaError
from vsuda_cli.training import randomness, ranks
from vsuda_cli.training.dice import soft_dice_loss
from vsuda_cli.training.image_pool import ImagePool
from vsuda_cli.training.segmentation_loss import dice_and_cross_entropy

CPU = torch.device("cpu")


def on_rank(rank: int, count: int, port: int, task: Callable[[], Any], results: Any) -> None:
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update({**address, "WORLD_SIZE": str(count), "RANK": str(rank)})
    ranks.join(CPU)
    results.put((rank, task()))
    ranks.leave()


def together(task: Callable[[], Any], count: int = 2) -> list[Any]:
    """Run a function in so many processes that know of each other; return what each returned."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "vsuda_cli.training.segmentation"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    results = context.Queue()
    processes = [
        context.Process(target=on_rank, args=(rank, count, port, task, results))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return [found[rank] for rank in range(count)]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of four patches; the labels of half of the batches are partly ignored."""
    source = torch.Generator().manual_seed(0)
    logits = torch.randn((4, 3, 4, 3, 2), generator=source)
    labels = torch.randint(0, 3, (4, 4, 3, 2), generator=source)
    labels[0, 2:] = 255
    return logits, labels


def loss_and_gradient() -> tuple[list[float], list[list[float]]]:
    """The loss of this process's share of a batch, and the averaged gradient of one weight."""
    weight = torch.nn.Parameter(torch.tensor([0.5, -0.2, 0.1]))
    logits, labels = (ranks.own_share(one) for one in batch())
    loss = dice_and_cross_entropy(logits * weight.view(1, 3, 1, 1, 1), labels)
    attention = soft_dice_loss(
        (logits * weight.sum()).sigmoid()[:, :1], (labels == 1)[:, None] * 1.0
    )
    (loss + attention).backward()
    ranks.average_gradients([weight, torch.nn.Parameter(torch.zeros(2))])
    assert weight.grad is not None
    means = ranks.mean(torch.stack([loss.detach(), attention.detach()]))
    return means.tolist(), [weight.grad.tolist()]


def test_losses_and_gradients_are_those_of_one_process_with_the_whole_batch() -> None:
    alone = loss_and_gradient()
    for losses, gradients in together(loss_and_gradient):
        assert losses == pytest.approx(alone[0], rel=1e-5)
        assert gradients[0] == pytest.approx(alone[1][0], rel=1e-4)


def what_all_know() -> dict[str, Any]:
    own = torch.arange(2) + 10 * ranks.own()
    whole = ranks.gathered(own)
    state = ranks.from_first(
        {"step": 3, "weights": torch.full((2,), 0.25)} if ranks.is_first() else {"step": 9}
    )
    nothing = ranks.from_first(None)
    ranks.wait()
    assert state is not None
    return {
        "count": ranks.count(),
        "gathered": whole.tolist(),
        "own": ranks.own_share(whole).tolist(),
        "step": state["step"],
        "weights": state["weights"].tolist(),
        "nothing": nothing,
    }


def test_what_is_gathered_and_what_the_first_one_knows() -> None:
    for rank, known in enumerate(together(what_all_know)):
        assert known == {
            "count": 2,
            "gathered": [0, 1, 10, 11],
            "own": [10 * rank, 10 * rank + 1],
            "step": 3,
            "weights": [0.25, 0.25],
            "nothing": None,
        }


def pooled() -> list[float]:
    pool, shown = ImagePool(3, seed=0), []
    for step in range(6):
        fakes = torch.arange(4 * step, 4 * step + 4).float().view(4, 1, 1, 1)
        own = pool.exchange(ranks.own_share(fakes), pool.decide(len(fakes)))
        shown.append(ranks.gathered(own).flatten())
    return torch.cat(shown).tolist()


def test_a_pool_shows_together_what_one_process_would_show() -> None:
    alone = pooled()
    assert together(pooled) == [alone, alone]


def random_numbers() -> list[list[float]]:
    torch.manual_seed(0)
    stream = torch.Generator().manual_seed(0)
    randomness.separate([stream])
    torch.rand(3), torch.rand(2, generator=stream)
    saved = randomness.state([stream], CPU)
    first = [torch.rand(2).tolist(), torch.rand(2, generator=stream).tolist()]
    randomness.restore(saved, [stream], CPU)
    again = [torch.rand(2).tolist(), torch.rand(2, generator=stream).tolist()]
    assert first == again
    return first


def test_each_process_has_and_keeps_random_numbers_of_its_own() -> None:
    alone = random_numbers()
    first, second = together(random_numbers)
    assert first == alone
    assert second[0] != first[0]
    assert second[1] != first[1]


def test_alone_nothing_is_communicated() -> None:
    values = torch.ones(3)
    assert (ranks.launched(), ranks.count(), ranks.own(), ranks.is_first()) == (1, 1, 0, True)
    for same in (ranks.mean, ranks.summed, ranks.gathered, ranks.own_share):
        assert torch.equal(same(values), values)
    assert ranks.from_first({"a": 1}) == {"a": 1}
    ranks.join(CPU)
    assert ranks.count() == 1


def test_each_process_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert ranks.device_of(cuda) == cuda
    monkeypatch.setenv("WORLD_SIZE", "2")
    # As some clusters set it for every job.
    assert ranks.device_of(cuda) == cuda
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(VsudaError, match="LOCAL_RANK: is not set"):
        ranks.device_of(cuda)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert ranks.device_of(cuda) == torch.device("cuda", 1)
    assert ranks.device_of(torch.device("cuda", 0)) == torch.device("cuda", 0)
    assert ranks.device_of(CPU) == CPU
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert ranks.device_of(CPU) == CPU
    with pytest.raises(VsudaError, match="on this machine than it has GPUs, which are 2;"):
        ranks.device_of(cuda)


def test_a_lost_connection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(values: torch.Tensor) -> None:
        raise RuntimeError("Connection closed by peer [127.0.0.1]:1234")

    monkeypatch.setattr(ranks, "count", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", closed)
    with pytest.raises(VsudaError, match=r"lost the connection to another process .*--resume"):
        ranks.mean(torch.ones(1))
