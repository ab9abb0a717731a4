"""A moved head is found again, and what cannot be found is refused."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from synthetic_head import LEFT_MM, RIGHT_MM, SHAPE, head

from vsuda_cli.errors import VsudaError
from vsuda_cli.images import registration
from vsuda_cli.images.coarse_search import TILTED, UPRIGHT, rank_starts
from vsuda_cli.images.geometry import transform, translation
from vsuda_cli.images.registration import (
    GOOD_SIMILARITY,
    Registration,
    implausible,
    make_template,
    mirror_template,
    register_left,
    register_right,
)


@pytest.fixture(scope="module")
def atlas():
    image, _, affine = head("T1")
    return make_template(image, affine)


def moved_by(angles=(0, 0, 0), shift=(0, 0, 0), scale=1.0):
    move = np.eye(4)
    move[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * scale
    move[:3, 3] = shift
    return move


def error_mm(to_atlas, move, ear):
    place = transform(move, ear[None])
    return float(np.linalg.norm(transform(to_atlas, place) - RIGHT_MM))


@pytest.mark.parametrize(
    "move",
    [
        moved_by((4, -3, 5), (6, -5, 8), 1.04),
        moved_by((0, 0, 25), (0, 0, 0)),
        moved_by((-20, 0, 0), (0, 10, 0), 0.95),
    ],
)
def test_both_ears_of_a_moved_head_of_another_contrast(atlas, move):
    image, _, affine = head("T2", move, seed=1)
    scan = make_template(image, affine)
    right = register_right("a", scan, atlas)
    assert error_mm(right.to_atlas, move, RIGHT_MM) < 5
    assert np.linalg.det(right.to_atlas[:3, :3]) > 0
    left = register_left("a", scan, atlas, right)
    assert error_mm(left.to_atlas, move, LEFT_MM) < 5
    assert np.linalg.det(left.to_atlas[:3, :3]) < 0


@pytest.mark.parametrize("padding_value", [0, -1024])
def test_borders_without_a_signal_do_not_matter(padding_value):
    image, _, affine = head("T1")
    padding = ((3, 1), (0, 7), (2, 20))
    padded_affine = affine @ translation(-np.array([before for before, _ in padding], float))
    padded = make_template(np.pad(image, padding, constant_values=padding_value), padded_affine)
    bare = make_template(image, affine)
    for one, other in ((padded.coarse, bare.coarse), (padded.fine, bare.fine)):
        assert one.array == pytest.approx(other.array, abs=0 if padding_value == 0 else 1e-4)
        assert one.affine == pytest.approx(other.affine, abs=1e-9)


def test_another_world_origin_does_not_matter(atlas):
    image, _, affine = head("T2", seed=2)
    affine = moved_by(shift=(60, -40, 300)) @ affine
    found = register_right("a", make_template(image, affine), atlas)
    assert error_mm(found.to_atlas, moved_by(shift=(60, -40, 300)), RIGHT_MM) < 5


@pytest.mark.parametrize("swap", [False, True])
def test_a_thin_slab_and_a_whole_head(atlas, swap):
    image, _, affine = head("T2", seed=3)
    low = 12
    slab_affine = affine.copy()
    slab_affine[:3, 3] += affine[:3, 2] * low
    slab = make_template(np.ascontiguousarray(image[:, :, low : low + 18]), slab_affine)
    scan, template = (atlas, slab) if swap else (slab, atlas)
    found = register_right("slab", scan, template)
    assert error_mm(found.to_atlas, np.eye(4), RIGHT_MM) < 5


@pytest.mark.parametrize("degrees", [(0, 0, 30), (0, -30, 0), (-36, 0, 0)])
def test_tilted_starts_are_tried_where_the_others_fail(atlas, monkeypatch, degrees):
    def without_upright_ones(fixed, moving, tilts, most):
        return [] if tilts == UPRIGHT else rank_starts(fixed, moving, tilts, most)

    monkeypatch.setattr(registration, "rank_starts", without_upright_ones)
    move = moved_by(degrees, (4, 6, 0))
    image, _, affine = head("T2", move, seed=6)
    found = register_right("a", make_template(image, affine), atlas)
    assert error_mm(found.to_atlas, move, RIGHT_MM) < 5


def test_tilted_starts_are_not_tried_where_one_is_good(atlas, monkeypatch):
    tried = []

    def noted(fixed, moving, tilts, most):
        tried.append(tilts)
        return rank_starts(fixed, moving, tilts, most)

    monkeypatch.setattr(registration, "rank_starts", noted)
    image, _, affine = head("T2", seed=2)
    scan = make_template(image, affine)
    found = register_right("a", scan, atlas)
    assert found.similarity > GOOD_SIMILARITY
    assert tried == [UPRIGHT]
    # Else they are, and what is found stays the most alike.
    monkeypatch.setattr(registration, "GOOD_SIMILARITY", 1.0)
    again = register_right("a", scan, atlas)
    assert tried == [UPRIGHT, UPRIGHT, *TILTED]
    assert again.similarity >= found.similarity


@pytest.mark.parametrize(("tilted", "taken"), [(0.065, "upright"), (0.075, "tilted")])
def test_a_tilted_start_must_end_clearly_more_alike(atlas, monkeypatch, tilted, taken):
    found = {
        True: Registration(np.eye(4), 0.06, "upright"),
        False: Registration(np.eye(4), tilted, "tilted"),
    }
    calls = []

    def search(*words):
        calls.append(words)
        return found[len(calls) == 1], ""

    monkeypatch.setattr(registration, "_search", search)
    assert register_right("a", atlas, atlas).start == taken
    assert len(calls) == 2


def test_the_left_ear_can_be_found_alone(atlas):
    image, _, affine = head("T2", moved_by((2, 1, -3), (3, 4, -2)), seed=4)
    left = register_left("a", make_template(image, affine), atlas, None)
    assert error_mm(left.to_atlas, moved_by((2, 1, -3), (3, 4, -2)), LEFT_MM) < 5


def test_the_same_input_gives_the_same_numbers(atlas):
    image, _, affine = head("T2", moved_by((3, 0, 2), (4, 2, 1)), seed=5)
    scan = make_template(image, affine)
    one, other = register_right("a", scan, atlas), register_right("a", scan, atlas)
    assert np.array_equal(one.to_atlas, other.to_atlas)
    assert one.similarity == other.similarity


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (np.random.default_rng(0).random(SHAPE, dtype=np.float32), "similarity"),
        (np.ones(SHAPE, dtype=np.float32), "the same value"),
        (np.zeros(SHAPE, dtype=np.float32), "the same value"),
    ],
    ids=["noise", "ones", "zeros"],
)
def test_what_is_no_head_is_refused(atlas, wrong, reason):
    _, _, affine = head("T2")
    with pytest.raises(VsudaError, match=f"could not be registered.*{reason}"):
        register_right("scan", make_template(wrong, affine), atlas)


def test_mirroring_keeps_places_true(atlas):
    mirrored, exchange = mirror_template(atlas)
    assert np.allclose(exchange @ exchange, np.eye(4))
    index = np.array([[3.0, 4.0, 5.0]])
    size = atlas.fine.array.shape[0]
    assert mirrored.fine.array[3, 4, 5] == atlas.fine.array[size - 4, 4, 5]
    place = transform(exchange, transform(atlas.fine.affine, np.array([[size - 4.0, 4, 5]])))
    assert np.allclose(place, transform(mirrored.fine.affine, index))


def test_implausible_transforms_are_named():
    assert implausible(np.eye(4), 0.1) is None
    assert "similarity" in str(implausible(np.eye(4), 0.001))
    assert "scales" in str(implausible(np.diag([2.0, 2, 2, 1]), 0.1))
    assert "stretches" in str(implausible(np.diag([0.8, 1.2, 1, 1]), 0.1))
    assert "turns" in str(implausible(moved_by((0, 0, 60)), 0.1))
    assert "inside out" in str(implausible(np.diag([-1.0, 1, 1, 1]), 0.1))
