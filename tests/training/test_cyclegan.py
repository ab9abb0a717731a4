"""CycleGAN: its terms on networks with known answers, what learns from what, and resuming."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

from vsuda_cli.config import TranslationSettings
from vsuda_cli.training.cyclegan import CycleGan

CPU = torch.device("cpu")
TOY = TranslationSettings(
    epochs=4, base_channels=4, residual_blocks=1, discriminator_channels=4, discriminator_layers=1
)


def toy_batch(dims: int = 2) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    shape = (2, 1, 16, 16) if dims == 2 else (1, 1, 16, 16, 8)
    return {name: torch.rand(shape, generator=random) for name in ("source", "target")}


def weights(network: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten() for value in network.parameters()])


class Darker(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - 0.25


class Times(nn.Module):
    """A generator that makes images brighter or darker."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class Painter(nn.Module):
    """A generator whose images have one value everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand_as(x)


class Judge(nn.Module):
    """A judge that gives images of the value `real` a 1, and those of 0 a 0."""

    def __init__(self, real: float) -> None:
        super().__init__()
        self.real = nn.Parameter(torch.tensor(real))

    def forward(self, x: Tensor) -> Tensor:
        return x / self.real


# What real images look like to the judges.
TARGET, SOURCE = 1.0, 2.0


def with_known_networks(
    settings: TranslationSettings, fake_target: float, fake_source: float
) -> CycleGan:
    objective = CycleGan(settings, CPU)
    # They are none of the optimisers', so they stay as they are.
    objective.to_target, objective.to_source = Painter(fake_target), Painter(fake_source)
    objective.judge_target, objective.judge_source = Judge(TARGET), Judge(SOURCE)
    return objective


def real_batch() -> dict[str, Tensor]:
    image = torch.ones(2, 1, 4, 4)
    return {"source": SOURCE * image, "target": TARGET * image}


def test_its_terms_have_the_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = CycleGan(TOY, CPU)
    monkeypatch.setattr(objective, "to_target", Darker())
    monkeypatch.setattr(objective, "to_source", Darker())
    batch = toy_batch()
    dark = Darker()
    losses = objective._generator_losses(
        batch["source"], batch["target"], dark(batch["source"]), dark(batch["target"])
    )
    # There and back is 0.5 darker, 1 in the networks' own range, both ways, times 10.
    assert losses["cycle"] == pytest.approx(10 * 2 * 1.0)
    identity = objective._identity_loss(
        batch["source"], batch["target"], dark(batch["target"]), dark(batch["source"])
    )
    # A quarter darker, 0.5 in their range, both ways, times 10 times 0.5.
    assert identity == pytest.approx(10 * 0.5 * 2 * 0.5)


@pytest.mark.parametrize(
    ("fake_target", "fake_source", "adversarial", "of_target", "of_source"),
    [
        (0.0, 0.0, 2.0, 0.0, 0.0),
        (TARGET, 0.0, 1.0, 0.5, 0.0),
        (0.0, SOURCE, 1.0, 0.0, 0.5),
    ],
)
def test_each_generator_is_to_fool_the_judge_that_knows_its_fakes_from_real_images(
    fake_target: float,
    fake_source: float,
    adversarial: float,
    of_target: float,
    of_source: float,
) -> None:
    chosen = dataclasses.replace(TOY, gan_weight=3.0)
    objective = with_known_networks(chosen, fake_target, fake_source)
    losses = objective.update(real_batch())
    assert losses["adversarial"] == pytest.approx(3 * adversarial)
    assert losses["discriminator_target"] == pytest.approx(of_target)
    assert losses["discriminator_source"] == pytest.approx(of_source)


def test_each_generator_is_judged_by_images_of_its_own_two_contrasts() -> None:
    chosen = dataclasses.replace(TOY, cycle_weight=10.0, identity_weight=0.5)
    objective = with_known_networks(chosen, 0.0, 0.0)
    objective.to_target, objective.to_source = Times(0.5), Times(3.0)
    batch = real_batch()
    losses = objective.update(batch)
    # There and back is 1.5 times the image: half of 2 and half of 1 too much.
    assert losses["cycle"] == pytest.approx(10 * 2 * (1 + 0.5))
    # Targets come out as 0.5, sources as 6.
    assert losses["identity"] == pytest.approx(5 * 2 * (0.5 + 4))
    # Sources of 2 become targets of 1, which the judge takes for real; targets of 1 become 3.
    assert losses["adversarial"] == pytest.approx(0 + (3 / SOURCE - 1) ** 2)
    shown = {name: image.unique().item() for name, image in objective.pictures(batch).items()}
    assert shown == pytest.approx(
        {
            "source": 2,
            "pseudo target": 1,
            "cycle": 3,
            "target": 1,
            "pseudo source": 3,
            "cycle back": 1.5,
        }
    )


@pytest.mark.parametrize("giving", ["target", "source"])
def test_each_judge_is_shown_what_its_own_pool_gives_out(giving: str) -> None:
    chosen = dataclasses.replace(TOY, pool_size=2)
    objective = with_known_networks(chosen, TARGET, SOURCE)
    objective.update(real_batch())
    objective.to_target, objective.to_source = Painter(0.0), Painter(0.0)
    draws = {
        f"{name}_pool": torch.tensor([[place, name == giving, True] for place in range(2)])
        for name in ("target", "source")
    }
    losses = objective._learn(real_batch(), draws)
    # New fakes fool nobody any more, those of the pool do.
    for name in ("target", "source"):
        assert losses[f"discriminator_{name}"] == pytest.approx(0.5 if name == giving else 0.0)


@pytest.mark.parametrize(("epoch", "share"), [(1, 1.0), (3, 1 / 3)])
def test_generators_and_judges_learn_at_the_epochs_rate(epoch: int, share: float) -> None:
    objective = CycleGan(TOY, CPU)
    rate = pytest.approx(share * TOY.learning_rate)
    assert objective.set_epoch(epoch) == {"learning_rate": rate}
    for name in ("generator_optimiser", "judge_optimiser"):
        (group,) = objective.state_dict()[name]["param_groups"]
        assert (group["lr"], group["betas"]) == (rate, TOY.betas)


def test_a_generator_is_given_both_contrasts_and_is_to_leave_its_own_as_it_is() -> None:
    objective, batch = CycleGan(TOY, CPU), toy_batch()
    found = objective._translated(objective.to_target, batch["source"], batch["target"])
    for output, name in zip(found, ("source", "target"), strict=True):
        torch.testing.assert_close(output, objective.to_target(batch[name]))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_step_changes_all_four_networks(dims: int) -> None:
    objective = CycleGan(dataclasses.replace(TOY, dims=dims), CPU)
    networks = (
        objective.to_target,
        objective.to_source,
        objective.judge_target,
        objective.judge_source,
    )
    before = [weights(network) for network in networks]
    losses = objective.update(toy_batch(dims))
    assert all(torch.isfinite(loss) and not loss.requires_grad for loss in losses.values())
    for network, old in zip(networks, before, strict=True):
        assert not torch.equal(weights(network), old)


def test_without_identity_weight_there_is_no_such_term() -> None:
    objective = CycleGan(dataclasses.replace(TOY, identity_weight=0.0), CPU)
    assert "identity" not in objective.update(toy_batch())


def test_generators_start_apart_and_the_same_for_the_same_seed() -> None:
    first, second = CycleGan(TOY, CPU), CycleGan(TOY, CPU)
    assert torch.equal(weights(first.to_target), weights(second.to_target))
    assert not torch.equal(weights(first.to_target), weights(first.to_source))


def test_it_continues_bit_for_bit() -> None:
    first, second = CycleGan(TOY, CPU), CycleGan(dataclasses.replace(TOY, seed=5), CPU)
    for _ in range(3):
        first.update(toy_batch())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for objective in (first, second):
        objective.set_epoch(3)
        objective.update(toy_batch())
    assert torch.equal(weights(first.to_target), weights(second.to_target))
    assert torch.equal(weights(first.judge_source), weights(second.judge_source))


def test_what_is_exported_goes_from_source_to_target() -> None:
    objective = CycleGan(TOY, CPU)
    assert objective.models_for_inference() == {"generator": objective.to_target}
    assert set(objective.pictures(toy_batch())) >= {"source", "pseudo target", "cycle", "target"}


def test_accumulated_parts_equal_one_large_batch() -> None:
    changed = []
    for accumulate in (1, 2):
        objective = CycleGan(dataclasses.replace(TOY, accumulate=accumulate), CPU)
        before = [weights(network) for network in (objective.to_target, objective.judge_source)]
        losses = objective.update(toy_batch())
        after = [weights(network) for network in (objective.to_target, objective.judge_source)]
        gradients = [
            torch.cat([p.grad.flatten() for p in network.parameters()])
            for network in (objective.to_target, objective.judge_source)
        ]
        assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        changed.append((losses, gradients))
    torch.testing.assert_close(changed[0][0], changed[1][0])
    # The generator's gradient is of its own losses; biases before a normalisation have none.
    torch.testing.assert_close(changed[0][1], changed[1][1], atol=1e-4, rtol=1e-3)


def test_channels_last_is_the_same_to_rounding() -> None:
    straight = CycleGan(TOY, CPU)
    turned = CycleGan(dataclasses.replace(TOY, channels_last=True), CPU)
    kernel = next(p for p in turned.to_target.parameters() if p.ndim == 4 and p.shape[1] > 1)
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    image = toy_batch()["source"]
    torch.testing.assert_close(straight.to_target(image), turned.to_target(image))
    torch.testing.assert_close(straight.update(toy_batch()), turned.update(toy_batch()))
