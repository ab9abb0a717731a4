"""Every decision equals cleanlab's, voxel for voxel."""

import warnings

import numpy as np
import pytest
from cleanlab.count import calibrate_confident_joint
from cleanlab.filter import find_label_issues as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from vsuda_cli.errors import VsudaError
from vsuda_cli.images.confident_learning import (
    RULES,
    _prune_counts,
    argmax,
    find_label_issues,
    thresholds,
)


def assert_as_cleanlab(labels, probabilities, rule):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = reference(labels.astype(np.int64), probabilities, filter_by=rule, n_jobs=1)
    found = find_label_issues(labels, probabilities, rule)
    assert np.array_equal(found, expected), f"{(found != expected).sum()} differ"
    return int(found.sum())


def noisy(probabilities, share, seed):
    rng = np.random.default_rng(seed)
    labels = probabilities.argmax(axis=1).astype(np.uint8)
    wrong = rng.random(len(labels)) < share
    labels[wrong] = rng.integers(probabilities.shape[1], size=int(wrong.sum()))
    return labels


def quantised(probabilities, steps=65535):
    """As a map comes back from its file: many equal values, in Fortran order."""
    whole = np.rint(probabilities * steps).astype(np.uint16)
    return np.asfortranarray((whole * (1 / steps)).astype(np.float32))


def ball_probabilities(shape, centre, radius, sharpness, seed):
    """Background, a ball and a smaller ball in it, blurred and noisy: (N, 3)."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid - np.asarray(centre), axis=-1)
    logits = np.stack(
        [np.zeros(shape), radius - distance, radius * 1.2 - 2 * distance + 2], axis=-1
    )
    logits = sharpness * logits + rng.normal(0, 0.7, logits.shape)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True)).reshape(-1, 3).astype(np.float32)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("alpha", [0.05, 0.3, 2.0])
def test_random_volumes(rule, classes, alpha):
    rng = np.random.default_rng(classes)
    probabilities = rng.dirichlet([alpha] * classes, 4000).astype(np.float32)
    probabilities = np.nan_to_num(probabilities, nan=1 / classes)
    flagged = sum(
        assert_as_cleanlab(noisy(probabilities, share, 1), probabilities, rule)
        for share in (0.02, 0.3, 0.9)
    )
    assert flagged > 0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [None, 65535, 255, 10])
def test_structured_volumes_with_ties(rule, steps):
    shape = (36, 30, 22)
    ours = ball_probabilities(shape, (18, 15, 11), 7, 1.0, 0)
    theirs = ball_probabilities(shape, (19, 14, 12), 6, 2.0, 1)
    if steps is not None:
        ours = quantised(ours, steps)
    labels = theirs.argmax(axis=1).astype(np.uint8)
    # More voxels than one chunk, so that chunks have to be put together.
    ours, labels = np.asfortranarray(np.tile(ours, (4, 1))), np.tile(labels, 4)
    assert len(labels) > 1 << 16
    assert assert_as_cleanlab(labels, ours, rule) > 0


@pytest.mark.parametrize("rule", RULES)
def test_certain_and_undecided_volumes(rule):
    rng = np.random.default_rng(2)
    certain = np.eye(3, dtype=np.float32)[rng.integers(3, size=3000)]
    undecided = np.full((3000, 3), 1 / 3, dtype=np.float32)
    halves = rng.choice(np.array([0.0, 0.5, 1.0], dtype=np.float32), (3000, 1))
    two = np.concatenate([halves, 1 - halves], axis=1)
    for probabilities in (certain, undecided, two):
        for share in (0.01, 0.1, 0.8):
            assert_as_cleanlab(noisy(probabilities, share, 3), probabilities, rule)
    labels = rng.integers(3, size=3000).astype(np.uint8)
    assert_as_cleanlab(labels, certain, rule)
    assert_as_cleanlab(labels, undecided, rule)


@pytest.mark.parametrize("rule", RULES)
def test_absent_and_rare_classes(rule):
    rng = np.random.default_rng(4)
    probabilities = rng.dirichlet([0.2, 0.2, 0.2, 0.2], 3000).astype(np.float32)
    for pair in ((0, 1), (1, 3), (2, 3)):
        labels = rng.choice(np.array(pair, dtype=np.uint8), 3000)
        assert_as_cleanlab(labels, probabilities, rule)
    for count in (1, 2, 3):
        labels = np.zeros(3000, dtype=np.uint8)
        labels[:count] = 2
        assert_as_cleanlab(labels, probabilities, rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("only", [0, 2])
def test_one_class_has_no_rival(rule, only):
    probabilities = np.random.default_rng(5).dirichlet([0.2] * 3, 500).astype(np.float32)
    labels = np.full(500, only, dtype=np.uint8)
    assert not find_label_issues(labels, probabilities, rule).any()
    if only == 0 and not rule.startswith("low_"):  # cleanlab refuses the others
        assert_as_cleanlab(labels, probabilities, rule)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 8), st.integers(0, 8)), min_size=2, max_size=60
    ),
    st.sampled_from(RULES),
)
def test_small_volumes_full_of_ties(voxels, rule):
    labels = np.array([label for label, _, _ in voxels], dtype=np.uint8)
    if len(set(labels.tolist())) < 2:
        return
    weights = np.array([(a, b, max(0, 16 - a - b)) for _, a, b in voxels], dtype=np.float32)
    assert_as_cleanlab(labels, weights / weights.sum(axis=1, keepdims=True), rule)


def test_flagged_voxels_are_disputed_ones():
    probabilities = np.random.default_rng(6).dirichlet([0.3] * 3, 5000).astype(np.float32)
    labels = noisy(probabilities, 0.2, 7)
    flags = find_label_issues(labels, probabilities, "prune_by_noise_rate")
    assert flags.any()
    assert (probabilities[flags].argmax(axis=1) != labels[flags]).all()


def test_thresholds_are_mean_self_confidences():
    probabilities = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]], dtype=np.float32)
    found = thresholds(np.array([0, 0, 0], dtype=np.uint8), probabilities)
    assert np.allclose(found, [1.6 / 3, 2])


def test_argmax_takes_the_first_of_equal_ones():
    columns = [np.array([0.5, 0.2, 0.4]), np.array([0.5, 0.4, 0.2]), np.array([0.0, 0.4, 0.4])]
    assert argmax(columns).tolist() == [0, 1, 0]


def test_unknown_rule_and_label_are_refused():
    probabilities = np.full((4, 2), 0.5, dtype=np.float32)
    with pytest.raises(VsudaError, match="unknown"):
        find_label_issues(np.zeros(4, dtype=np.uint8), probabilities, "magic")
    with pytest.raises(VsudaError, match="of 2 classes"):
        find_label_issues(np.full(4, 2, dtype=np.uint8), probabilities, "both")


def test_counts_are_rounded_as_cleanlabs_are():
    # Of these a sum in another order differs in its last bit, and a half is rounded the other way.
    for seed in (118, 263, 267, 282, 441, 574):
        generator = np.random.default_rng(seed)
        joint = generator.integers(1, 40, (5, 5))
        np.fill_diagonal(joint, generator.integers(40, 80, 5))
        sizes = joint.sum(axis=1) + generator.integers(0, 30, 5)
        labels = np.repeat(np.arange(5), sizes).astype(np.uint8)
        # As cleanlab itself lays it out.
        wanted = calibrate_confident_joint(np.asfortranarray(joint), labels)
        assert np.array_equal(_prune_counts(joint, labels), wanted), seed
