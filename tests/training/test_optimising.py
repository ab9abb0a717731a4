"""Parts of a batch, the step on their gradients, and what limits it."""

import pytest
import torch

from vsuda_cli.training.optimising import (
    backward,
    clip_gradients,
    mean_losses,
    parts_of,
    set_learning_rate,
    step,
)


def test_gradients_are_clipped_when_asked_for() -> None:
    layer = torch.nn.Linear(2, 1)
    for limit, expected in ((0.0, 100.0), (1.5, 1.5), (500.0, 100.0)):
        layer.weight.grad, layer.bias.grad = torch.tensor([[60.0, 80.0]]), torch.zeros(1)
        clip_gradients(layer, limit)
        assert layer.weight.grad.norm().item() == pytest.approx(expected, rel=1e-4)


def test_parts_hold_the_batch_in_its_order() -> None:
    batch = {"image": torch.arange(6).view(6, 1), "label": torch.arange(6)}
    assert parts_of(batch, 1) == [batch]
    parts = parts_of(batch, 3)
    assert [part["label"].tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert torch.equal(torch.cat([part["image"] for part in parts]), batch["image"])


def test_parts_add_up_to_the_whole_batchs_gradient_and_losses() -> None:
    x = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
    gradients, losses = [], []
    for count in (1, 3):
        layer = torch.nn.Linear(3, 1)
        torch.nn.init.ones_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        found = []
        for part in parts_of({"x": x}, count):
            y = layer(part["x"])
            found.append(backward({"square": y.square().mean(), "mean": y.mean()}, count))
        assert not any(loss.requires_grad for part in found for loss in part.values())
        gradients.append(layer.weight.grad)
        losses.append(mean_losses(found))
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(losses[0], losses[1])


def test_a_step_clips_first() -> None:
    layer = torch.nn.Linear(1, 1)
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    before = layer.weight.detach().clone()
    layer.weight.grad, layer.bias.grad = torch.tensor([[8.0]]), torch.zeros(1)
    set_learning_rate(optimiser, 0.5)
    step(optimiser, layer, 2.0)
    torch.testing.assert_close(before - layer.weight, torch.tensor([[1.0]]), atol=1e-4, rtol=0)
