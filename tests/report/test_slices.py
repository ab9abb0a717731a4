"""Pictures of a small made-up case."""

import base64
import io
import re

import numpy as np
from PIL import Image

from vsuda_cli.report.slices import LARGEST_PICTURE, LARGEST_SIDE_MM, SLICES, draw_case

STRUCTURES = ("VS", "cochlea")
RAS = np.diag([0.5, 0.5, 1.5, 1.0])


def block(
    shape: tuple[int, int, int], low: tuple[int, int, int], high: tuple[int, int, int]
) -> np.ndarray:
    label = np.zeros(shape, np.uint8)
    label[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = 1
    return label


def first_points(path: str) -> np.ndarray:
    return np.array(re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path), dtype=float)


def pixels(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def test_each_structure_has_three_views_and_a_volume() -> None:
    label = block((60, 60, 20), (20, 20, 8), (30, 30, 12))
    label[40:44, 40:44, 9:11] = 2
    drawing = draw_case(label, label, label.astype(np.float32), RAS, STRUCTURES)
    assert [(view.structure, view.orientation) for view in drawing.views] == [
        (structure, orientation)
        for structure in STRUCTURES
        for orientation in ("axial", "coronal", "sagittal")
    ]
    assert drawing.volumes_ml["VS"] == 10 * 10 * 4 * 0.375 / 1000
    assert all(1 <= len(view.slices) <= SLICES for view in drawing.views)
    assert all(0 <= view.start < len(view.slices) for view in drawing.views)


def test_a_structure_in_neither_map_has_no_views() -> None:
    label = block((30, 30, 10), (10, 10, 4), (14, 14, 6))
    drawing = draw_case(label, label, None, RAS, STRUCTURES)
    assert {view.structure for view in drawing.views} == {"VS"}
    assert drawing.volumes_ml["cochlea"] == 0


def test_right_is_left_and_anterior_is_up_whatever_the_storage_order() -> None:
    label = block((80, 80, 20), (38, 38, 8), (42, 42, 12))
    scan = np.zeros(label.shape, np.float32)
    scan[42:, 42:, :] = 1  # right, anterior
    stored = scan.transpose(2, 0, 1)[:, ::-1]
    affine = np.zeros((4, 4))
    affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = 1.5, -0.5, 0.5, 1
    for array, truth, matrix in (
        (scan, label, RAS),
        (stored, label.transpose(2, 0, 1)[:, ::-1], affine),
    ):
        axial = draw_case(truth, truth, array, matrix, STRUCTURES).views[0]
        shown = pixels(axial.slices[0].png)
        height, width = shown.shape
        assert shown[: height // 2 - 3, : width // 2 - 3].min() == 255
        assert shown[height // 2 + 3 :].max() == 0
        assert shown[:, width // 2 + 3 :].max() == 0


def test_outlines_are_in_millimetres_of_the_picture() -> None:
    label = block((200, 200, 40), (90, 90, 18), (110, 110, 22))
    axial, coronal, _ = draw_case(label, label, None, RAS, STRUCTURES).views[:3]
    for view, height_mm in ((axial, 10), (coronal, 6)):
        outlined = first_points(view.slices[view.start].reference)
        extent = outlined.max(axis=0) - outlined.min(axis=0)
        # Half way between voxel centres is on the mask's outer faces.
        assert np.allclose(extent, (10, height_mm), atol=0.11)
        middle = (outlined.max(axis=0) + outlined.min(axis=0)) / 2
        one = view.slices[view.start]
        assert np.allclose(middle, (one.width_mm / 2, one.height_mm / 2), atol=0.11)


def test_only_what_is_there_is_outlined() -> None:
    label = block((40, 40, 10), (10, 10, 4), (20, 20, 6))
    nothing = np.zeros_like(label)
    missed = draw_case(label, nothing, None, RAS, STRUCTURES).views
    invented = draw_case(nothing, label, None, RAS, STRUCTURES).views
    assert all(one.reference and not one.prediction for view in missed for one in view.slices)
    assert all(one.prediction and not one.reference for view in invented for one in view.slices)
    assert not any(one.png for view in missed for one in view.slices)


def test_a_littered_prediction_keeps_pictures_small() -> None:
    rng = np.random.default_rng(0)
    truth = block((400, 400, 12), (190, 190, 4), (200, 200, 8))
    guess = (rng.random(truth.shape) < 1e-3).astype(np.uint8)
    scan = rng.normal(size=truth.shape).astype(np.float32)
    for reference in (truth, np.zeros_like(truth)):
        for view in draw_case(reference, guess, scan, RAS, STRUCTURES).views:
            for one in view.slices:
                assert max(one.width_mm, one.height_mm) <= LARGEST_SIDE_MM + 3
                assert pixels(one.png).size <= LARGEST_PICTURE


def test_two_far_parts_are_still_shown() -> None:
    nothing = np.zeros((500, 20, 6), np.uint8)
    guess = nothing.copy()
    guess[5:10, 5:10, 2:4] = guess[490:495, 5:10, 2:4] = 1
    views = draw_case(nothing, guess, None, RAS, STRUCTURES).views
    assert len(views) == 3
    assert all(any(one.prediction for one in view.slices) for view in views)
