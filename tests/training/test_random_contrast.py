"""Random contrasts: structures within their ranges, curves around what is known, no rims."""

import dataclasses

import pytest
import torch
from torch import Tensor

from vsuda_cli.config import Augmentation
from vsuda_cli.networks.contrast_curve import smooth_in_plane
from vsuda_cli.training.augmentation import augment_intensity, scale_structures
from vsuda_cli.training.contrast_prior import CurvePrior, curve_prior, expected_contrast
from vsuda_cli.training.data import Item
from vsuda_cli.training.random_contrast import draw_structures, random_contrast, random_curve

RANGES = ((0.3, 0.8), (0.9, 1.0))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def three_bands(count: int) -> tuple[Tensor, Tensor]:
    """Return images of noise, and labels 0, 1 and 2 in bands ten voxels wide."""
    images = torch.rand((count, 1, 30, 6, 1), generator=generator(3)) * 0.2 + 0.4
    labels = torch.arange(3).repeat_interleave(10).view(1, 30, 1, 1).expand(count, 30, 6, 1)
    return images, labels


def varied(images: Tensor, labels: Tensor, curve: float, structure: float) -> Tensor:
    return random_contrast(
        images,
        labels,
        curve_share=curve,
        structure_share=structure,
        ranges=RANGES,
        prior=CurvePrior(),
        generator=generator(),
    )


def test_a_share_of_images_has_its_structures_drawn_anew_within_their_ranges() -> None:
    images, labels = three_bands(400)
    changed = varied(images, labels, curve=0, structure=0.5)
    assert torch.equal(changed[:, :, :8], images[:, :, :8])  # the background
    moved = (changed - images).abs().amax(dim=(1, 2, 3, 4)) > 1e-3
    assert 0.4 < moved.float().mean() < 0.6
    means = changed[moved, 0].unflatten(1, (3, 10))[:, 1:, 2:8].mean(dim=(2, 3, 4))
    for found, (low, high) in zip(means.T, RANGES, strict=True):
        width = high - low
        assert low - 0.05 < found.min() < low + 0.2 * width
        assert high - 0.2 * width < found.max() < high + 0.05
    assert torch.corrcoef(means.T)[0, 1].abs() < 0.3
    assert torch.equal(varied(images, labels, curve=0, structure=0), images)


def test_a_drawn_structure_keeps_or_inverts_its_texture() -> None:
    images, labels = three_bands(200)
    changed = draw_structures(images, images, labels, ((0.5, 0.5),), generator())
    inside = (slice(None), 0, slice(13, 17))
    own, found = (x[inside].flatten(1) for x in (smooth_in_plane(images, (2, 3)), changed))
    own, found = (x - x.mean(dim=1, keepdim=True) for x in (own, found))
    gains = (own * found).sum(dim=1) / (own * own).sum(dim=1)
    assert -2.01 < gains.min() < -1.5 and 1.5 < gains.max() < 2.01
    assert gains.abs().min() < 0.2


def test_edges_are_soft_and_leave_no_rim() -> None:
    # A bright ball in the dark, its edge blurred as a scan's is: no voxel of the rest may be
    # brighter than the ball or the dark, though the curve makes what is between them bright.
    x, y = torch.meshgrid(torch.arange(31.0), torch.arange(31.0), indexing="ij")
    inside = ((x - 15) ** 2 + (y - 15) ** 2 < 64)[None, None, :, :, None]
    image = smooth_in_plane(inside.float(), (2, 3), passes=1)
    rim = CurvePrior(around=torch.tensor([0.0, 1.0, 0.0]), distance=0.0)
    found = random_contrast(
        image,
        inside[:, 0].long(),
        curve_share=1,
        structure_share=1,
        ranges=((0.4, 0.4),),
        prior=rim,
        generator=generator(),
    )
    assert found.max().item() == pytest.approx(0.4, abs=0.02)
    assert found[0, 0, 15, 15, 0].item() == pytest.approx(0.4, abs=0.02)
    assert found[~inside].min() < 0.01
    line = found[0, 0, :16, 15, 0]
    assert (line.diff() > -1e-3).all() and (line.diff() < 0.35).all()
    assert random_curve(image, 1.0, rim, generator()).max() > 0.9  # what a curve alone makes


