"""The made-up head holds what makes the task hard: a spiral, distractors, tumours of 2-40 mm."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from vsuda_cli.images.phantom_anatomy import (
    COCHLEA_MM,
    FUNDUS_MM,
    PORUS_MM,
    STRUCTURES,
    Tissue,
    Tumour,
    average_anatomy,
    cochlea_spiral,
    ear_box_mm,
    paint_ear,
    paint_head,
    random_anatomy,
)
from vsuda_cli.images.phantom_canvas import Canvas


def ear(tumour=None, spacing=0.5, low=(-28, -56, -50), size=(82, 84, 84), shift=(0.0, 0.0, 0.0)):
    """Return a canvas of the right ear and its affine."""
    shape = tuple(round(n / spacing) for n in size)
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = low
    canvas = Canvas(np.zeros(shape, dtype=np.uint8), affine)
    anatomy = dataclasses.replace(average_anatomy(), tumour=tumour, ear_shift_mm=shift)
    paint_ear(canvas, anatomy, 1)
    return canvas.tissue, affine


def world(mask, affine):
    return np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]


def a_tumour(diameter, *, cystic=False, lobe=(0.0, 0.0, 1.0), elongation=1.0):
    return Tumour(1, diameter, elongation, cystic, lobe)


def test_the_cochlea_is_a_conical_spiral_of_two_and_a_half_turns():
    line = cochlea_spiral()
    away = line - COCHLEA_MM
    axis = line[-1] - line[0]
    # The turning plane's normal follows from the path itself.
    normal = np.cross(away[1:] - away[:-1], np.roll(away[1:] - away[:-1], -1, axis=0))[:-1].sum(0)
    normal /= np.linalg.norm(normal)
    first = np.cross(normal, (0, 0, 1.0))
    first /= np.linalg.norm(first)
    flat = np.stack((away @ first, away @ np.cross(normal, first)))
    turns = np.abs(np.unwrap(np.arctan2(flat[1], flat[0]))[[0, -1]] @ (-1, 1)) / (2 * np.pi)
    assert turns == pytest.approx(2.5, abs=0.05)
    radius = np.linalg.norm(flat, axis=0)
    assert np.all(np.diff(radius) < 1e-9)
    assert radius[0] > 3 * radius[-1]
    assert abs(axis @ normal) > 2


def test_the_labyrinth_is_no_part_of_the_cochlea():
    tissue, affine = ear(spacing=0.25, low=(20, -24, -18), size=(22, 30, 22))
    cochlea = world(tissue == Tissue.COCHLEA, affine)
    labyrinth = world(tissue == Tissue.PERILYMPH, affine)
    assert Tissue.PERILYMPH not in STRUCTURES["cochlea"]
    assert len(labyrinth) > 0.3 * len(cochlea)
    # Behind the cochlea, and for each of the three rings a hole that it encloses.
    assert labyrinth[:, 1].mean() < cochlea[:, 1].mean() - 5
    assert 3 < np.ptp(cochlea, axis=0).min() < np.ptp(cochlea, axis=0).max() < 12


@pytest.mark.parametrize("diameter", [2.0, 3.5, 9.0, 20.0, 40.0])
def test_tumours_of_every_size_have_their_parts(diameter):
    tissue, affine = ear(a_tumour(diameter))
    mask = tissue == Tissue.TUMOUR
    _, parts = ndimage.label(mask)
    assert parts == 1
    along = (world(mask, affine) - PORUS_MM) @ (FUNDUS_MM - PORUS_MM)
    along /= np.linalg.norm(FUNDUS_MM - PORUS_MM)
    # The part in the canal grows with the tumour, the part in the cistern begins at 3 mm.
    assert along.max() > (6 if diameter >= 6 else 2)
    assert (along < -2).any() == (diameter > 3)
    if diameter > 6:
        widest = np.ptp(world(mask, affine)[:, 1:], axis=0).max()
        assert 0.85 * diameter < widest < 1.3 * diameter + 2


def test_tumours_lean_on_the_bone_and_not_into_it():
    with_tumour, affine = ear(a_tumour(30.0))
    without, _ = ear()
    lost = (without == Tissue.BONE) & (with_tumour == Tissue.TUMOUR)
    # Nothing but a widened canal.
    reach = np.linalg.norm(world(lost, affine) - PORUS_MM, axis=1)
    assert lost.sum() < 0.01 * (with_tumour == Tissue.TUMOUR).sum()
    assert reach.max() < 12
    assert np.array_equal(with_tumour == Tissue.COCHLEA, without == Tissue.COCHLEA)


def test_some_are_cystic_within():
    tissue, _ = ear(a_tumour(24.0, cystic=True))
    cyst = tissue == Tissue.CYST
    assert cyst.sum() > 0.03 * (tissue == Tissue.TUMOUR).sum()
    beside = ndimage.binary_dilation(cyst) & ~cyst
    assert np.mean(tissue[beside] == Tissue.TUMOUR) > 0.8
    assert set(STRUCTURES["VS"]) == {Tissue.CYST, Tissue.TUMOUR}


@pytest.mark.parametrize("largest", [9.0, 28.0, 40.0])
def test_the_ear_box_holds_the_largest_tumour(largest):
    low, high = ear_box_mm(largest)
    for sign in (-1, 1):
        for axis in range(3):
            lobe = tuple(float(sign * (axis == i)) for i in range(3))
            tumour = a_tumour(largest, lobe=lobe, elongation=1.0 + 0.2 * sign)
            tissue, affine = ear(tumour, spacing=1.0, shift=(1.5 * sign,) * 3)
            labelled = world(np.isin(tissue, STRUCTURES["VS"] + STRUCTURES["cochlea"]), affine)
            assert np.all(labelled.min(axis=0) > low)
            assert np.all(labelled.max(axis=0) < high)


def test_drawn_tumours_are_of_both_sides_all_sizes_and_sometimes_cystic():
    random = np.random.default_rng(0)
    tumours = [random_anatomy(random, 2.0, 40.0).tumour for _ in range(300)]
    diameters = np.array([tumour.diameter_mm for tumour in tumours])
    assert diameters.min() < 2.5
    assert diameters.max() > 35
    assert 0.4 < np.mean([tumour.side == 1 for tumour in tumours]) < 0.6
    assert 0.1 < np.mean([tumour.cystic for tumour in tumours]) < 0.3


def test_the_head_has_all_tissues_on_both_sides():
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array((56, 70, 62)) - 1) / 2)
    canvas = Canvas(np.zeros((56, 70, 62), dtype=np.uint8), affine)
    paint_head(canvas, average_anatomy())
    for side in (-1, 1):
        paint_ear(canvas, average_anatomy(), side)
    right, left = canvas.tissue[28:], canvas.tissue[:28]
    absent = {Tissue.TUMOUR, Tissue.CYST}
    for half in (right, left):
        assert set(Tissue) - set(np.unique(half)) <= absent | {Tissue.NERVE, Tissue.MODIOLUS}
    # Sinuses lie away from the ears, where a tumour's brightness alone would mislead.
    sinus = world(canvas.tissue == Tissue.SINUS, affine)
    assert np.abs(sinus[:, 0]).max() > 40
    assert sinus[:, 1].min() < -75
