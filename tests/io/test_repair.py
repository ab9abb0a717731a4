"""Repairs change what is wrong and nothing else."""

import nibabel as nib
import numpy as np
import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.io.nifti import load_image, load_label, load_probability, save_image
from vsuda_cli.io.repair import repair_file

AFFINE = np.diag([0.5, 0.5, 1.5, 1.0])
SHAPE = (6, 5, 4)


def image():
    return np.random.default_rng(0).random(SHAPE, dtype=np.float32)


def fixed(tmp_path, nifti, tag="ceT1"):
    path, out = tmp_path / f"a_{tag}.nii.gz", tmp_path / "out" / f"a_{tag}.nii.gz"
    nifti.to_filename(path)
    before = path.read_bytes()
    repairs = repair_file(path, out, tag)
    assert path.read_bytes() == before
    return out, " | ".join(repairs)


def test_a_sound_file_is_copied_as_it_is(tmp_path):
    out, repairs = fixed(tmp_path, nib.Nifti1Image(image(), AFFINE))
    assert repairs == ""
    assert np.array_equal(load_image(out).array, image())
    assert np.allclose(load_image(out).affine, AFFINE)


def test_nan_is_replaced_and_counted(tmp_path):
    holed = image()
    holed[1, 1, 1], holed[2, 2, 2] = np.nan, np.inf
    out, repairs = fixed(tmp_path, nib.Nifti1Image(holed, AFFINE))
    assert "2 NaN or infinite voxels" in repairs
    again = load_image(out).array
    assert again[1, 1, 1] == again[2, 2, 2] == 0
    assert again[0, 0, 0] == holed[0, 0, 0]


def test_idle_axis_is_dropped(tmp_path):
    out, repairs = fixed(tmp_path, nib.Nifti1Image(image()[..., None], AFFINE))
    assert "idle axes" in repairs
    assert nib.load(out).shape == SHAPE


def test_sform_wins_over_qform(tmp_path):
    both = nib.Nifti1Image(image(), AFFINE)
    both.set_sform(AFFINE, 1)
    moved = AFFINE.copy()
    moved[0, 3] = 67
    both.set_qform(moved, 1)
    out, repairs = fixed(tmp_path, both)
    assert "what the sform said" in repairs
    assert np.allclose(nib.load(out).header.get_qform(), AFFINE)


def test_a_qform_that_is_no_rotation_gives_way_to_the_sform(tmp_path):
    broken = nib.Nifti1Image(image(), AFFINE)
    broken.set_sform(AFFINE, 1)
    broken.set_qform(AFFINE, 1)
    broken.header["quatern_b"] = 1.2
    out, repairs = fixed(tmp_path, broken)
    assert "what the sform said" in repairs
    assert np.allclose(nib.load(out).header.get_qform(), AFFINE)


def test_a_copy_stays_where_nothing_better_can_be_made(tmp_path):
    out, _ = fixed(tmp_path, nib.Nifti1Image(image(), AFFINE))
    before = out.read_bytes()
    tiny = AFFINE.copy()
    tiny[0, 0] = 0.0002
    nib.Nifti1Image(image(), tiny).to_filename(tmp_path / "a_ceT1.nii.gz")
    with pytest.raises(VsudaError, match=r"a_ceT1.nii.gz: still has voxel spacing"):
        repair_file(tmp_path / "a_ceT1.nii.gz", out, "ceT1")
    assert out.read_bytes() == before
    assert list(out.parent.iterdir()) == [out]


def test_a_broken_sform_gives_way_to_the_qform(tmp_path):
    both = nib.Nifti1Image(image(), AFFINE)
    both.set_qform(AFFINE, 1)
    both.header["srow_x"] = np.nan
    both.header["sform_code"] = 1
    both.header["vox_offset"] = 352
    raw = both.header.binaryblock + b"\0" * 4 + image().tobytes(order="F")
    path = tmp_path / "a_ceT1.nii"
    path.write_bytes(raw)
    repairs = repair_file(path, tmp_path / "b_ceT1.nii.gz", "ceT1")
    assert "what the qform said" in " ".join(repairs)
    assert np.array_equal(load_image(tmp_path / "b_ceT1.nii.gz").array, image())
    assert np.allclose(load_image(tmp_path / "b_ceT1.nii.gz").affine, AFFINE)


