"""Only sure voxels of the largest components are kept as labels."""

import numpy as np

from vsuda_cli.images.pseudo_labels import IGNORED, sure_labels


def test_unsure_voxels_and_small_components_are_left_out() -> None:
    probabilities = np.zeros((8, 4, 4, 3), dtype=np.float32)
    probabilities[..., 0] = 1
    probabilities[:3, :, :, :] = (0.05, 0.9, 0.05)  # the tumour
    probabilities[2] = (0.4, 0.6, 0.0)  # its unsure rim
    probabilities[6, 0, 0] = (0.0, 1.0, 0.0)  # a false, sure speck
    probabilities[7, 3, 3] = (0.1, 0.0, 0.9)  # the only cochlea
    found = sure_labels(probabilities, np.eye(4), least=0.8)
    assert (found[:2] == 1).all()
    assert (found[2] == IGNORED).all()
    assert found[6, 0, 0] == IGNORED
    assert found[7, 3, 3] == 2
    assert (found[4] == 0).all()
    assert sure_labels(probabilities, np.eye(4), least=0.5)[2].min() == 1


def test_a_map_without_structures_is_all_background() -> None:
    probabilities = np.zeros((3, 3, 3, 3), dtype=np.float32)
    probabilities[..., 0] = 1
    assert not sure_labels(probabilities, np.eye(4), least=0.9).any()
