"""Supervised segmentation on toys: losses, rates, resuming."""

import copy
import dataclasses

import pytest
import torch
from tiny_networks import STILL, STILL_UNET
from torch import Tensor

from vsuda_cli.config import Augmentation, SegmentationSettings
from vsuda_cli.training import randomness
from vsuda_cli.training.contrast_prior import CurvePrior
from vsuda_cli.training.segmentation import Segmentation, polynomial_rate
from vsuda_cli.training.segmenter import build_unet, predict_classes

CPU = torch.device("cpu")
TOY = SegmentationSettings(epochs=10, learning_rate=1e-2, unet=STILL_UNET, augmentation=STILL)


def toy_batch() -> dict[str, Tensor]:
    """A bright box of label 1 and a grey box of label 2."""
    labels = torch.zeros((1, 16, 16, 4), dtype=torch.uint8)
    labels[:, 2:8, 2:8, 1:3], labels[:, 10:14, 8:14, :2] = 1, 2
    noise = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0)) * 0.1
    images = torch.tensor([0.1, 0.9, 0.5])[labels.long()] + noise
    return {"labelled": images[:, None], "labelled_label": labels}


def test_the_network_follows_the_settings() -> None:
    network = build_unet(STILL_UNET, 4)
    assert network(torch.rand(1, 1, 16, 16, 4)).shape == (1, 4, 16, 16, 4)
    wider = build_unet(dataclasses.replace(STILL_UNET, channels=(8, 6, 8)), 4)
    counts = [sum(p.numel() for p in one.parameters()) for one in (network, wider)]
    assert counts[0] < counts[1]


def test_a_few_steps_lower_the_loss_and_learn_the_toy() -> None:
    objective = Segmentation(TOY, CPU)
    batch = toy_batch()
    objective.set_epoch(0)
    totals = []
    for _ in range(40):
        losses = objective.update(batch)
        assert set(losses) == {"segmentation", "attention"}
        assert not any(loss.requires_grad for loss in losses.values())
        totals.append(float(sum(losses.values())))
    assert totals[-1] < 0.5 * totals[0]
    found = predict_classes(objective.network, batch["labelled"], CPU, mixed=True)
    assert (found == batch["labelled_label"]).float().mean() > 0.95


def test_grafted_lesions_alone_are_drawn_within_their_range() -> None:
    ranges = ((0.6, 0.7), (0.0, 0.1))
    objective = Segmentation(dataclasses.replace(TOY, structure_ranges=ranges), CPU)
    objective.lesions = [1]
    batch = toy_batch()
    batch["grafted"] = torch.full((4, 1, 16, 16, 4), 0.3)
    batch["grafted_label"] = batch["labelled_label"].expand(4, -1, -1, -1).clone()
    batch["grafted_label"][:, 14:] = 255
    images, labels = objective.augmented(batch)
    torch.testing.assert_close(images[:1], batch["labelled"], atol=1e-5, rtol=0)
    assert torch.equal(labels[1:], batch["grafted_label"])
    lesion = batch["labelled_label"][0] == 1
    core = images[1:, 0, 3:7, 3:7, 1:3]
    assert ((core > 0.59) & (core < 0.71)).all()
    assert core.mean(dim=(1, 2, 3)).std() > 0.005
    beyond = torch.nn.functional.max_pool3d(lesion[None, None].float(), (3, 3, 1), 1, (1, 1, 0))
    around = images[1:, 0, beyond[0, 0] == 0]
    torch.testing.assert_close(around, torch.full_like(around, 0.3), atol=1e-5, rtol=0)


def test_grafted_lesions_have_the_noise_of_their_image() -> None:
    objective = Segmentation(dataclasses.replace(TOY, structure_ranges=((0.5, 0.5),) * 2), CPU)
    objective.lesions = [1]
    noise = 0.05 * torch.randn((1, 1, 40, 40, 8), generator=torch.Generator().manual_seed(1))
    label = torch.zeros((1, 40, 40, 8), dtype=torch.uint8)
    label[:, 8:32, 8:32, 1:7] = 1
    smooth = torch.where(label[:, None] == 1, 0.9, 0.4 + noise)
    batch = {"labelled": smooth, "labelled_label": torch.zeros_like(label)}
    batch |= {"grafted": smooth, "grafted_label": label}
    images, _ = objective.augmented(batch)
    core = images[1, 0, 10:30, 10:30, 1:7]
    assert core.mean() == pytest.approx(0.5, abs=0.01)
    assert core.std() == pytest.approx(0.05, rel=0.15)


