"""Made-up scans: reproducible, varied, noisy as magnitude images, and two contrasts apart."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from vsuda_cli.images import phantom_scan
from vsuda_cli.images.phantom_anatomy import STRUCTURES, Tissue
from vsuda_cli.images.phantom_scan import CONTRASTS, GREYS, SIZES, Grids, make_atlas, make_scan

# The same heads on coarser grids, for speed.
COARSE = dataclasses.replace(
    SIZES["tiny"],
    source=Grids(((88, 104, 40), (92, 108, 40)), (168.0, 184.0), (2.2, 2.4)),
    target=Grids(((88, 100, 30), (80, 92, 30)), (168.0, 184.0), (2.2, 2.4)),
)


def scan(contrast="ceT1", seed=0, size=COARSE):
    return make_scan(size, contrast, np.random.default_rng(seed))


def test_the_seed_alone_decides():
    one, again, other = scan(seed=3), scan(seed=3), scan(seed=4)
    assert np.array_equal(one.image, again.image)
    assert np.array_equal(one.label, again.label)
    assert np.array_equal(one.affine, again.affine)
    assert not np.array_equal(one.affine, other.affine)


def test_grids_vary_in_matrix_spacing_and_tilt():
    scans = [scan("hrT2", seed) for seed in range(12)]
    spacings = [np.linalg.norm(one.affine[:3, :3], axis=0) for one in scans]
    assert {one.image.shape for one in scans} == set(COARSE.target.matrices)
    assert np.ptp([spacing[0] for spacing in spacings]) > 0.1
    assert np.ptp([spacing[2] for spacing in spacings]) > 0.05
    upright = [
        one.affine[2, 2] / across for one, (_, _, across) in zip(scans, spacings, strict=True)
    ]
    assert np.degrees(np.arccos(min(upright))) > 3


def test_tumours_are_on_either_side():
    sides = set()
    for seed in range(8):
        one = scan("hrT2", seed)
        middle = np.argwhere(one.label == 1).mean(axis=0)
        sides.add(np.sign((one.affine[:3, :3] @ middle + one.affine[:3, 3])[0]))
    assert sides == {-1.0, 1.0}


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_every_scan_shows_a_tumour_and_two_cochleas(contrast):
    for seed in range(4):
        one = scan(contrast, seed)
        assert (one.label == 1).sum() > 20
        _, parts = ndimage.label(one.label == 2, np.ones((3, 3, 3)))
        assert parts == 2


def test_no_monotone_map_turns_one_contrast_into_the_other():
    greys = np.array([GREYS[tissue] for tissue in Tissue])
    # Of the tissues around the ears many pairs change their order or fall together.
    order = np.sign(greys[:, None] - greys[None, :])
    assert np.mean(order[..., 0] != order[..., 1]) > 0.3
    tumour, sinus, fluid, bone = (
        GREYS[t] for t in (Tissue.TUMOUR, Tissue.SINUS, Tissue.FLUID, Tissue.BONE)
    )
    assert abs(tumour[0] - sinus[0]) < 0.05 < 0.3 < tumour[1] - sinus[1]
    assert abs(fluid[0] - bone[0]) < 0.1 < 0.8 < fluid[1] - bone[1]
    assert GREYS[Tissue.PERILYMPH] == GREYS[Tissue.COCHLEA]
    assert Tissue.PERILYMPH not in STRUCTURES["cochlea"]


def test_the_scans_show_the_contrasts():
    for contrast, brighter in (("ceT1", True), ("hrT2", False)):
        one = scan(contrast, 2)
        tumour = ndimage.binary_erosion(one.label == 1)
        around = ndimage.binary_dilation(one.label == 1, iterations=2) & (one.label == 0)
        assert (one.image[tumour].mean() > 1.5 * one.image[around].mean()) == brighter


def test_noise_is_rician():
    # In air a magnitude image is Rayleigh distributed: mean over standard deviation is 1.91.
    one = scan(seed=1)
    air = np.concatenate([one.image[:6, :6].ravel(), one.image[-6:, :6].ravel()])
    assert air.min() >= 0
    assert air.mean() / air.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.12)


def test_a_bias_field_bends_even_tissue():
    flat = np.ones((40, 40, 20), dtype=np.float32)
    made = phantom_scan._acquire(flat, np.random.default_rng(0))
    smooth = ndimage.gaussian_filter(made, 4)[6:-6, 6:-6, 4:-4]
    assert smooth.max() / smooth.min() > 1.1
    units = [phantom_scan._acquire(flat, np.random.default_rng(s)).mean() for s in range(6)]
    assert max(units) > 1.3 * min(units)


def test_the_atlas_box_holds_right_ears():
    atlas = make_atlas(COARSE)
    assert atlas.image.shape == COARSE.source.matrices[0]
    middle = np.argwhere(atlas.label == 1).mean(axis=0)
    assert (atlas.affine[:3, :3] @ middle + atlas.affine[:3, 3])[0] > 10
    assert set(np.unique(atlas.label)) == {0, 1}


def test_sizes_are_those_of_the_challenge():
    full = SIZES["full"]
    assert full.source.matrices[0] == (512, 512, 120)
    assert full.target.matrices[0] == (448, 448, 80)
    assert full.tumour_mm == (2.0, 40.0)
    for size in SIZES.values():
        for grids in (size.source, size.target):
            for matrix in grids.matrices:
                # Heads fit their field of view, slabs hold the ears.
                assert grids.field_mm[0] >= 160
                assert matrix[2] * grids.slice_mm[0] >= 66
        pixels = sorted(size.target.field_mm[0] / m[0] for m in size.target.matrices)
        assert pixels[0] < pixels[-1]
