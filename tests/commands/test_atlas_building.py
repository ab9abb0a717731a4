"""One case is its own atlas; boxes beyond the field of view pad it."""

import io

import numpy as np
import pytest
from PIL import Image
from synthetic_head import head

from vsuda_cli.commands.atlas_building import build, choose, ear_boxes, picture
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.cases import CaseFile
from vsuda_cli.io.nifti import save_image, save_label
from vsuda_cli.options import WorkerOptions


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    image, label, affine = head("T1")
    save_image(folder / "a_ceT1.nii.gz", image, affine)
    save_label(folder / "a_Label.nii.gz", label, affine)
    return CaseFile("a", "ceT1", folder / "a_ceT1.nii.gz"), folder / "a_Label.nii.gz"


def test_one_case_with_a_large_margin_is_padded(pair):
    built = build([pair], sample=6, margin_mm=30.0, processes=WorkerOptions())
    assert built.image.case == "a"
    assert built.region.shape == built.array.shape == built.label.shape
    # The head's lower end is 42 mm below the ears, the margin plus the tumour reach there.
    size = np.ptp(np.argwhere(built.region), axis=0) + 1
    assert (size * (2, 2, 2.5) >= (2 * 30 + 20, 2 * 30 + 9, 2 * 30 + 9)).all()
    alone, beside = (
        Image.open(io.BytesIO(picture(built, target))) for target in (None, ("t", built.array))
    )
    assert beside.width == 2 * alone.width
    assert beside.crop((alone.width, 20, *beside.size)).tobytes() == (
        beside.crop((0, 20, *alone.size)).tobytes()
    )


def test_every_structure_has_a_box_on_the_right(pair):
    boxes = ear_boxes(*pair, pair[0])
    assert len(boxes) == 3 or len(boxes) == 2
    assert all(low[0] > 42 for low, _ in boxes)


def test_the_only_case_is_chosen(pair):
    assert choose([pair[0]], 6, WorkerOptions()) == pair[0]


def test_an_empty_label_map_is_refused(pair, tmp_path):
    image, label, affine = head("T1")
    save_image(tmp_path / "b_ceT1.nii.gz", image, affine)
    save_label(tmp_path / "b_Label.nii.gz", label * 0, affine)
    case = CaseFile("b", "ceT1", tmp_path / "b_ceT1.nii.gz")
    with pytest.raises(VsudaError, match="marks nothing"):
        ear_boxes(case, tmp_path / "b_Label.nii.gz", case)


def test_why_no_two_cases_fit_is_said(pair, tmp_path):
    whole = pair[0].path.read_bytes()
    (tmp_path / "b_ceT1.nii.gz").write_bytes(whole[: len(whole) // 2])
    damaged = CaseFile("b", "ceT1", tmp_path / "b_ceT1.nii.gz")
    with pytest.raises(VsudaError, match=r"no two cases .*b_ceT1.*truncated"):
        choose([pair[0], damaged], 6, WorkerOptions())
