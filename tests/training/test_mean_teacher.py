"""Mean teacher: what the average does, when, and that it is what comes out."""

import copy
import dataclasses
import math

import pytest
import torch
from tiny_networks import STILL, STILL_UNET
from torch import Tensor

from vsuda_cli.config import Augmentation, MeanTeacherSettings
from vsuda_cli.training import randomness
from vsuda_cli.training.mean_teacher import MeanTeacher, ema_decay, ramp, update_average

CPU = torch.device("cpu")
TOY = MeanTeacherSettings(epochs=10, learning_rate=1e-2, unet=STILL_UNET, augmentation=STILL)
NOISY = dataclasses.replace(
    TOY, augmentation=Augmentation(), unet=dataclasses.replace(STILL_UNET, dropout=0.2)
)


def toy_batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros((1, 16, 16, 4), dtype=torch.uint8)
    labels[:, 2:8, 2:8, 1:3], labels[:, 10:14, 8:14, :2] = 1, 2
    noise = torch.rand(labels.shape, generator=generator) * 0.1
    images = torch.tensor([0.1, 0.9, 0.5])[labels.long()] + noise
    unlabelled = torch.rand((1, 1, 16, 16, 4), generator=generator)
    return {"labelled": images[:, None], "labelled_label": labels, "unlabelled": unlabelled}


def parameters(network: torch.nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten() for value in network.parameters()])


def test_the_consistency_ramp() -> None:
    assert ramp(0) == pytest.approx(math.exp(-5))
    assert ramp(0.5) == pytest.approx(math.exp(-1.25))
    assert ramp(1) == ramp(3) == 1.0


