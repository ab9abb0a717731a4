"""Several models' class probabilities become one label map."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsuda_cli.errors import VsudaError
from vsuda_cli.images.confident_learning import argmax, find_label_issues

METHODS = ("confident-learning", "majority", "mean", "staple")

Probabilities = NDArray[np.float32]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Step:
    """What one step did: doubted voxels, and changes (K, K) from class to class."""

    flagged: int
    changes: NDArray[np.int64]


def hard_labels(probabilities: Probabilities) -> Labels:
    """Return the most probable class (X, Y, Z), the first of equal ones."""
    flat = as_rows(probabilities)
    labels = argmax([flat[:, k] for k in range(flat.shape[1])])
    return labels.reshape(probabilities.shape[:3], order="F")


def as_rows(probabilities: Probabilities) -> Probabilities:
    """Return (N, K) rows of (X, Y, Z, K), first axis fastest: a view of what files hold."""
    return probabilities.reshape(-1, probabilities.shape[3], order="F")


def clean_in_turn(models: Sequence[Probabilities], rule: str) -> tuple[Labels, list[Step]]:
    """Fuse by confident learning: each model cleans the labels of those before it.

    The first model's most probable classes are noisy labels; where the next model's
    probabilities say that a label is wrong, its own most probable class takes the place, and so
    on. Returns labels (X, Y, Z) and one step for each model but the first. The order matters.
    """
    shape = models[0].shape[:3]
    labels = hard_labels(models[0]).reshape(-1, order="F")
    steps = []
    for model in models[1:]:
        rows = as_rows(model)
        flags = find_label_issues(labels, rows, rule)
        cleaned = labels.copy()
        cleaned[flags] = rows[flags].argmax(axis=1)
        steps.append(Step(int(flags.sum()), count_changes(labels, cleaned, rows.shape[1])))
        labels = cleaned
    return labels.reshape(shape, order="F"), steps


def count_changes(before: Labels, after: Labels, classes: int) -> NDArray[np.int64]:
    """Return the number of voxels (K, K) by class before (row) and after; the diagonal is 0."""
    differ = before != after
    pairs = before[differ].astype(np.intp) * classes + after[differ]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def mean(models: Sequence[Probabilities]) -> Probabilities:
    """Return the mean of the models' probabilities."""
    # In the order of the files: in another one every pass over the models takes several times.
    total = models[0].copy(order="K")
    for model in models[1:]:
        total += model
    total /= len(models)
    return total


def majority(models: Sequence[Probabilities]) -> Labels:
    """Return the class (X, Y, Z) that most models find; ties go to the larger mean probability."""
    # A mean is at most 1, so half of it never outweighs a vote.
    score = mean(models) * np.float32(0.5)
    for model in models:
        labels = hard_labels(model)
        for k in range(model.shape[3]):
            score[..., k] += labels == k
    return hard_labels(score)


def require_staple() -> None:
    """Raise VsudaError if SimpleITK, whose STAPLE is used, is not installed."""
    if importlib.util.find_spec("SimpleITK") is None:
        raise VsudaError(
            "--method staple", "needs SimpleITK", "install it: pip install 'vsuda[staple]'"
        )


def staple(models: Sequence[Probabilities]) -> Labels:
    """Return the multi-label STAPLE consensus (Rohlfing et al. 2003), by SimpleITK.

    Where STAPLE is undecided, the majority decides.
    """
    import SimpleITK

    undecided = models[0].shape[3]
    votes = [hard_labels(model) for model in models]
    consensus = SimpleITK.MultiLabelSTAPLE(
        [SimpleITK.GetImageFromArray(v) for v in votes], undecided
    )
    labels: NDArray[Any] = SimpleITK.GetArrayFromImage(consensus).astype(np.uint8)
    return np.where(labels == undecided, majority(models), labels)


def confidence(models: Sequence[Probabilities], labels: Labels) -> Probabilities:
    """Return the models' mean probability (X, Y, Z) of the fused label."""
    found = np.zeros_like(labels, dtype=np.float32)
    for model in models:
        found += np.take_along_axis(model, labels[..., None], axis=3)[..., 0]
    return np.clip(found / np.float32(len(models)), 0, 1)


def disagreement(models: Sequence[Probabilities], labels: Labels) -> Probabilities:
    """Return the share (X, Y, Z) of models whose most probable class is not the fused label."""
    against = np.zeros_like(labels, dtype=np.float32)
    for model in models:
        against += hard_labels(model) != labels
    return against / np.float32(len(models))
