"""Parts of a batch, the step on their gradients, and what limits it."""

import pytest
import torch

from vsuda_cli.training.optimising import (
    adam,
    backward,
    load_optimiser,
    mean_losses,
    parts_of,
    put_together,
    set_learning_rate,
    step,
)


def test_gradients_are_clipped_when_asked_for() -> None:
    layer = torch.nn.Linear(2, 1)
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    for limit, expected in ((0.0, 100.0), (1.5, 1.5), (500.0, 100.0)):
        layer.weight.grad, layer.bias.grad = torch.tensor([[60.0, 80.0]]), torch.zeros(1)
        step(optimiser, limit)
        assert layer.weight.grad.norm().item() == pytest.approx(expected, rel=1e-4)


def test_parts_hold_the_batch_in_its_order() -> None:
    batch = {"image": torch.arange(6).view(6, 1), "label": torch.arange(6)}
    assert parts_of(batch, 1) == [batch]
    parts = parts_of(batch, 3)
    assert [part["label"].tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert torch.equal(torch.cat([part["image"] for part in parts]), batch["image"])
    for split in (parts, [batch]):
        again = put_together(split)
        assert set(again) == set(batch)
        assert all(torch.equal(again[name], batch[name]) for name in batch)


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


def test_a_learning_rate_on_a_device_stays_where_a_graph_reads_it() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    on_device = torch.tensor(1.0)
    moving, plain = (
        torch.optim.Adam([weight], lr=rate, capturable=True) for rate in (on_device, 1.0)
    )
    for optimiser in (moving, plain):
        set_learning_rate(optimiser, 0.25)
    assert moving.param_groups[0]["lr"] is on_device and float(on_device) == 0.25
    assert plain.param_groups[0]["lr"] == 0.25


def test_a_saved_state_goes_on_with_the_optimisers_own_way_of_calculating() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    saved, going_on = (
        adam([weight], torch.device("cpu"), lr=0.5),
        adam([weight], torch.device("cpu"), lr=0.1),
    )
    weight.grad = torch.tensor([1.0, 2.0])
    saved.step()
    state = saved.state_dict()
    # As a GPU would have saved it.
    state["param_groups"] = [
        {**group, "lr": torch.tensor(0.5), "fused": True, "capturable": True}
        for group in state["param_groups"]
    ]
    load_optimiser(going_on, state)
    group = going_on.param_groups[0]
    assert (group["lr"], group["fused"], group["capturable"]) == (0.1, False, False)
    assert torch.equal(going_on.state[weight]["exp_avg"], saved.state[weight]["exp_avg"])


def test_a_step_clips_first() -> None:
    layer = torch.nn.Linear(1, 1)
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    before = layer.weight.detach().clone()
    layer.weight.grad, layer.bias.grad = torch.tensor([[8.0]]), torch.zeros(1)
    set_learning_rate(optimiser, 0.5)
    step(optimiser, 2.0)
    torch.testing.assert_close(before - layer.weight, torch.tensor([[1.0]]), atol=1e-4, rtol=0)
