"""Confident learning over voxels: which noisy labels another model's probabilities dispute.

Northcutt, Jiang, Chuang: Confident Learning, JAIR 2021. Every decision equals that of
`cleanlab.filter.find_label_issues` on the same arrays; voxels are visited in chunks and sorted only
where ties leave no other way, so that whole scans fit in memory.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vsuda_cli.errors import VsudaError

RULES = (
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "low_normalized_margin",
    "low_self_confidence",
)
# Voxels looked at together; their columns stay in the processor's cache.
CHUNK = 1 << 16
# cleanlab's tolerance of comparisons, its lower bound of a threshold, and the threshold of a class
# that no voxel is labelled with.
TOLERANCE = 1e-6
LOWEST_THRESHOLD = 2e-6
UNREACHABLE = 2
# Every voxel is kept of a class with no more voxels than this.
FEWEST_VOXELS = 1

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.floating]
Places = NDArray[np.intp]


def find_label_issues(labels: Labels, probabilities: Numbers, rule: str) -> Mask:
    """Return the mask (N,) of labels (N,) that the probabilities (N, K) say are wrong.

    `rule` is one of RULES, cleanlab's `filter_by`. A voxel whose label is the most probable class
    is never flagged by the first four. Probabilities are used as they are, not made to sum to 1.
    With one class present nothing can be flagged; cleanlab refuses most such input.

    Where equal values stand on both sides of a cut-off, the choice among them is that of NumPy's
    sort, as in cleanlab.

    Raises VsudaError for an unknown rule or labels that are not below K.
    """
    if rule not in RULES:
        raise VsudaError(f"--rule {rule}", "is unknown", f"use one of {', '.join(RULES)}")
    classes = probabilities.shape[1]
    if labels.size and labels.max() >= classes:
        raise VsudaError("labels", f"hold {labels.max()}, of {classes} classes", "check the inputs")
    joint, suspected, disputed = _confident_counts(labels, probabilities)
    if rule == "confident_learning":
        return suspected & disputed
    if rule.startswith("low_"):
        count = int(np.count_nonzero(suspected & disputed))
        scores = (_own_margin if rule == "low_normalized_margin" else _own)(labels, probabilities)
        return _lowest(scores, count)
    del suspected
    # Only disputed voxels can be flagged, and they are few: everything is decided for them alone.
    places = np.flatnonzero(disputed)
    del disputed
    counts = _prune_counts(joint, labels)
    flags = np.zeros(len(labels), dtype=np.bool_)
    for given in range(classes):
        if np.count_nonzero(labels == given) <= FEWEST_VOXELS:
            continue
        near = places[labels[places] == given]
        chosen = np.ones(len(near), dtype=np.bool_)
        if rule != "prune_by_class":
            chosen &= _widest_margins(labels, probabilities, given, near, counts[given])
        if rule != "prune_by_noise_rate":
            chosen &= _least_probable(labels, probabilities, given, near, counts[given])
        flags[near[chosen]] = True
    return flags


def thresholds(labels: Labels, probabilities: Numbers) -> Numbers:
    """Return per class the mean probability (K,) among the voxels labelled with it."""
    means = []
    for k in range(probabilities.shape[1]):
        own = probabilities[:, k][labels == k]
        means.append(np.mean(own) if own.size else UNREACHABLE)
    found: Numbers = np.clip(means, LOWEST_THRESHOLD, None)
    return found


def argmax(columns: list[Numbers]) -> Labels:
    """Return the index of the largest of K columns (N,) at each voxel, the first of equal ones."""
    best = columns[0]
    index = np.zeros(len(best), dtype=np.uint8)
    for k, column in enumerate(columns[1:], start=1):
        index[column > best] = k
        best = np.maximum(best, column)
    return index


def _chunks(
    labels: Labels, probabilities: Numbers
) -> Iterator[tuple[slice, Labels, list[Numbers]]]:
    for start in range(0, len(labels), CHUNK):
        part = slice(start, start + CHUNK)
        yield part, labels[part], [probabilities[part, k] for k in range(probabilities.shape[1])]


def _confident_counts(
    labels: Labels, probabilities: Numbers
) -> tuple[NDArray[np.int64], Mask, Mask]:
    """Return the confident joint, the voxels counted off its diagonal, and the disputed voxels.

    The joint (K, K) counts voxels by given label and by confident class: the class whose
    threshold they reach, the most probable one where they reach several. A voxel is disputed when
    another class is more probable than the given one by more than the tolerance.
    """
    classes = probabilities.shape[1]
    limits = thresholds(labels, probabilities) - TOLERANCE
    joint = np.zeros(classes * classes, dtype=np.int64)
    suspected = np.zeros(len(labels), dtype=np.bool_)
    disputed = np.zeros(len(labels), dtype=np.bool_)
    for part, given, columns in _chunks(labels, probabilities):
        reached = np.zeros(len(given), dtype=np.uint8)
        guess = np.zeros(len(given), dtype=np.uint8)
        raised = []
        for k in reversed(range(classes)):
            confident = columns[k] >= limits[k]
            reached += confident
            guess[confident] = k
            raised.append(np.where(given == k, columns[k] + TOLERANCE, columns[k]))
        guess = np.where(reached > 1, argmax(columns), guess)
        sure = reached > 0
        pairs = given[sure].astype(np.intp) * classes + guess[sure]
        joint += np.bincount(pairs, minlength=classes * classes)
        suspected[part] = sure & (guess != given)
        disputed[part] = argmax(raised[::-1]) != given
    return joint.reshape(classes, classes), suspected, disputed


def _prune_counts(joint: NDArray[np.int64], labels: Labels) -> NDArray[np.int64]:
    """Return how many voxels to prune, by given label (row) and true class; the diagonal stays.

    The joint is scaled to the labels' own counts; every class keeps at least one voxel.
    """
    from cleanlab.count import calibrate_confident_joint

    # Laid out as cleanlab's own: in another order its sums differ in the last bit, and halves are
    # rounded the other way.
    joint = np.asfortranarray(joint)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    scaled = calibrate_confident_joint(joint, labels)
    diagonal = scaled.diagonal()
    raised = np.maximum(diagonal, FEWEST_VOXELS)
    others = np.maximum(np.count_nonzero(scaled, axis=1) - 1.0, 1.0)
    counts = scaled - ((raised - diagonal) / others)[:, None]
    counts[counts < 0] = 0
    np.fill_diagonal(counts, raised)
    whole: NDArray[np.int64] = counts.astype(np.int64)
    return whole


def _widest_margins(
    labels: Labels, probabilities: Numbers, given: int, near: Places, counts: NDArray[np.int64]
) -> Mask:
    """Tell which of the class' disputed voxels at `near` have the widest margins.

    That is: for any other class, they are among its count of all voxels labelled `given` with the
    largest margin towards it.
    """
    chosen = np.zeros(len(near), dtype=np.bool_)
    for other in range(len(counts)):
        count = int(counts[other])
        if other == given or count <= 0:
            continue
        gaps = _gaps(probabilities, near, given, other)
        # Whatever is more probable by twice the tolerance is disputed: where the cut-off lies
        # there, the few disputed voxels decide alone.
        if count <= np.count_nonzero(gaps < -2 * TOLERANCE):
            picked = _lowest_unless_tied(gaps, count)
            if picked is not None:
                chosen |= picked
                continue
        everyone = _gaps(probabilities, labels == given, given, other)
        chosen |= _lowest_in_class(everyone, count, labels == given, near, gaps)
    return chosen


def _gaps(probabilities: Numbers, where: NDArray[np.generic], given: int, other: int) -> Numbers:
    gaps: Numbers = probabilities[:, other][where]
    gaps -= probabilities[:, given][where]
    return np.negative(gaps, out=gaps)


def _least_probable(
    labels: Labels, probabilities: Numbers, given: int, near: Places, counts: NDArray[np.int64]
) -> Mask:
    """Tell which voxels at `near` are not among the kept count of the class' most probable."""
    own = probabilities[:, given]
    everyone = own[labels == given]
    count = len(everyone) - int(counts[given])
    return _lowest_in_class(everyone, count, labels == given, near, own[near])