def test_pictures_show_what_is_trained_on_and_move_no_draw() -> None:
    settings = dataclasses.replace(TOY, curve_share=1.0, structure_ranges=((0.6, 0.7), (0.0, 0.1)))
    objective = Segmentation(settings, CPU)
    objective.lesions = [1]
    batch = toy_batch()
    batch["grafted"] = torch.full((1, 1, 16, 16, 4), 0.3)
    batch["grafted_label"] = batch["labelled_label"].clone()
    shown = objective.pictures(batch)
    assert torch.equal(
        objective.streams()[0].get_state(), Segmentation(settings, CPU).streams()[0].get_state()
    )
    images, _ = objective.augmented(batch)
    assert torch.equal(shown["image"], images[0, 0])
    assert not torch.allclose(shown["image"], batch["labelled"][0, 0], atol=0.05)
    assert torch.equal(shown["grafted"], images[1, 0, ..., 1])
    assert torch.equal(shown["grafted label"], batch["grafted_label"][0, ..., 1])
    assert list(shown) == [
        "image",
        "label",
        "prediction",
        *(f"grafted{w}" for w in ("", " label", " prediction")),
    ]


def test_pseudo_labelled_images_are_learnt_from_in_their_own_contrast() -> None:
    settings = dataclasses.replace(TOY, curve_share=1.0, structure_share=1.0)
    objective = Segmentation(settings, CPU)
    batch = toy_batch()
    batch["pseudo"], batch["pseudo_label"] = batch["labelled"] * 0.5, batch["labelled_label"]
    images, labels = objective.augmented(batch)
    assert images.shape[0] == labels.shape[0] == 2
    assert not torch.allclose(images[0], batch["labelled"][0], atol=0.05)
    torch.testing.assert_close(images[1], batch["pseudo"][0], atol=1e-5, rtol=0)
    assert set(objective.update(batch)) == {"segmentation", "attention"}


def test_random_curves_lie_around_a_known_one() -> None:
    settings = dataclasses.replace(TOY, curve_share=1.0)
    objective = Segmentation(settings, CPU)
    objective.contrast = CurvePrior(around=torch.tensor([1.0, 0.0]))  # the negative
    batch = {name: value.expand(64, *value.shape[1:]) for name, value in toy_batch().items()}
    images, _ = objective.augmented(batch)
    centred = [x - x.mean(dim=(1, 2, 3, 4), keepdim=True) for x in (images, batch["labelled"])]
    agreement = (centred[0] * centred[1]).sum(dim=(1, 2, 3, 4))
    assert (agreement < 0).float().mean() > 0.7


@pytest.mark.parametrize(("epoch", "share"), [(0, 1.0), (5, 0.5**0.9), (9, 0.1**0.9)])
def test_the_learning_rate_falls_as_a_power(epoch: int, share: float) -> None:
    assert polynomial_rate(TOY, epoch) == pytest.approx(1e-2 * share)
    objective = Segmentation(TOY, CPU)
    objective.set_epoch(epoch)
    rates = {g["lr"] for g in objective.state_dict()["optimiser"]["param_groups"]}
    assert rates == {polynomial_rate(TOY, epoch)}


def test_the_optimiser_has_the_papers_weight_decay() -> None:
    groups = Segmentation(TOY, CPU).state_dict()["optimiser"]["param_groups"]
    assert {group["weight_decay"] for group in groups} == {1e-4}


def test_the_seed_chooses_the_first_weights() -> None:
    def first(seed: int) -> Tensor:
        settings = dataclasses.replace(TOY, seed=seed)
        return torch.cat([p.flatten() for p in Segmentation(settings, CPU).network.parameters()])

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_structure_factors_vary_their_labels_only() -> None:
    batch = toy_batch()
    labels = batch["labelled_label"]
    objective = Segmentation(dataclasses.replace(TOY, structure_factors=((0.5, 2.0),)), CPU)
    images, same = objective.augmented(batch)
    changed = (images - batch["labelled"]).abs()[:, 0] > 1e-4
    assert changed[labels == 1].float().mean() > 0.9
    assert not changed[labels != 1].any()
    assert torch.equal(same, labels)
    still = Segmentation(TOY, CPU).augmented(batch)[0]
    torch.testing.assert_close(still, batch["labelled"], atol=2e-6, rtol=0)


def test_an_interrupted_objective_goes_on_identically() -> None:
    settings = dataclasses.replace(
        TOY, unet=dataclasses.replace(STILL_UNET, dropout=0.2), augmentation=Augmentation()
    )
    one, batch = Segmentation(settings, CPU), toy_batch()
    one.update(batch)
    state, random = copy.deepcopy(one.state_dict()), randomness.state(one.streams(), CPU)
    other = Segmentation(dataclasses.replace(settings, seed=7), CPU)
    other.load_state_dict(state)
    randomness.restore(random, other.streams(), CPU)
    theirs = other.update(batch)
    randomness.restore(random, one.streams(), CPU)
    ours = one.update(batch)
    for name, loss in ours.items():
        assert torch.equal(loss, theirs[name])
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_pictures_show_image_label_and_prediction() -> None:
    objective, batch = Segmentation(TOY, CPU), toy_batch()
    shown = objective.pictures(batch)
    assert list(shown) == ["image", "label", "prediction"]
    assert torch.equal(shown["label"], batch["labelled_label"][0])
    assert all(picture.shape == (16, 16, 4) for picture in shown.values())
    assert objective.models_for_inference() == {"segmenter": objective.network}
