"""CUT and FastCUT: terms, flips, what learns from what, and resuming."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

from vsuda_cli import resolving
from vsuda_cli.config import TranslationSettings
from vsuda_cli.training.cut import Cut
from vsuda_cli.training.patch_nce import mean_patch_nce

CPU = torch.device("cpu")
NUMBERS = {
    "epochs": 4,
    "base_channels": 4,
    "residual_blocks": 2,
    "discriminator_channels": 4,
    "discriminator_layers": 1,
    "nce_layers": (0, 4, 12),
    "nce_patches": 16,
    "nce_width": 8,
}


def settings(method: str, dims: int = 2) -> TranslationSettings:
    return resolving.resolve(
        TranslationSettings, preset="paper", values={"method": method, "dims": dims, **NUMBERS}
    )


def toy_batch(dims: int = 2) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    shape = (2, 1, 16, 16) if dims == 2 else (1, 1, 16, 16, 8)
    return {name: torch.rand(shape, generator=random) for name in ("source", "target")}


def weights(network: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten() for value in network.parameters()])


class Weighing(nn.Module):
    """A discriminator whose scores are the image itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


@pytest.mark.parametrize("method", ["cut", "fastcut"])
@pytest.mark.parametrize("dims", [2, 3])
def test_a_step_changes_all_three_networks(method: str, dims: int) -> None:
    objective = Cut(settings(method, dims), CPU)
    before = {name: weights(model) for name, model in objective.models_for_inference().items()}
    losses = objective.update(toy_batch(dims))
    assert set(losses) == {"discriminator", "adversarial", "contrast"}
    assert all(torch.isfinite(loss) and not loss.requires_grad for loss in losses.values())
    for name, model in objective.models_for_inference().items():
        assert not torch.equal(weights(model), before[name]), name


def test_what_learns_together_is_clipped_together() -> None:
    objective = Cut(dataclasses.replace(settings("cut"), gradient_clip=1e-3), CPU)
    objective.update(toy_batch())
    both = [*objective.generator.parameters(), *objective.patch_sampler.parameters()]
    gradients = torch.cat([one.grad.flatten() for one in both if one.grad is not None])
    assert gradients.norm().item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_generator_is_to_fool_who_knows_its_images_from_real_targets(accumulate: int) -> None:
    chosen = dataclasses.replace(settings("cut"), gan_weight=3.0, accumulate=accumulate)
    objective = Cut(chosen, CPU)
    # It is none of the optimiser's, so it stays as it is.
    objective.discriminator = Weighing()
    source = toy_batch()["source"]
    with torch.no_grad():
        pseudo = objective.generator(source)
    losses = objective.update({"source": source, "target": torch.ones_like(source)})
    # Targets get their 1: what is wrong is what pseudo-images get instead of 0.
    torch.testing.assert_close(losses["discriminator"], pseudo.square().mean() / 2)
    torch.testing.assert_close(losses["adversarial"], 3 * (pseudo - 1).square().mean())


def test_the_discriminator_is_shown_what_the_pool_gives_out() -> None:
    objective = Cut(dataclasses.replace(settings("cut"), pool_size=2), CPU)
    objective.discriminator = Weighing()
    real = torch.ones(1, 1, 4, 4)
    kept = torch.tensor([[0, False, True], [1, False, True]])
    objective.update_discriminator([(real, real), (real, real)], kept)
    # New fakes of 0 are known as such; one of the two is exchanged for an old one of 1.
    exchanged = torch.tensor([[0, False, False], [1, True, True]])
    fakes = [(real, torch.zeros_like(real))] * 2
    assert objective.update_discriminator(fakes, exchanged) == pytest.approx(0.25)


@pytest.mark.parametrize(("epoch", "share"), [(1, 1.0), (3, 1 / 3)])
def test_generator_and_discriminator_learn_at_the_epochs_rate(epoch: int, share: float) -> None:
    chosen = settings("cut")
    objective = Cut(chosen, CPU)
    rate = pytest.approx(share * chosen.learning_rate)
    assert objective.set_epoch(epoch) == {"learning_rate": rate}
    for name in ("generator_optimiser", "discriminator_optimiser"):
        (group,) = objective.state_dict()[name]["param_groups"]
        assert (group["lr"], group["betas"]) == (rate, chosen.betas)


