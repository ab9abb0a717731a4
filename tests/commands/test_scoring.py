"""What `evaluate` measures: columns, pairs, one case."""

import numpy as np
import pytest

from vsuda_cli.commands.scoring import Measures, ScoredPair, find_pairs, score_case
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.nifti import save_label

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def labels(folder, case, start):
    array = np.zeros((12, 8, 6), dtype=np.uint8)
    array[start : start + 4, 2:6, 2:4] = 1
    save_label(folder / f"{case}_Label.nii.gz", array, AFFINE)
    return folder / f"{case}_Label.nii.gz"


def test_columns_follow_structures_and_switches():
    assert Measures(("VS",)).columns == ["VS_Dice", "VS_ASSD"]
    every = Measures(("a", "b"), hd95=True, volume=True, surface_dice_mm=1.0)
    assert every.metrics == ("Dice", "ASSD", "HD95", "SurfaceDice", "Volume", "VolumeError")
    assert every.columns[6] == "b_Dice"
    assert Measures(("a",), detection=True).metrics[2:] == ("Found", "Missed", "False")
    units = [every.unit(metric) for metric in every.metrics]
    assert units == ["", " (mm)", " (mm)", " at 1 mm", " (ml)", " (ml)"]


def test_pairs_are_made_by_case(tmp_path):
    truth = [labels(tmp_path / "truth", case, 1) for case in "ab"]
    found = labels(tmp_path / "found", "b", 1)
    labels(tmp_path / "found", "c", 1)
    assert find_pairs(str(tmp_path / "found"), str(tmp_path / "truth"), None) == [
        ScoredPair("a", truth[0], None, None),
        ScoredPair("b", truth[1], found, None),
    ]


def test_without_a_case_in_common_there_is_nothing_to_score(tmp_path):
    labels(tmp_path / "truth", "a", 1)
    labels(tmp_path / "found", "a_R", 1)
    with pytest.raises(VsudaError, match="holds no prediction of a case in"):
        find_pairs(str(tmp_path / "found"), str(tmp_path / "truth"), None)


def test_one_case(tmp_path):
    pair = ScoredPair("a", labels(tmp_path / "r", "a", 2), labels(tmp_path / "p", "a", 4), None)
    result = score_case(pair, Measures(("VS", "cochlea")), draw=True)
    scores = result.record["scores"]
    assert scores["VS_Dice"] == pytest.approx(0.5)
    # Voxels two layers off: 2, 1, 0, 0 mm along the shift, on average over equal layers.
    assert scores["VS_ASSD"] == pytest.approx(0.75)
    assert (scores["cochlea_Dice"], scores["cochlea_ASSD"]) == (1, None)
    assert result.record["drawing"].volumes_ml["VS"] == pytest.approx(0.064)
    with pytest.raises(VsudaError, match="no prediction"):
        score_case(ScoredPair("a", pair.reference, None, None), Measures(("VS",)), draw=False)