def _own(labels: Labels, probabilities: Numbers) -> Numbers:
    """Return the probability (N,) of the given label."""
    scores = np.empty(len(labels), dtype=probabilities.dtype)
    for part, given, columns in _chunks(labels, probabilities):
        scores[part] = np.choose(given, columns)
    return scores


def _own_margin(labels: Labels, probabilities: Numbers) -> Numbers:
    """Return the given label's probability less the largest other one, scaled to [0, 1]."""
    scores = np.empty(len(labels), dtype=probabilities.dtype)
    for part, given, columns in _chunks(labels, probabilities):
        others = [np.where(given == k, -np.inf, column) for k, column in enumerate(columns)]
        rival = np.maximum.reduce(others).astype(probabilities.dtype)
        scores[part] = (np.choose(given, columns) - rival + 1) / 2
    return scores


def _lowest(values: Numbers, count: int) -> Mask:
    """Return a mask of `np.argsort(values)[:count]`."""
    if not 0 < count < len(values):
        return np.full(len(values), count > 0)
    picked = _lowest_unless_tied(values, count)
    if picked is not None:
        return picked
    chosen = np.zeros(len(values), dtype=np.bool_)
    chosen[np.argsort(values)[:count]] = True
    return chosen


def _lowest_in_class(
    values: Numbers, count: int, members: Mask, near: Places, near_values: Numbers
) -> Mask:
    """Tell which voxels at `near` are in `np.argsort(values)[:count]`.

    `values` are those of all `members` (N,), `near` some of these, `near_values` their values.
    """
    if not 0 < count < len(values):
        return np.full(len(near), count > 0)
    cutoff = np.partition(values, count - 1)[count - 1]
    at_cutoff = near_values == cutoff
    if not at_cutoff.any() or np.count_nonzero(values <= cutoff) == count:
        found: Mask = near_values <= cutoff
        return found
    chosen = np.zeros(len(values), dtype=np.bool_)
    chosen[np.argsort(values)[:count]] = True
    marked = np.zeros(len(members), dtype=np.bool_)
    marked[near] = True
    return chosen[marked[members]]


def _lowest_unless_tied(values: Numbers, count: int) -> Mask | None:
    """Return a mask of the `count` lowest values, or None if ties leave the choice open."""
    cutoff = np.partition(values, count - 1)[count - 1]
    chosen: Mask = values <= cutoff
    return chosen if np.count_nonzero(chosen) == count else None
