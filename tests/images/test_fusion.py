"""Fusing probabilities: order, changes per step, votes, consensus, confidence."""

import sys

import numpy as np
import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.images import fusion
from vsuda_cli.images.confident_learning import find_label_issues

SHAPE = (9, 8, 7)


def model(seed, classes=3):
    rng = np.random.default_rng(seed)
    return rng.dirichlet([0.3] * classes, SHAPE).astype(np.float32)


def one_hot(labels, sure=0.8):
    labels = np.asarray(labels)
    rest = (1 - sure) / 2
    return np.where(labels[..., None] == np.arange(3), sure, rest).astype(np.float32)


def test_hard_labels_are_argmax_in_both_orders_of_memory():
    array = model(0)
    expected = array.argmax(axis=-1)
    assert np.array_equal(fusion.hard_labels(array), expected)
    assert np.array_equal(fusion.hard_labels(np.asfortranarray(array)), expected)


def test_rows_of_a_file_are_a_view():
    array = np.asfortranarray(model(0))
    assert np.shares_memory(fusion.as_rows(array), array)
    assert np.array_equal(fusion.as_rows(array)[9 * 8 * 2 + 9 * 3 + 4], array[4, 3, 2])


def test_each_model_cleans_the_result_so_far():
    models = [model(seed) for seed in (1, 2, 3)]
    labels, steps = fusion.clean_in_turn(models, "prune_by_noise_rate")
    expected = fusion.as_rows(models[0]).argmax(axis=1).astype(np.uint8)
    for later, step in zip(models[1:], steps, strict=True):
        rows = fusion.as_rows(later)
        flags = find_label_issues(expected, rows, "prune_by_noise_rate")
        cleaned = np.where(flags, rows.argmax(axis=1), expected).astype(np.uint8)
        assert step.flagged == flags.sum() > 0
        for a in range(3):
            for b in range(3):
                changed = int(((expected == a) & (cleaned == b)).sum()) if a != b else 0
                assert step.changes[a, b] == changed
        expected = cleaned
    assert np.array_equal(labels, expected.reshape(SHAPE, order="F"))
    other, _ = fusion.clean_in_turn(models[::-1], "prune_by_noise_rate")
    assert not np.array_equal(labels, other)


def test_the_order_of_memory_does_not_matter():
    models = [model(seed) for seed in (1, 2)]
    turned = [np.asfortranarray(one) for one in models]
    for rule in ("prune_by_noise_rate", "low_self_confidence"):
        one, other = (fusion.clean_in_turn(some, rule)[0] for some in (models, turned))
        assert np.array_equal(one, other)


def test_a_missed_structure_is_restored_by_a_sure_model():
    truth = np.zeros(SHAPE, dtype=np.uint8)
    truth[2:6, 2:6, 2:5], truth[7:, 6:, 5:] = 1, 2
    missed = truth.copy()
    missed[2:4, 2:6, 2:5] = 0
    labels, (step,) = fusion.clean_in_turn([one_hot(missed), one_hot(truth, 0.98)], "both")
    assert np.array_equal(labels, truth)
    assert step.flagged == step.changes[0, 1] == 24


def test_majority_and_its_ties():
    votes = [np.array(v).reshape(3, 1, 1) for v in ([1, 0, 2], [1, 2, 1], [0, 2, 0])]
    sure = [one_hot(votes[0], 0.5), one_hot(votes[1], 0.6), one_hot(votes[2], 0.7)]
    # Third voxel: one vote each; the surest model's class has the largest mean.
    assert fusion.majority(sure).ravel().tolist() == [1, 2, 0]
    # Votes beat probabilities: two weak votes against one certain.
    weak = np.array([[[[0.48, 0.52]]]], dtype=np.float32)
    certain = np.array([[[[1.0, 0.0]]]], dtype=np.float32)
    assert fusion.majority([weak, weak, certain]).item() == 1
    assert fusion.hard_labels(fusion.mean([weak, weak, certain])).item() == 0


def test_mean():
    models = [model(seed) for seed in (4, 5, 6)]
    assert np.allclose(fusion.mean(models), np.mean(models, axis=0), atol=1e-6)


def test_results_lie_in_memory_as_files_do():
    models = [np.asfortranarray(model(seed)) for seed in (4, 5)]
    labels = fusion.hard_labels(models[0])
    for found in (
        fusion.mean(models),
        fusion.majority(models),
        fusion.confidence(models, labels),
        fusion.disagreement(models, labels),
    ):
        assert found.flags.f_contiguous


def test_staple_follows_the_reliable_raters():
    pytest.importorskip("SimpleITK")
    truth = np.zeros((12, 12, 12), dtype=np.uint8)
    truth[3:9, 3:9, 3:9], truth[10:, 10:, 10:] = 1, 2
    rng = np.random.default_rng(7)
    raters = []
    for share in (0.02, 0.02, 0.4):
        rated = truth.copy()
        wrong = rng.random(truth.shape) < share
        rated[wrong] = rng.integers(3, size=int(wrong.sum()))
        raters.append(one_hot(rated))
    found = fusion.staple(raters)
    assert found.max() == 2
    assert (found != truth).mean() < 0.02
    assert (fusion.hard_labels(raters[2]) != truth).mean() > 0.2


def test_where_staple_is_undecided_the_majority_decides():
    pytest.importorskip("SimpleITK")
    one = np.zeros((4, 4, 4), dtype=np.uint8)
    one[2:] = 1
    other = one.copy()
    one[0, 0, 0], other[0, 0, 0] = 1, 2
    found = fusion.staple([one_hot(one, 0.7), one_hot(other, 0.8)])
    assert np.array_equal(found, other)


def test_staple_without_simpleitk_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(VsudaError, match=r"vsuda\[staple\]"):
        fusion.require_staple()


def test_confidence_and_disagreement():
    certain, undecided = one_hot(np.zeros((1, 1, 2)), 1.0), np.full((1, 1, 2, 3), 1 / 3, np.float32)
    zeros, twos = np.zeros((1, 1, 2), dtype=np.uint8), np.full((1, 1, 2), 2, dtype=np.uint8)
    assert np.allclose(fusion.confidence([certain, certain], zeros), 1)
    assert np.allclose(fusion.confidence([certain, undecided], zeros), 2 / 3)
    assert np.allclose(fusion.confidence([certain, undecided], twos), 1 / 6)
    ones = one_hot(np.ones((1, 1, 2)))
    found = fusion.disagreement([certain, ones, ones, ones], np.array([[[1, 2]]], dtype=np.uint8))
    assert found.ravel().tolist() == [0.25, 1.0]
