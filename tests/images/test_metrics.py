"""Scores equal an independent scorer's on awkward masks."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from vsuda_cli.images import metrics
from vsuda_cli.images.metrics import score_structure

ORACLE = Path(__file__).parents[3] / "shared" / "tools" / "oracle.py"
SPACING = np.array([0.47, 0.8, 1.9])


@pytest.fixture(scope="module")
def oracle():
    if not ORACLE.exists():
        pytest.skip("the independent scorer is not there")
    functions = {"__name__": "oracle", "__doc__": ""}
    exec(compile(ORACLE.read_text().rsplit("main()", 1)[0], str(ORACLE), "exec"), functions)
    return functions


def box(shape, *edges):
    mask = np.zeros(shape, dtype=np.bool_)
    mask[tuple(slice(a, b) for a, b in edges)] = True
    return mask


def masks():
    shape = (14, 12, 9)
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    ball = np.linalg.norm((grid - (6, 5, 4)) * SPACING, axis=-1) < 3
    one = box(shape, (3, 4), (7, 8), (2, 3))
    return {
        "ball": ball,
        "shifted": np.roll(ball, (2, -1, 1), axis=(0, 1, 2)),
        "corner": box(shape, (0, 4), (0, 5), (0, 3)),
        "all": np.ones(shape, dtype=np.bool_),
        "one": one,
        "last": box(shape, (13, 14), (11, 12), (8, 9)),
        "sheet": box(shape, (0, 14), (0, 12), (4, 5)),
        "noise": rng.random(shape) < 0.2,
        "dense": rng.random(shape) < 0.9,
        "empty": np.zeros(shape, dtype=np.bool_),
        "far": one | box(shape, (12, 14), (10, 12), (8, 9)),
        "hollow": ball & ~box(shape, (5, 8), (4, 7), (3, 6)),
    }


@pytest.mark.parametrize("name", list(masks()))
@pytest.mark.parametrize("per_point", [0, 1e9], ids=["tree", "transform"])
def test_as_the_independent_scorer(oracle, name, per_point, monkeypatch):
    monkeypatch.setattr(metrics, "BOX_VOXELS_PER_POINT", per_point)
    prediction = masks()[name]
    for reference in masks().values():
        for spacing in (SPACING, np.array([1.0, 1.0, 1.0])):
            found = score_structure(prediction, reference, spacing)
            assert found["Dice"] == pytest.approx(oracle["dice"](prediction, reference), abs=1e-12)
            expected = oracle["assd"](prediction, reference, spacing)
            if math.isnan(expected):
                assert found["ASSD"] is None
            else:
                assert found["ASSD"] == pytest.approx(expected, abs=1e-9)


def test_scores_do_not_change_in_the_joint_box():
    for prediction in masks().values():
        for reference in masks().values():
            inner = metrics.joint_box(prediction, reference)
            whole, cut = (
                score_structure(a, b, SPACING, with_hd95=True, with_volume=True, tolerance_mm=1.0)
                for a, b in ((prediction, reference), (prediction[inner], reference[inner]))
            )
            assert whole == pytest.approx(cut, abs=1e-12)


def test_surfaces_and_distances_are_those_of_their_plain_definition():
    for prediction in masks().values():
        edge = prediction & ~ndimage.binary_erosion(prediction)
        assert np.array_equal(metrics.surface_voxels(prediction), np.argwhere(edge))
    ball, noise = masks()["ball"], masks()["noise"]
    here, there = (np.argwhere(m & ~ndimage.binary_erosion(m)) * SPACING for m in (ball, noise))
    table = cdist(here, there)
    found = metrics.surfaces(ball, noise, SPACING)
    assert np.allclose(found.to_reference, table.min(axis=1))
    assert np.allclose(found.to_prediction, table.min(axis=0))


@pytest.mark.parametrize("per_point", [0, 1e9], ids=["tree", "transform"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_neither_the_order_of_memory_nor_the_way_of_searching_matters(
    order, per_point, monkeypatch
):
    pairs = [("ball", "shifted"), ("noise", "corner"), ("last", "far"), ("sheet", "hollow")]
    options = {"with_hd95": True, "tolerance_mm": 1.0}
    for names in pairs:
        wanted = score_structure(*(masks()[name] for name in names), SPACING, **options)
        turned = [np.array(masks()[name], order=order) for name in names]
        with monkeypatch.context() as patch:
            patch.setattr(metrics, "BOX_VOXELS_PER_POINT", per_point)
            assert score_structure(*turned, SPACING, **options) == pytest.approx(wanted)


def test_joint_box_has_a_voxel_of_rim_inside_the_image():
    a, b = np.zeros((10, 10, 10), dtype=np.uint8), np.zeros((10, 10, 10), dtype=np.uint8)
    a[3, 4, 0], b[5, 9, 2] = 1, 2
    assert metrics.joint_box(a, b) == (slice(2, 7), slice(3, 10), slice(0, 4))
    nothing = metrics.joint_box(b * 0, b * 0)
    assert (b[nothing] == 0).all()


def test_conventions_of_empty_masks():
    full, empty = masks()["ball"], masks()["empty"]
    options = {"with_hd95": True, "with_volume": True, "tolerance_mm": 1.0}
    lost = score_structure(empty, full, SPACING, **options)
    assert (lost["Dice"], lost["ASSD"], lost["HD95"], lost["SurfaceDice"]) == (0, 350, 350, 0)
    false = score_structure(full, empty, SPACING, **options)
    assert (false["Dice"], false["ASSD"], false["HD95"], false["SurfaceDice"]) == (0, None, None, 0)
    both = score_structure(empty, empty, SPACING, **options)
    assert (both["Dice"], both["ASSD"], both["HD95"], both["SurfaceDice"]) == (1, None, None, 1)
    assert both["Volume"] == both["VolumeError"] == 0


def test_the_challenges_metrics_and_others_by_hand():
    line = (9, 1, 1)
    prediction, reference = box(line, (0, 1), (0, 1), (0, 1)), box(line, (0, 5), (0, 1), (0, 1))
    # Towards the reference: 0. Back: 0 to 4 voxels of 0.5 mm. In one row all voxels are surface.
    found = metrics.surfaces(prediction, reference, np.array([0.5, 1, 1]))
    assert found.to_reference.tolist() == [0]
    assert sorted(found.to_prediction.tolist()) == [0, 0.5, 1, 1.5, 2]
    assert metrics.dice(prediction, reference) == pytest.approx(2 * 1 / (1 + 5))
    assert metrics.assd(found) == pytest.approx(0.5)
    one = score_structure(prediction, reference, np.array([0.5, 1, 1]))
    assert one == pytest.approx({"Dice": 1 / 3, "ASSD": 0.5})
    assert metrics.assd(found, pooled=True) == pytest.approx(5 / 6)
    assert metrics.hd95(found) == pytest.approx(1.9)
    assert metrics.surface_dice(found, 1.0) == pytest.approx(4 / 6)


def test_as_monai():
    monai = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    for name in ("shifted", "noise", "hollow", "far", "one"):
        pair = [masks()["ball"], masks()[name]]
        # MONAI takes no outside beyond the border; these masks do not reach it after padding.
        a, b = (np.pad(mask, 2) for mask in pair)
        tensors = [torch.from_numpy(np.stack([~m, m]))[None].float() for m in (a, b)]
        found = score_structure(a, b, SPACING, pooled=True, with_hd95=True, tolerance_mm=1.0)
        spacing = SPACING.tolist()
        distance = monai.compute_average_surface_distance(*tensors, symmetric=True, spacing=spacing)
        assert found["ASSD"] == pytest.approx(distance.item(), rel=1e-5)
        hausdorff = monai.compute_hausdorff_distance(*tensors, percentile=95, spacing=spacing)
        assert found["HD95"] == pytest.approx(hausdorff.item(), rel=1e-5)
        overlap = monai.compute_surface_dice(*tensors, class_thresholds=[1.0], spacing=spacing)
        assert found["SurfaceDice"] == pytest.approx(overlap.item(), rel=1e-5)


def test_as_medpy():
    binary = pytest.importorskip("medpy.metric.binary")
    spacing = SPACING.tolist()
    for name in ("shifted", "noise", "hollow", "far", "one", "corner"):
        prediction, reference = masks()["ball"], masks()[name]
        found = score_structure(prediction, reference, SPACING, pooled=True)
        expected = binary.assd(prediction, reference, voxelspacing=spacing, connectivity=1)
        ways = ((prediction, reference), (reference, prediction))
        directed = [binary.asd(a, b, voxelspacing=spacing, connectivity=1) for a, b in ways]
        # Newer MedPy pools; the older one's was the mean of the two directed means.
        challenge = score_structure(prediction, reference, SPACING)["ASSD"]
        assert challenge == pytest.approx(np.mean(directed), abs=1e-9)
        assert found["ASSD"] == pytest.approx(expected, abs=1e-9)
        assert found["Dice"] == pytest.approx(binary.dc(prediction, reference), abs=1e-9)


def test_components_found_missed_and_false():
    shape = (20, 10, 6)
    reference = box(shape, (0, 4), (0, 4), (0, 3)) | box(shape, (10, 12), (0, 3), (0, 3))
    # One voxel touches the first by a corner only; the second is false; the third finds nothing.
    prediction = box(shape, (3, 5), (3, 6), (2, 4)) | box(shape, (16, 18), (8, 9), (5, 6))
    found = metrics.detections(prediction, reference)
    assert found == {"Found": 1, "Missed": 1, "False": 1}
    corner = box(shape, (0, 1), (0, 1), (0, 1)) | box(shape, (1, 2), (1, 2), (1, 2))
    assert metrics.detections(corner, corner) == {"Found": 1, "Missed": 0, "False": 0}
    nothing = np.zeros(shape, dtype=np.bool_)
    assert metrics.detections(corner, nothing) == {"Found": 0, "Missed": 0, "False": 1}
    assert metrics.detections(nothing, reference) == {"Found": 0, "Missed": 2, "False": 0}
    assert metrics.detections(prediction, nothing) == {"Found": 0, "Missed": 0, "False": 2}
    assert metrics.detections(nothing, nothing) == {"Found": 0, "Missed": 0, "False": 0}


def test_volumes_are_in_millilitres():
    mask = box((20, 20, 20), (0, 10), (0, 10), (0, 10))
    found = score_structure(mask, mask[::-1, ::-1] | mask, np.array([1.0, 1, 2]), with_volume=True)
    assert found["Volume"] == pytest.approx(2.0)
    assert found["VolumeError"] == pytest.approx(-2.0)
