"""CutSeg: the segmentation loss reaches the generator, never the teacher; stacks and resuming."""

import copy
import dataclasses

import pytest
import torch
from tiny_networks import GENERATORS, STILL, STILL_UNET
from torch import Tensor, nn

from vsuda_cli import resolving
from vsuda_cli.config import CutSegSettings, TranslationSettings
from vsuda_cli.training import cutseg, randomness
from vsuda_cli.training.cutseg import CutSeg
from vsuda_cli.training.segmenter import build_unet
from vsuda_cli.training.translation import as_slices, build_generator, translate_stack

CPU = torch.device("cpu")
TOY = CutSegSettings(epochs=4, unet=STILL_UNET, gan_slices=2, slice_chunk=3)
TRANSLATION = resolving.resolve(
    TranslationSettings,
    preset="paper",
    values={**GENERATORS, "method": "cut"},
)


def toy_batch() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    batch = {name: torch.rand((1, 1, 16, 16, 4), generator=random) for name in ("source", "target")}
    label = torch.zeros((1, 16, 16, 4), dtype=torch.uint8)
    label[:, 2:8, 2:8], label[:, 10:14, 8:14] = 1, 2
    return {**batch, "source_label": label}


def weights(network: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten() for value in network.parameters()])


def gradient(network: nn.Module) -> float:
    return sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None)


def test_a_stack_is_translated_slice_by_slice_whatever_the_chunk() -> None:
    generator = build_generator(TRANSLATION)
    stack = torch.rand(2, 1, 16, 16, 5)
    for chunk in (1, 3, 50):
        whole = translate_stack(generator, stack, chunk)
        assert whole.shape == stack.shape
        assert torch.allclose(whole[1, :, :, :, 3], generator(stack[1:, :, :, :, 3])[0], atol=1e-6)
    assert torch.equal(as_slices(stack)[5 + 2, 0], stack[1, 0, :, :, 2])


