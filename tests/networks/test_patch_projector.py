"""Projected feature vectors: unit length, the right voxels, the same positions each time."""

import pytest
import torch

from vsuda_cli.networks.patch_projector import PatchProjector, draw_positions

# Of the feature maps below.
VOXELS = (42, 24)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def feature_maps(batch: int = 2) -> list[torch.Tensor]:
    source = generator(4)
    return [
        torch.randn(batch, 3, 7, 6, generator=source),
        torch.randn(batch, 5, 4, 3, 2, generator=source),
    ]


def test_vectors_have_unit_length_and_the_projection_width() -> None:
    features = feature_maps()
    positions = draw_positions(VOXELS, 16, generator())
    vectors = PatchProjector([3, 5], width=8)(features, positions)
    assert [v.shape for v in vectors] == [(2, 16, 8), (2, 16, 8)]
    for v in vectors:
        assert torch.allclose(v.norm(dim=-1), torch.ones(2, 16), atol=1e-5)


def test_each_map_has_two_layers() -> None:
    shapes = [tuple(p.shape) for p in PatchProjector([3, 5], width=256).parameters()]
    assert shapes == [
        *((256, 3), (256,), (256, 256), (256,)),
        *((256, 5), (256,), (256, 256), (256,)),
    ]


def test_a_vector_is_the_projection_of_its_own_voxel() -> None:
    features = feature_maps()
    positions = draw_positions(VOXELS, 5, generator())
    projector = PatchProjector([3, 5], width=8)
    vectors = projector(features, positions)
    for level, (feature, where) in enumerate(zip(features, positions, strict=True)):
        first, _, second = projector.projections[level]
        for image in range(2):
            for patch, flat in enumerate(where.tolist()):
                place = torch.unravel_index(torch.tensor(flat), feature.shape[2:])
                voxel = feature[(image, slice(None), *place)]
                projected = second(first(voxel).clamp_min(0))
                expected = projected / projected.norm()
                torch.testing.assert_close(vectors[level][image, patch], expected)


def test_positions_differ_follow_the_seed_and_stay_inside() -> None:
    positions = draw_positions(VOXELS, 256, generator(1))
    # No more than there are voxels, none twice.
    assert [sorted(p.tolist()) for p in positions] == [list(range(42)), list(range(24))]
    some = draw_positions(VOXELS, 10, generator(1))
    again = draw_positions(VOXELS, 10, generator(1))
    other = draw_positions(VOXELS, 10, generator(2))
    for voxels, a, b, c in zip(VOXELS, some, again, other, strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)
        assert len(set(a.tolist())) == 10
        assert 0 <= int(a.min()) <= int(a.max()) < voxels


def test_positions_do_not_depend_on_global_randomness() -> None:
    torch.manual_seed(1)
    first = draw_positions(VOXELS, 10, generator(3))
    torch.manual_seed(2)
    second = draw_positions(VOXELS, 10, generator(3))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_same_input_same_vectors_and_images_do_not_mix() -> None:
    features = feature_maps()
    positions = draw_positions(VOXELS, 6, generator())
    projector = PatchProjector([3, 5], width=8)
    together = projector(features, positions)
    assert all(
        torch.equal(a, b) for a, b in zip(together, projector(features, positions), strict=True)
    )
    alone = projector([f[1:] for f in features], positions)
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:], b)


def test_zero_features_have_finite_gradients() -> None:
    projector = PatchProjector([3], width=4)
    for parameter in projector.parameters():
        torch.nn.init.zeros_(parameter)
    feature = torch.zeros(1, 3, 2, 2, requires_grad=True)
    projector([feature], [torch.arange(4)])[0].sum().backward()
    assert torch.isfinite(feature.grad).all()


def test_a_missing_level_is_an_error() -> None:
    features = feature_maps()
    with pytest.raises(ValueError, match="zip"):
        PatchProjector([3], width=4)(features, draw_positions(VOXELS, 2, generator()))