def test_gradients_flow_through_what_varies_translated_images() -> None:
    images, labels = three_bands(2)
    for vary in (
        lambda y: varied(y, labels, curve=1, structure=0),
        lambda y: varied(y, labels, curve=0, structure=1),
        lambda y: varied(y, labels, curve=1, structure=1),
        lambda y: scale_structures(y, labels, ((0.5, 1.0),), generator()),
        lambda y: augment_intensity(y, dataclasses.replace(Augmentation(), blur=1.0), generator()),
    ):
        start = images.clone().requires_grad_()
        # The generator's output is no leaf.
        vary(start * 1.0).sum().backward()
        assert start.grad is not None and start.grad.abs().sum() > 0


def test_curves_are_functions_of_intensity_and_not_always_rising() -> None:
    x = torch.linspace(0, 1, 50).view(1, 1, 50, 1, 1).repeat(200, 1, 1, 2, 1)
    changed = random_curve(x, 0.5, CurvePrior(), generator())
    assert torch.equal(changed[:, :, :, 0], changed[:, :, :, 1])  # the same grey, the same result
    moved = (changed - x).abs().amax(dim=(1, 2, 3, 4)) > 1e-3
    assert 0.35 < moved.float().mean() < 0.65
    steps = changed[moved, 0, :, 0, 0].diff(dim=1)
    assert (steps < 0).any(dim=1).float().mean() > 0.8
    assert changed.min() >= 0 and changed.max() <= 1
    assert torch.equal(random_curve(x, 0.0, CurvePrior(), generator()), x)


def test_curves_around_a_known_one_reach_from_it_to_random_ones() -> None:
    x = torch.linspace(0, 1, 11).view(1, 1, 11, 1, 1).repeat(300, 1, 1, 1, 1)
    negative = torch.linspace(1, 0, 11)
    changed = random_curve(x, 1.0, CurvePrior(around=negative), generator())[:, 0, :, 0, 0]
    distance = (changed - negative).abs().mean(dim=1)
    assert distance.min() < 0.01
    assert distance.max() > 0.25
    assert (changed.mean(dim=0) - negative).abs().max() < 0.3


def test_at_anchors_curves_keep_to_their_ranges_and_dark_stays_dark() -> None:
    x = torch.linspace(0, 1, 41).view(1, 1, 41, 1, 1).repeat(300, 1, 1, 1, 1)
    prior = CurvePrior(anchors=torch.tensor([(0.85, 0.9, 0.3, 0.8), (0.15, 0.25, 0.7, 1.0)]))
    changed = random_curve(x, 1.0, prior, generator())[:, 0, :, 0, 0]
    assert changed[:, 0].max() < 0.1
    tumour, fluid, between = changed[:, 34:37], changed[:, 6:11], changed[:, 22]
    assert tumour.min() >= 0.28 and tumour.max() <= 0.82
    assert fluid.min() >= 0.65 and fluid.max() <= 1.0
    assert between.min() < 0.2 and between.max() > 0.8
    expected = expected_contrast(prior, (), torch.device("cpu")).heights
    assert expected[35].item() == pytest.approx(0.55, abs=0.02)
    assert expected[8].item() == pytest.approx(0.85, abs=0.03)
    assert expected_contrast(CurvePrior(), (), torch.device("cpu")).heights[20] == 0.5


def test_anchors_are_where_structures_are_but_not_those_of_lesions_that_are_drawn_anew() -> None:
    cpu = torch.device("cpu")
    items = []
    for number in range(10):
        images, labels = three_bands(1)
        image, label = images[0].clone(), labels[0].clone()
        image[0, 10:20], image[0, 20:] = 0.9, torch.linspace(0.1, 0.3, 10)[:, None, None]
        # Every second crop lacks the lesion, and nothing touches the sides.
        label[label == 1] = number % 2
        label[:, [0, -1]] = 0
        label[-1] = 0
        items.append(Item(str(number), image, label))
    prior = curve_prior(items, [], RANGES, 1.0, cpu, drawn=True)
    assert prior.around is None and prior.anchors is not None
    anatomy = [0.2, 0.29, *RANGES[1]]
    assert torch.allclose(prior.anchors, torch.tensor([anatomy]), atol=0.02)
    left_to_the_curve = curve_prior(items, [], RANGES, 1.0, cpu, drawn=False).anchors
    assert left_to_the_curve is not None
    assert torch.allclose(left_to_the_curve[0], torch.tensor([0.9, 0.9, *RANGES[0]]))
    assert torch.equal(left_to_the_curve[1], prior.anchors[0])
    assert curve_prior(items, [], (), 1.0, cpu, drawn=True).anchors is None
