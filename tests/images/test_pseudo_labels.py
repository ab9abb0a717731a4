"""Only sure voxels, and one component of each structure, are kept as labels."""

import numpy as np

from vsuda_cli.images.pseudo_labels import IGNORED, one_of_each, sure_labels


def test_unsure_voxels_are_left_out() -> None:
    probabilities = np.zeros((8, 4, 4, 3), dtype=np.float32)
    probabilities[..., 0] = 1
    probabilities[:3, :, :, :] = (0.05, 0.9, 0.05)  # the tumour
    probabilities[2] = (0.4, 0.6, 0.0)  # its unsure rim
    probabilities[7, 3, 3] = (0.1, 0.0, 0.9)  # the cochlea
    found = sure_labels(probabilities, least=0.8)
    assert (found[:2] == 1).all()
    assert (found[2] == IGNORED).all()
    assert found[7, 3, 3] == 2
    assert (found[4] == 0).all()
    assert sure_labels(probabilities, least=0.5)[2].min() == 1


def three_components() -> np.ndarray:
    labels = np.zeros((12, 4, 4), dtype=np.uint8)
    labels[:3] = 1  # the largest
    labels[5:7] = 1  # another
    labels[10, 0, 0] = 2
    labels[10, 3, 3] = IGNORED
    return labels


def test_the_largest_component_of_each_structure_is_kept() -> None:
    labels = three_components()
    nowhere = np.zeros(labels.shape, dtype=np.bool_)
    found = one_of_each(labels, nowhere)
    wanted = labels.copy()
    wanted[5:7] = IGNORED
    assert np.array_equal(found, wanted)
    empty = np.zeros((3, 3, 3), dtype=np.uint8)
    assert not one_of_each(empty, np.zeros(empty.shape, dtype=np.bool_)).any()


def test_a_component_that_lies_mostly_in_the_background_is_none() -> None:
    labels = three_components()
    background = np.zeros(labels.shape, dtype=np.bool_)
    background[:2] = True
    found = one_of_each(labels, background)
    assert (found[:2] == 0).all()
    assert (found[2] == IGNORED).all()  # what it may be there nobody knows
    assert (found[5:7] == 1).all()
    # Less than half of it in the background: it stays, but there.
    background[1] = False
    found = one_of_each(labels, background)
    assert (found[0] == 0).all() and (found[1:3] == 1).all() and (found[5:7] == IGNORED).all()