def test_no_form_at_all_is_a_loud_guess(tmp_path):
    neither = nib.Nifti1Image(image(), AFFINE)
    neither.set_sform(None, 0)
    neither.set_qform(None, 0)
    out, repairs = fixed(tmp_path, neither)
    assert "GUESS" in repairs
    assert np.allclose(load_image(out).spacing_mm, (0.5, 0.5, 1.5))


def test_shear_goes_and_the_middle_stays(tmp_path):
    sheared = AFFINE.copy()
    sheared[0, 1:3] = 0.05, -0.3
    out, repairs = fixed(tmp_path, nib.Nifti1Image(image(), sheared))
    # The two shears work against each other in the last corner, together in others.
    straight = load_image(out).affine
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    corners[:, :3] *= np.array(SHAPE) - 1
    moved = np.linalg.norm(corners @ (sheared - straight)[:3].T, axis=1).max()
    assert f"removed shear, which moves the corners by {moved:.1f} mm" in repairs
    middle = np.append((np.array(SHAPE) - 1) / 2, 1)
    assert np.allclose(load_image(out).affine @ middle, sheared @ middle, atol=1e-5)


def test_labels_become_whole_again(tmp_path):
    label = (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3).astype(np.float32)
    out, repairs = fixed(tmp_path, nib.Nifti1Image(label * np.float32(0.996), AFFINE), "Label")
    assert "rounded" in repairs
    assert np.array_equal(load_label(out).array, label)


def test_probabilities_stay_probabilities(tmp_path):
    maps = np.stack([image(), 1 - image()], axis=-1)
    out, _ = fixed(tmp_path, nib.Nifti1Image(maps, AFFINE), "Probability")
    assert np.allclose(load_probability(out).array, maps, atol=1e-4)


@pytest.mark.parametrize("spoil", [lambda p: 100 * p, lambda p: 5 * p - 2, np.ones_like])
def test_what_are_no_probabilities_does_not_become_some(tmp_path, spoil):
    maps = np.stack([image(), 1 - image()], axis=-1)
    with pytest.raises(VsudaError, match=r"probabilit"):
        fixed(tmp_path, nib.Nifti1Image(spoil(maps), AFFINE), "Probability")
    assert not (tmp_path / "out" / "a_Probability.nii.gz").exists()


def test_certain_probabilities_of_8_bit_are_some(tmp_path):
    certain = (image() > 0.5).astype(np.uint8)
    maps = np.stack([certain, 1 - certain], axis=-1)
    out, _ = fixed(tmp_path, nib.Nifti1Image(maps, AFFINE), "Probability")
    assert np.array_equal(load_probability(out).array, maps)


@pytest.mark.parametrize("kind", ["int16", "uint16", "int32", "int64", "float32"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_voxels_stay_what_they_are_in_either_byte_order(tmp_path, kind, order):
    voxels = np.random.default_rng(0).integers(0, 3000, SHAPE).astype(kind)
    made = nib.Nifti1Image(voxels, AFFINE, nib.Nifti1Header(endianness=order), dtype=kind)
    out, repairs = fixed(tmp_path, made)
    assert repairs == ""
    assert np.array_equal(load_image(out).array, voxels)


@pytest.mark.parametrize("factor", [0.5, 200.0, -1.0])
def test_labels_that_nobody_can_know_are_refused(tmp_path, factor):
    label = (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3).astype(np.float32)
    with pytest.raises(VsudaError, match="label"):
        fixed(tmp_path, nib.Nifti1Image(label * factor, AFFINE), "Label")
    assert not (tmp_path / "out" / "a_Label.nii.gz").exists()


def test_missing_bytes_and_true_4d_are_refused(tmp_path):
    save_image(tmp_path / "a_ceT1.nii.gz", image(), AFFINE)
    (tmp_path / "b_ceT1.nii.gz").write_bytes((tmp_path / "a_ceT1.nii.gz").read_bytes()[:-50])
    with pytest.raises(VsudaError, match="truncated"):
        repair_file(tmp_path / "b_ceT1.nii.gz", tmp_path / "c.nii.gz", "ceT1")
    with pytest.raises(VsudaError, match="shape"):
        fixed(tmp_path, nib.Nifti1Image(np.stack([image()] * 2, -1), AFFINE))
