"""PatchNCE against the sum over patches written out."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vsuda_cli.networks.patch_projector import PatchProjector, draw_positions
from vsuda_cli.training.patch_nce import mean_patch_nce, patch_nce


def unit(*shape: int, seed: int = 0) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(drawn, dim=-1)


def plain_loops(queries: Tensor, keys: Tensor, temperature: float) -> float:
    total = 0.0
    for image in range(len(queries)):
        for place in range(queries.shape[1]):
            products = [
                math.exp(float(queries[image, place] @ keys[image, other]) / temperature)
                for other in range(keys.shape[1])
            ]
            total -= math.log(products[place] / sum(products))
    return total / (len(queries) * queries.shape[1])


def test_it_equals_the_plain_loops() -> None:
    queries, keys = unit(2, 7, 5), unit(2, 7, 5, seed=1)
    wanted = plain_loops(queries, keys, 0.07)
    assert patch_nce(queries, keys, 0.07) == pytest.approx(wanted, rel=1e-5)


def test_images_of_a_batch_never_meet() -> None:
    queries, keys = unit(2, 7, 5), unit(2, 7, 5, seed=1)
    alone = [patch_nce(queries[i : i + 1], keys[i : i + 1], 0.07) for i in range(2)]
    assert patch_nce(queries, keys, 0.07) == pytest.approx(float(sum(alone)) / 2, rel=1e-5)


def test_gradients_reach_the_queries_only() -> None:
    queries, keys = unit(1, 4, 3).requires_grad_(), unit(1, 4, 3, seed=1).requires_grad_()
    patch_nce(queries, keys, 0.07).backward()
    assert queries.grad is not None and queries.grad.abs().sum() > 0
    assert keys.grad is None


def test_layers_are_averaged() -> None:
    queries, keys = [unit(1, 4, 3), unit(1, 6, 3)], [unit(1, 4, 3, seed=1), unit(1, 6, 3, seed=1)]
    both = [patch_nce(q, k, 0.07) for q, k in zip(queries, keys, strict=True)]
    assert mean_patch_nce(queries, keys, 0.07) == pytest.approx(float(sum(both)) / 2)


@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 3)])
def test_features_of_slices_and_of_slabs_equal_the_plain_loops(shape: tuple[int, ...]) -> None:
    source = torch.Generator().manual_seed(2)
    maps = [torch.randn((2, 3, *shape), generator=source) for _ in range(2)]
    projector = PatchProjector([3], width=4)
    positions = draw_positions([maps[0][0, 0].numel()], 9, source)
    projector.requires_grad_(False)
    (queries,), (keys,) = (projector([one], positions) for one in maps)
    total = 0.0
    for image in range(2):
        vectors = []
        for one in maps:
            flat = one[image].flatten(1)
            projected = [projector.projections[0](flat[:, place]) for place in positions[0]]
            vectors.append([vector / vector.norm() for vector in projected])
        for place, query in enumerate(vectors[0]):
            products = [math.exp(float(query @ key) / 0.07) for key in vectors[1]]
            total -= math.log(products[place] / sum(products))
    assert patch_nce(queries, keys, 0.07).item() == pytest.approx(total / 18, rel=1e-4)