@pytest.mark.parametrize("method", ["cut", "fastcut"])
@pytest.mark.parametrize("flipped", [False, True])
def test_patches_are_to_be_found_where_they_came_from(method: str, flipped: bool) -> None:
    chosen = settings(method)
    objective, batch = Cut(chosen, CPU), toy_batch()
    draws, _ = objective.draw(batch["source"])

    def contrast(found: list[Tensor], name: str) -> Tensor:
        wanted = objective.generator.encode(batch[name], chosen.nce_layers)
        positions = [draws[f"{name}{number}"] for number in range(len(wanted))]
        queries, keys = (objective.patch_sampler(maps, positions) for maps in (found, wanted))
        return mean_patch_nce(queries, keys, chosen.nce_temperature)

    with torch.no_grad():
        translated = objective.translate(batch["source"], batch["target"], flipped)
        features = objective.generator.encode(translated.pseudo, chosen.nce_layers)
        terms = [contrast([one.flip(2) if flipped else one for one in features], "source")]
        if translated.identity is not None:
            features = objective.generator.encode(translated.identity, chosen.nce_layers)
            terms.append(contrast(features, "target"))
        losses = objective.generator_losses(translated, draws)
    expected = chosen.nce_weight * sum(terms) / len(terms)
    torch.testing.assert_close(losses["contrast"], expected)


def test_only_cut_translates_the_target_too() -> None:
    batch = toy_batch()
    made = [
        Cut(settings(method), CPU).translate(batch["source"], batch["target"], flipped=False)
        for method in ("cut", "fastcut")
    ]
    assert made[0].identity is not None
    assert made[1].identity is None


def test_pictures_show_what_the_generator_makes_of_each() -> None:
    objective, batch = Cut(settings("cut"), CPU), toy_batch()
    shown = objective.pictures(batch)
    with torch.no_grad():
        wanted = {
            "source": batch["source"],
            "pseudo target": objective.generator(batch["source"][:1]),
            "target": batch["target"],
            "identity": objective.generator(batch["target"][:1]),
        }
    assert list(shown) == list(wanted)
    for name, image in wanted.items():
        torch.testing.assert_close(shown[name], image[0, 0])


def test_fastcut_flips_half_of_the_batches_and_keeps_the_keys_unflipped() -> None:
    objective = Cut(settings("fastcut"), CPU)
    batch = toy_batch()
    assert 8 < sum(objective.draw(batch["source"])[1] for _ in range(40)) < 32
    straight, flipped = (
        objective.translate(batch["source"], batch["target"], flipped) for flipped in (False, True)
    )
    assert torch.allclose(flipped.source_keys[1], straight.source_keys[1], atol=1e-5)
    with torch.no_grad():
        mirrored = objective.generator(batch["source"].flip(2))
    assert torch.allclose(flipped.pseudo, mirrored, atol=1e-6)


def test_positions_lie_within_each_feature_map() -> None:
    objective = Cut(settings("cut"), CPU)
    source = toy_batch()["source"]
    draws, _ = objective.draw(source)
    maps = objective.generator.encode(source, NUMBERS["nce_layers"])
    for number, found in enumerate(maps):
        for name in ("source", "target"):
            positions = draws[f"{name}{number}"]
            assert len(positions.unique()) == min(16, found[0, 0].numel())
            assert int(positions.max()) < found[0, 0].numel()


def test_the_generators_losses_leave_the_discriminator_alone() -> None:
    objective = Cut(settings("cut"), CPU)
    batch = toy_batch()
    draws, flipped = objective.draw(batch["source"])
    translated = objective.translate(batch["source"], batch["target"], flipped)
    losses = objective.generator_losses(translated, draws)
    torch.stack(list(losses.values())).sum().backward()
    assert all(value.grad is None for value in objective.discriminator.parameters())
    assert all(value.requires_grad for value in objective.discriminator.parameters())
    assert any(value.grad is not None for value in objective.generator.parameters())


def test_it_continues_bit_for_bit() -> None:
    chosen = dataclasses.replace(settings("fastcut"), pool_size=3)
    first, second = Cut(chosen, CPU), Cut(dataclasses.replace(chosen, seed=5), CPU)
    for _ in range(3):
        first.update(toy_batch())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for objective in (first, second):
        objective.set_epoch(3)
        # Until earlier fakes of the pool are shown.
        for _ in range(3):
            objective.update(toy_batch())
    for name, model in first.models_for_inference().items():
        assert torch.equal(weights(model), weights(second.models_for_inference()[name]))


@pytest.mark.parametrize("method", ["cut", "fastcut"])
def test_accumulated_parts_equal_one_large_batch(method: str) -> None:
    found = []
    for accumulate in (1, 2):
        chosen = dataclasses.replace(settings(method), accumulate=accumulate)
        objective = Cut(chosen, CPU)
        found.append((objective.update(toy_batch()), objective._random.get_state()))
    # Flips and positions are drawn once for all parts.
    assert torch.equal(found[0][1], found[1][1])
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
