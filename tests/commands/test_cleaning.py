"""One subject's label maps: cleaned, merged on the scan, filled, and what was done told."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vsuda_cli.commands.cleaning import clean_case
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.components import Rules
from vsuda_cli.images.cropping import cut_box, mirror
from vsuda_cli.io.batch import JobResult
from vsuda_cli.io.cases import CaseFile
from vsuda_cli.io.nifti import load_label, save_image, save_label

AFFINE = np.diag([0.5, 0.5, 1.0, 1.0])
SHAPE = (60, 24, 12)
RULES = Rules(("VS", "cochlea"), max_above_mm=None)


def scan_labels() -> NDArray[np.uint8]:
    """Return a scan with a tumour in its right part, and a cochlea on both sides."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[40:46, 8:14, 3:7] = 1
    labels[50:53, 8:11, 3:5] = labels[8:11, 8:11, 3:5] = 2
    return labels


def ears(folder: Path, labels: NDArray[np.uint8]) -> list[CaseFile]:
    """Write both ears of a scan, the left one mirrored, and return them."""
    save_image(folder / "a_hrT2.nii.gz", np.zeros(SHAPE), AFFINE)
    parts = []
    for side, start in (("R", 30), ("L", 0)):
        crop, affine = cut_box(labels, AFFINE, (start, 0, 0), (30, *SHAPE[1:]))
        if side == "L":
            crop, affine = mirror(crop, affine)
        parts.append(CaseFile(f"a_{side}", "Label", folder / f"a_{side}_Label.nii.gz"))
        save_label(parts[-1].path, crop, affine)
    return parts


def cleaned(
    parts: list[CaseFile], out: Path, scan: Path | None, cysts: bool = False
) -> tuple[JobResult, list[NDArray[np.uint8]]]:
    """Clean into a folder, with a scan into one map; return the result and the maps."""
    names = ["a"] if scan is not None else [part.case for part in parts]
    paths = tuple(out / f"{name}_Label.nii.gz" for name in names)
    result = clean_case(parts, scan, paths, RULES, one_sided=False, snap=False, cysts=cysts)
    assert result.written == paths
    return result, [load_label(path).array for path in paths]


def test_ears_are_merged_on_their_scan(tmp_path: Path) -> None:
    parts = ears(tmp_path, scan_labels())
    result, (merged,) = cleaned(parts, tmp_path / "out", tmp_path / "a_hrT2.nii.gz")
    assert np.array_equal(merged, scan_labels())
    assert result.notes == ("a_R: nothing removed", "a_L: nothing removed")
    assert result.record == {"removed": []}


def test_what_was_removed_is_told_by_structure_the_largest_explains(tmp_path: Path) -> None:
    labels = scan_labels()
    labels[33:35, 2, 9] = 1
    labels[33:36, 20, 9] = 1
    labels[56, 20, 9] = 2
    result, found = cleaned(ears(tmp_path, labels), tmp_path / "out", None)
    right, left = result.notes
    assert left == "a_L: nothing removed"
    assert right.startswith("a_R: VS: removed 2 components, 5 voxels (1.2 mm3), ")
    assert "; cochlea: removed 1 component, 1 voxel (0.2 mm3), " in right
    told = [(one["label"], one["structure"], one["voxels"]) for one in result.record["removed"]]
    assert sorted(told) == [("a_R", "VS", 2), ("a_R", "VS", 3), ("a_R", "cochlea", 1)]
    assert [int((one == 1).sum()) for one in found] == [6 * 6 * 4, 0]


def test_cysts_are_told_by_the_map_they_are_filled_in(tmp_path: Path) -> None:
    labels = scan_labels()
    labels[42:44, 10:12, 4] = 0
    parts = ears(tmp_path, labels)
    for scan, name in ((tmp_path / "a_hrT2.nii.gz", "a"), (None, "a_R")):
        result, found = cleaned(parts, tmp_path / f"out-{name}", scan, cysts=True)
        assert f"{name}: VS: 4 voxels (1.0 mm3) of cysts filled" in result.notes
        assert sum(int((one == 1).sum()) for one in found) == 6 * 6 * 4


def test_a_map_elsewhere_and_a_film_are_refused(tmp_path: Path) -> None:
    parts = ears(tmp_path, scan_labels())
    far = AFFINE.copy()
    far[1, 3] = 400
    save_image(tmp_path / "far_hrT2.nii.gz", np.zeros(SHAPE), far)
    with pytest.raises(VsudaError, match=r"a_R_Label\.nii\.gz: lies outside .*far_hrT2"):
        cleaned(parts, tmp_path / "out", tmp_path / "far_hrT2.nii.gz")
    save_image(tmp_path / "film_hrT2.nii.gz", np.zeros((*SHAPE, 2)), AFFINE)
    with pytest.raises(VsudaError, match="give a 3D scan"):
        cleaned(parts, tmp_path / "out", tmp_path / "film_hrT2.nii.gz")