@pytest.mark.parametrize(
    ("share", "weights"),
    [
        (0.2, [math.exp(-5), math.exp(-1.25), 1.0, 1.0]),
        (0.05, [math.exp(-5), 1.0, 1.0, 1.0]),  # an epoch at least
        (0.0, [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_ramp_takes_a_share_of_the_run_and_none_is_no_ramp(
    share: float, weights: list[float]
) -> None:
    objective = MeanTeacher(dataclasses.replace(TOY, consistency_ramp=share), CPU)
    found = [objective.set_epoch(epoch)["consistency_weight"] for epoch in range(4)]
    assert found == pytest.approx(weights)


def test_the_average_forgets_its_start_quickly_and_the_rest_slowly() -> None:
    assert ema_decay(1, 0.99) == 0.5
    assert ema_decay(9, 0.99) == pytest.approx(0.9)
    assert ema_decay(98, 0.99) < 0.99
    assert ema_decay(99, 0.99) == ema_decay(5000, 0.99) == 0.99
    assert ema_decay(5000, 0.999) == 0.999


def test_parameters_and_buffers_follow() -> None:
    torch.manual_seed(0)
    current = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    average = copy.deepcopy(current)
    before = copy.deepcopy(average.state_dict())
    with torch.no_grad():
        for value in current.parameters():
            value.add_(1)
    current(torch.rand(8, 3))
    update_average(average, current, 0.9)
    now = current.state_dict()
    for name, value in average.state_dict().items():
        expected = 0.9 * before[name] + 0.1 * now[name] if value.is_floating_point() else now[name]
        torch.testing.assert_close(value, expected)
    assert average.state_dict()["1.num_batches_tracked"] == 1
    assert not torch.equal(before["1.running_mean"], average.state_dict()["1.running_mean"])


def test_the_teacher_is_the_average_of_the_students() -> None:
    objective = MeanTeacher(TOY, CPU)
    objective.set_epoch(0)
    expected = parameters(objective.network)
    assert torch.equal(parameters(objective.teacher), expected)
    for step in range(1, 5):
        objective.update(toy_batch())
        decay = 1 - 1 / (step + 1)  # the warm-up; the limit of 0.99 is far
        expected = decay * expected + (1 - decay) * parameters(objective.network)
        torch.testing.assert_close(parameters(objective.teacher), expected, atol=1e-6, rtol=1e-5)
    assert not torch.equal(parameters(objective.teacher), parameters(objective.network))


def test_the_memory_is_long_after_the_ramp() -> None:
    settings = dataclasses.replace(TOY, ema_decay_start=0.5, ema_decay_end=0.75)
    shares = []
    for epoch in (3, 4):  # the ramp takes 0.4 of 10 epochs
        objective = MeanTeacher(settings, CPU)
        objective.load_state_dict({**objective.state_dict(), "updates": 1000})
        objective.set_epoch(epoch)
        before = parameters(objective.teacher).double()
        objective.update(toy_batch())
        moved = (parameters(objective.teacher) - before).norm()
        shares.append(float(moved / (parameters(objective.network) - before).norm()))
    assert shares == pytest.approx([0.5, 0.25], rel=1e-4)


def test_the_teacher_has_no_gradient_and_is_never_in_training_mode() -> None:
    objective = MeanTeacher(NOISY, CPU)

    def check() -> None:
        assert all(p.grad is None and not p.requires_grad for p in objective.teacher.parameters())
        assert not any(module.training for module in objective.teacher.modules())

    check()
    modes = []
    objective.teacher.register_forward_hook(lambda module, _, out: modes.append(module.training))
    objective.update(toy_batch())
    check()
    objective.pictures(toy_batch())
    check()
    assert modes
    assert not any(modes)
    objective.start_from_student()
    check()


def test_equal_networks_on_unchanged_images_agree() -> None:
    objective = MeanTeacher(TOY, CPU)
    objective.set_epoch(9)
    losses = objective.update(toy_batch())
    assert set(losses) == {"segmentation", "attention", "consistency"}
    assert losses["consistency"].item() == pytest.approx(0, abs=1e-10)
    assert objective.update(toy_batch())["consistency"].item() > 1e-10


@pytest.mark.parametrize(("epoch", "weight"), [(0, math.exp(-5)), (2, math.exp(-1.25)), (4, 1.0)])
def test_the_consistency_is_the_weighted_mean_square_of_probabilities(
    epoch: int, weight: float
) -> None:
    settings = dataclasses.replace(TOY, consistency_weight=3.0)
    objective = MeanTeacher(settings, CPU)
    with torch.no_grad():
        for value in objective.teacher.parameters():
            value.mul_(0.5)
    objective.set_epoch(epoch)
    batch = toy_batch()
    with torch.no_grad():
        networks = (objective.network.train(), objective.teacher)
        ours, theirs = (network(batch["unlabelled"]).softmax(dim=1) for network in networks)
    expected = 3.0 * weight * (ours - theirs).square().mean().item()
    assert objective.update(batch)["consistency"].item() == pytest.approx(expected, rel=1e-3)


def test_student_and_teacher_see_different_intensities() -> None:
    objective = MeanTeacher(dataclasses.replace(TOY, augmentation=Augmentation()), CPU)
    seen: dict[str, Tensor] = {}
    for name in ("network", "teacher"):
        getattr(objective, name).register_forward_pre_hook(
            lambda module, inputs, name=name: seen.update({name: inputs[0].detach().clone()})
        )
    batch = toy_batch()
    objective.update(batch)
    # Each is another version of the unlabelled patch; the student's last input is its own.
    assert not torch.equal(seen["network"], seen["teacher"])
    for changed in seen.values():
        pair = torch.stack([changed.flatten(), batch["unlabelled"].flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.8


def test_with_mirror_consistency_the_teacher_sees_the_mirrored_patch() -> None:
    objective = MeanTeacher(dataclasses.replace(TOY, mirror_consistency=True), CPU)
    seen: list[Tensor] = []
    objective.teacher.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    batch = toy_batch()
    objective.update(batch)
    torch.testing.assert_close(seen[0], batch["unlabelled"].flip(2), atol=1e-5, rtol=0)

    class Mirrored(torch.nn.Module):
        """A student that is the teacher seen in a mirror: they must agree."""

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = objective.teacher(images.flip(2)).flip(2)
            return logits

    student = Mirrored()(batch["unlabelled"]).softmax(dim=1)
    torch.testing.assert_close(objective._opinion(batch["unlabelled"]), student)


def test_the_consistency_moves_the_student_but_its_gradient_not_the_teacher() -> None:
    moved = []
    for weight in (0.0, 100.0):
        objective = MeanTeacher(dataclasses.replace(TOY, consistency_weight=weight), CPU)
        with torch.no_grad():
            for value in objective.teacher.parameters():
                value.mul_(0.5)
        objective.set_epoch(9)
        objective.update(toy_batch())
        moved.append(parameters(objective.network))
    assert not torch.equal(*moved)


def test_what_is_background_for_certain_is_learnt_as_such() -> None:
    objective = MeanTeacher(dataclasses.replace(TOY, consistency_weight=0.0), CPU)
    batch = toy_batch()
    assert "known" not in objective.update(batch)
    label = torch.full((1, 16, 16, 4), 255, dtype=torch.uint8)
    batch["unlabelled_label"] = label
    assert objective.update(batch)["known"] == 0  # nothing is known
    label[:, :8] = 0
    first = objective.update(batch)["known"].item()
    for _ in range(30):
        last = objective.update(batch)["known"].item()
    assert 0 < last < 0.5 * first


def test_the_student_starts_the_teacher() -> None:
    objective = MeanTeacher(TOY, CPU)
    with torch.no_grad():
        for value in objective.network.parameters():
            value.add_(1)
    assert not torch.equal(parameters(objective.teacher), parameters(objective.network))
    objective.start_from_student()
    assert torch.equal(parameters(objective.teacher), parameters(objective.network))
    objective.update(toy_batch())
    assert not torch.equal(parameters(objective.teacher), parameters(objective.network))


def test_an_interrupted_objective_goes_on_identically() -> None:
    one, batch = MeanTeacher(NOISY, CPU), toy_batch()
    one.set_epoch(3)
    for _ in range(2):
        one.update(batch)
    state, random = copy.deepcopy(one.state_dict()), randomness.state(one.streams(), CPU)
    other = MeanTeacher(dataclasses.replace(NOISY, seed=7), CPU)
    other.load_state_dict(state)
    other.set_epoch(3)
    results = []
    for objective in (one, other):
        randomness.restore(random, objective.streams(), CPU)
        losses = [objective.update(batch) for _ in range(2)][1]
        results.append((losses, parameters(objective.network), parameters(objective.teacher)))
    (ours, our_student, our_teacher), (theirs, their_student, their_teacher) = results
    assert {n: float(v) for n, v in ours.items()} == {n: float(v) for n, v in theirs.items()}
    assert torch.equal(our_student, their_student)
    assert torch.equal(our_teacher, their_teacher)


def test_what_comes_out_is_the_teacher() -> None:
    objective = MeanTeacher(TOY, CPU)
    objective.update(toy_batch())
    assert objective.models_for_inference() == {"segmenter": objective.teacher}
    with torch.no_grad():  # a teacher that says label 1 everywhere
        for value in objective.teacher.parameters():
            value.zero_()
        last = list(objective.teacher.up[0].parameters())[-1]
        last[1] = 1
    shown = objective.pictures(toy_batch())
    assert shown["teacher on real"].unique().tolist() == [1]
    assert shown["teacher on pseudo"].unique().tolist() == [1]