def test_slices_are_drawn_from_each_stack_and_none_twice() -> None:
    objective = CutSeg(TOY, TRANSLATION, None, CPU)
    stack = torch.arange(8.0).view(2, 1, 1, 1, 4).expand(2, 1, 6, 6, 4)
    drawn = set()
    for _ in range(10):
        found = objective._some_slices(stack)
        assert found.shape == (2 * TOY.gan_slices, 1, 6, 6)
        numbers = found[:, 0, 0, 0].int().tolist()
        assert len(set(numbers)) == 4
        assert [number // 4 for number in numbers] == [0, 0, 1, 1]
        drawn |= set(numbers)
    assert drawn == set(range(8))


def test_the_segmentation_loss_reaches_the_generator() -> None:
    objective = CutSeg(TOY, TRANSLATION, None, CPU)
    batch = toy_batch()
    losses = objective._segmentation_losses(batch)
    torch.stack(list(losses.values())).sum().backward()
    assert gradient(objective.cut.generator) > 0
    assert gradient(objective.segmentation.network) > 0
    assert gradient(objective.cut.discriminator) == 0


def test_the_segmentation_losses_are_weighted() -> None:
    once, thrice = (
        CutSeg(dataclasses.replace(TOY, segmentation_weight=weight), TRANSLATION, None, CPU)
        for weight in (1.0, 3.0)
    )
    light, heavy = once.update(toy_batch()), thrice.update(toy_batch())
    for name in ("segmentation", "attention"):
        assert heavy[name].item() == pytest.approx(3 * light[name].item())


def test_mirrored_stacks_are_learnt_from(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for share in (0.0, 1.0):
        chosen = dataclasses.replace(TOY, mirror_share=share, augmentation=STILL)
        objective = CutSeg(chosen, TRANSLATION, None, CPU)

        def look(
            network: nn.Module, images: Tensor, labels: Tensor, attention_weight: float
        ) -> dict[str, Tensor]:
            seen.append((images, labels))
            return {}

        monkeypatch.setattr(cutseg, "segmentation_losses", look)
        objective._segmentation_losses(toy_batch())
    (images, labels), (mirrored, mirrored_labels) = seen
    assert torch.equal(images.flip(2), mirrored)
    assert torch.equal(labels.flip(1), mirrored_labels)


def test_a_step_moves_everything_but_the_teacher() -> None:
    teacher = build_unet(STILL_UNET, 3)
    before = weights(teacher)
    objective = CutSeg(TOY, TRANSLATION, teacher, CPU)
    assert not any(value.requires_grad for value in teacher.parameters())
    assert not any(module.training for module in teacher.modules())
    start = {name: weights(model) for name, model in objective.models_for_inference().items()}
    losses = objective.update(toy_batch())
    assert set(losses) == {
        "adversarial",
        "contrast",
        "segmentation",
        "attention",
        "auxiliary",
        "discriminator",
    }
    assert torch.equal(weights(teacher), before)
    assert all(value.grad is None for value in teacher.parameters())
    for name, model in objective.models_for_inference().items():
        assert not torch.equal(weights(model), start[name]), name


def test_the_auxiliary_loss_is_the_weighted_mean_absolute_difference_of_probabilities() -> None:
    torch.manual_seed(7)
    teacher = build_unet(STILL_UNET, 3)
    settings = dataclasses.replace(TOY, augmentation=STILL, auxiliary_weight=3.0)
    objective, batch = CutSeg(settings, TRANSLATION, teacher, CPU), toy_batch()
    with torch.no_grad():
        ours, theirs = (
            network(batch["target"]).softmax(dim=1)
            for network in (objective.segmentation.network, teacher)
        )
    expected = 3.0 * (ours - theirs).abs().mean().item()
    assert objective.update(batch)["auxiliary"].item() == pytest.approx(expected, rel=1e-3)


def test_both_rates_fall_alike_each_from_its_own_start() -> None:
    settings = dataclasses.replace(TOY, learning_rate=1e-3, translation_rate=2e-4)
    objective = CutSeg(settings, TRANSLATION, None, CPU)
    share = 0.5**settings.decay_power
    rates = {"learning_rate": 1e-3 * share, "translation_rate": 2e-4 * share}
    assert objective.set_epoch(2) == pytest.approx(rates)
    cut = objective.cut
    for optimiser, rate in (
        (objective.segmentation.optimiser, "learning_rate"),
        (cut._generator_optimiser, "translation_rate"),
        (cut._discriminator_optimiser, "translation_rate"),
    ):
        assert optimiser.param_groups[0]["lr"] == pytest.approx(rates[rate])


def test_without_a_teacher_or_weight_there_is_no_auxiliary_loss() -> None:
    assert "auxiliary" not in CutSeg(TOY, TRANSLATION, None, CPU).update(toy_batch())
    for weight in (0.0, 0.5):
        chosen = dataclasses.replace(TOY, auxiliary_weight=weight)
        objective = CutSeg(chosen, TRANSLATION, build_unet(STILL_UNET, 3), CPU)
        assert set(objective._target_losses(toy_batch()["target"], None)) == (
            {"auxiliary"} if weight else set()
        )


def test_what_is_known_of_targets_is_learnt() -> None:
    objective = CutSeg(TOY, TRANSLATION, None, CPU)
    label = torch.full((1, 16, 16, 4), 255, dtype=torch.uint8)
    label[:, 8:] = 0
    losses = objective._target_losses(toy_batch()["target"], label)
    assert set(losses) == {"known"}
    losses["known"].backward()
    assert gradient(objective.segmentation.network) > 0
    found = objective.update({**toy_batch(), "target_label": label})
    assert found["known"] > 0


def test_grafted_targets_teach_the_segmenter_too() -> None:
    settings = dataclasses.replace(TOY, structure_ranges=((0.9, 1.0), (0.0, 1.0)))
    objective, batch = CutSeg(settings, TRANSLATION, None, CPU), toy_batch()
    objective.segmentation.lesions = [1]
    drawn = objective.segmentation.drawn_grafts(batch["target"], batch["source_label"])
    lesion = batch["source_label"][:, None] == 1
    # Drawn in its own range.
    assert drawn[lesion].mean() > batch["target"][lesion].mean() + 0.2
    with_it = {**batch, "grafted": drawn, "grafted_label": batch["source_label"]}
    gradients = []
    for part in (batch, with_it):
        objective = CutSeg(settings, TRANSLATION, None, CPU)
        losses = objective._segmentation_losses(part)
        losses["segmentation"].backward()
        gradients.append([p.grad for p in objective.segmentation.network.parameters()])
        assert gradient(objective.cut.generator) > 0
    assert any(not torch.equal(a, b) for a, b in zip(*gradients, strict=True) if a is not None)


def test_grafts_are_drawn_anew_in_each_part_of_a_batch() -> None:
    settings = dataclasses.replace(TOY, accumulate=2, structure_ranges=((0.3, 0.8), (0.7, 1.0)))
    batch = {name: torch.cat([value, value]) for name, value in toy_batch().items()}
    batch |= {"grafted": batch["target"], "grafted_label": batch["source_label"]}
    runs = []
    for lesions in ([1], []):
        objective = CutSeg(settings, TRANSLATION, None, CPU)
        objective.segmentation.lesions = lesions
        found = objective.update(batch)
        assert torch.isfinite(torch.stack(list(found.values()))).all()
        runs.append(weights(objective.segmentation.network))
    assert not torch.equal(*runs)


def test_the_translation_draws_by_this_runs_seed() -> None:
    source = torch.Generator().manual_seed(3)
    batch = {name: torch.rand((1, 1, 32, 32), generator=source) for name in ("source", "target")}
    contrast = []
    for seed in (0, 0, 5):
        torch.manual_seed(7)
        objective = CutSeg(dataclasses.replace(TOY, seed=seed), TRANSLATION, None, CPU)
        contrast.append(float(objective.cut.update(batch)["contrast"]))
    assert contrast[0] == contrast[1] != contrast[2]


def test_it_continues_bit_for_bit() -> None:
    first = CutSeg(TOY, TRANSLATION, None, CPU)
    second = CutSeg(dataclasses.replace(TOY, seed=5), TRANSLATION, None, CPU)
    for _ in range(2):
        first.update(toy_batch())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    random = randomness.state(first.streams(), CPU)
    for objective in (first, second):
        randomness.restore(random, objective.streams(), CPU)
        objective.set_epoch(2)
        objective.update(toy_batch())
    for name, model in first.models_for_inference().items():
        assert torch.equal(weights(model), weights(second.models_for_inference()[name])), name


def test_the_pictures_show_both_domains() -> None:
    shown = CutSeg(TOY, TRANSLATION, None, CPU).pictures(toy_batch())
    assert {"source", "pseudo target", "label", "on pseudo", "target", "on target"} == set(shown)
