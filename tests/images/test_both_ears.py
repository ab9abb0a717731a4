"""What one ear's label map says of the other's: ends of large tumours, and one tumour a subject."""

import numpy as np
import pytest

from vsuda_cli.images.both_ears import clean_ears, keep_one_tumour
from vsuda_cli.images.components import Rules
from vsuda_cli.images.geometry import translation

RULES = Rules(("VS", "cochlea"), max_distance_mm=5)


def ears(reach: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two crops of 30 x 10 x 10 mm that overlap by 20, a cochlea in each outer end.

    The tumour begins beside the first one's cochlea and reaches so many voxels of 1 mm along x.
    """
    whole = np.zeros((40, 10, 10), dtype=np.uint8)
    whole[[0, 39], 5, 5] = 2
    whole[2 : 2 + reach, 4:7, 4:7] = 1
    return [
        (whole[:30].copy(), np.eye(4)),
        (whole[10:].copy(), translation(np.array([10.0, 0, 0]))),
    ]


@pytest.mark.parametrize("alone", [False, True])
def test_the_end_of_a_tumour_stays_where_the_other_ear_keeps_it(alone: bool) -> None:
    maps = ears(reach=15)[1:] if alone else ears(reach=15)
    labels, removed, _ = clean_ears(maps, [True] * len(maps), RULES)[-1]
    # In the second crop 7 slices of it, 20 mm and more from that ear's cochlea.
    assert np.count_nonzero(labels == 1) == (0 if alone else 7 * 9)
    assert [gone.rule for gone in removed] == (["distance"] if alone else [])


def test_the_largest_tumour_stays_in_every_crop_that_shows_it() -> None:
    maps = ears(reach=15)
    maps[1][0][25:27, 4:7, 4:7] = 1
    kept, removed = keep_one_tumour(maps, RULES)
    assert np.array_equal(kept[0], maps[0][0])
    assert not kept[1][25:27, 4:7, 4:7].any()
    assert np.count_nonzero(kept[1] == 1) == 7 * 9
    assert [len(gone) for gone in removed] == [0, 1]
    (gone,) = removed[1]
    assert (gone.structure, gone.rule, gone.voxels, gone.mm3) == ("VS", "side", 18, 18.0)
    assert gone.detail == "the subject's largest has 135.0 mm3"


def test_without_a_tumour_nothing_changes() -> None:
    maps = ears(reach=0)
    kept, removed = keep_one_tumour(maps, RULES)
    assert all(np.array_equal(one, labels) for one, (labels, _) in zip(kept, maps, strict=True))
    assert removed == [[], []]
