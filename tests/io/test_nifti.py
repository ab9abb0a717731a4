"""What is read is what was written, and damaged or misleading files are refused."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odd_headers import AFFINE, SHAPE, write, write_with_header
from scipy.spatial.transform import Rotation

from vsuda_cli.errors import VsudaError
from vsuda_cli.images.geometry import translation
from vsuda_cli.io import nifti
from vsuda_cli.io.repair import repair


def image_array(shape: tuple[int, ...] = SHAPE) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def oblique(angles: tuple[float, float, float], spacing: list[float]) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = (-40.5, 12.25, 99)
    return affine


ANGLES = st.tuples(st.floats(-180, 180), st.floats(-80, 80), st.floats(-180, 180))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    angles=ANGLES,
    spacing=st.lists(st.floats(0.1, 5), min_size=3, max_size=3),
    flip=st.booleans(),
    permutation=st.permutations([0, 1, 2]),
)
def test_any_shearless_affine_is_kept(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, float, float],
    spacing: list[float],
    flip: bool,
    permutation: list[int],
) -> None:
    affine = oblique(angles, [-spacing[0] if flip else spacing[0], *spacing[1:]])
    affine[:, :3] = affine[:, permutation]
    path = tmp_path_factory.mktemp("affine") / "a_T2.nii"
    nifti.save_image(path, image_array(), affine)
    volume = nifti.load_image(path)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    np.testing.assert_allclose(volume.spacing_mm, np.array(spacing)[permutation], rtol=1e-5)
    # Near half turns the format's float32 quaternion is good to some 1e-3 only; the sform rules.
    np.testing.assert_allclose(nib.load(path).get_qform(), affine, atol=5e-3)
    assert nifti.same_grid(volume, nifti.read_geometry(path))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_image_round_trip_is_exact(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a_T2{suffix}"
    array = image_array()
    nifti.save_image(path, array.astype(np.float64), AFFINE)
    volume = nifti.load_image(path)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.spacing_mm, (0.5, 0.5, 1.5))
    assert nifti.read_geometry(path).shape == SHAPE
    assert nib.load(path).get_data_dtype() == np.float32


def test_whole_numbers_are_stored_in_their_own_type(tmp_path: Path) -> None:
    array = np.arange(-60, 60, dtype=np.int16).reshape(SHAPE)
    nifti.save_image(tmp_path / "a_T2.nii.gz", array, AFFINE)
    assert nib.load(tmp_path / "a_T2.nii.gz").get_data_dtype() == np.int16
    np.testing.assert_array_equal(nifti.load_image(tmp_path / "a_T2.nii.gz").array, array)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_])
def test_label_round_trip_is_exact(tmp_path: Path, dtype: type) -> None:
    array = (np.arange(120).reshape(SHAPE) % 2).astype(dtype)
    nifti.save_label(tmp_path / "a_Label.nii.gz", array, AFFINE)
    loaded = nifti.load_label(tmp_path / "a_Label.nii.gz", 2)
    assert loaded.array.dtype == np.uint8
    np.testing.assert_array_equal(loaded.array, array.astype(np.uint8))
    assert nib.load(loaded.path).dataobj.slope == 1


def test_probability_round_trip(tmp_path: Path) -> None:
    array = np.random.default_rng(1).dirichlet((0.3, 0.3, 0.3), SHAPE).astype(np.float32)
    path = tmp_path / "a_Probability.nii.gz"
    nifti.save_fractions(path, array, AFFINE)
    loaded = nifti.load_probability(path)
    assert loaded.array.dtype == np.float32
    np.testing.assert_allclose(loaded.array, array, atol=1e-5)
    # Each of three classes is off by half a step of 1/65535 at most.
    np.testing.assert_allclose(loaded.array.sum(axis=-1), 1, atol=1.5 / 65535 + 1e-6)
    np.testing.assert_allclose(loaded.affine, AFFINE)
    # Another reader sees the same values: the scale is in the header, the file is compact.
    np.testing.assert_allclose(nib.load(path).get_fdata(), array, atol=1e-5)
    assert nib.load(path).get_data_dtype() == np.uint16


def test_scaled_integers_are_read_without_a_copy_in_double_precision(tmp_path: Path) -> None:
    path = tmp_path / "a_T2.nii"
    nifti.save_fractions(path, np.random.default_rng(0).random((60, 50, 40)), AFFINE)
    expected = np.asarray(nib.load(path).dataobj).astype(np.float32)
    tracemalloc.start()
    volume = nifti.load_image(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(volume.array, expected)
    assert volume.array.flags.f_contiguous
    # Two bytes a voxel as stored, four as read, and less than the eight of double precision.
    assert most < (2 + 4 + 2) * expected.size


def test_probability_needs_classes(tmp_path: Path) -> None:
    with pytest.raises(VsudaError, match="4D map"):
        nifti.load_probability(write(tmp_path / "a_Probability.nii", image_array()))


@pytest.mark.parametrize("kind", ["image", "label", "fractions"])
def test_same_voxels_give_the_same_bytes(tmp_path: Path, kind: str) -> None:
    save = getattr(nifti, f"save_{kind}")
    array = np.random.default_rng(2).integers(0, 2, (*SHAPE, 2) if kind == "fractions" else SHAPE)
    array = array.astype(np.uint8 if kind == "label" else np.float32)
    for name in ("a", "other"):
        save(tmp_path / f"{name}_x.nii.gz", array, AFFINE)
    first = (tmp_path / "a_x.nii.gz").read_bytes()
    assert first == (tmp_path / "other_x.nii.gz").read_bytes()
    assert first[4:8] == b"\0\0\0\0"  # gzip's time stamp


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a_T2.nii.gz"
    nifti.save_image(path, image_array(), AFFINE)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="convert"):
        nifti.save_image(path, np.full(SHAPE, "no number"), AFFINE)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# ---- damaged files


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("share", [0, 0.03, 0.5, 0.999])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = write(tmp_path / f"a_T2{suffix}", image_array((12, 12, 12)))
    assert nifti.is_whole(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(VsudaError, match=r"a_T2"):
        nifti.load_image(path)
    assert not nifti.is_whole(path)


def test_a_damaged_checksum_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a_T2.nii.gz", image_array())
    raw = bytearray(path.read_bytes())
    raw[-8] ^= 1  # the CRC stands before the length, at the very end
    path.write_bytes(bytes(raw))
    with pytest.raises(VsudaError, match="damaged"):
        nifti.load_image(path)
    assert not nifti.is_whole(path)


def test_no_nifti_at_all(tmp_path: Path) -> None:
    (tmp_path / "text_T2.nii").write_text("no image " * 100)
    (tmp_path / "text_T2.nii.gz").write_bytes(gzip.compress(b"no image " * 100))
    (tmp_path / "plain_T2.nii.gz").write_text("not even gzip " * 100)
    (tmp_path / "empty_T2.nii.gz").touch()
    (tmp_path / "folder_T2.nii.gz").mkdir()
    for path in [*tmp_path.iterdir(), tmp_path / "absent_T2.nii"]:
        assert not nifti.is_whole(path)
        with pytest.raises(VsudaError, match=path.name):
            nifti.load_image(path)


# ---- geometry


def test_the_sform_comes_first(tmp_path: Path) -> None:
    image = nib.Nifti1Image(image_array(), AFFINE)
    moved = AFFINE.copy()
    moved[:3, 3] += 67
    image.set_qform(moved, 1)
    image.set_sform(AFFINE, 2)
    image.to_filename(tmp_path / "a_T2.nii")
    np.testing.assert_allclose(nifti.load_image(tmp_path / "a_T2.nii").affine, AFFINE)


def test_a_last_axis_of_one_is_three_dimensional(tmp_path: Path) -> None:
    array = image_array()
    path = write(tmp_path / "a_T2.nii.gz", array[..., None])
    np.testing.assert_array_equal(nifti.load_image(path).array, array)
    assert nifti.read_geometry(path).shape == SHAPE


@pytest.mark.parametrize("load", [nifti.load_image, nifti.load_label])
def test_true_4d_and_2d_are_refused(tmp_path: Path, load: Callable[[Path], object]) -> None:
    with pytest.raises(VsudaError, match="give a 3D volume"):
        load(write(tmp_path / "a_T2.nii", np.zeros((*SHAPE, 2), np.uint8)))
    with pytest.raises(VsudaError, match="give a 3D image"):
        load(write(tmp_path / "b_T2.nii", np.zeros((5, 4), np.uint8)))


def test_grids_are_compared_by_shape_and_affine() -> None:
    volume = nifti.Volume(np.zeros(SHAPE), AFFINE, Path("a"))
    for offset, same in ((1e-8, True), (1.0, False)):
        moved = AFFINE.copy()
        moved[0, 3] += offset
        assert nifti.same_grid(volume, nifti.Geometry(SHAPE, moved)) is same
        assert nifti.same_grid(volume, nifti.Geometry((*SHAPE, 3), moved)) is same
    assert not nifti.same_grid(volume, nifti.Geometry((6, 5, 3), AFFINE))


def test_grids_that_part_far_from_their_first_voxel_are_two() -> None:
    shape = (448, 448, 80)
    affine = np.diag((0.5, 0.5, 1.5, 1))
    turned = affine.copy()
    turned[:2, :2] = 0.5 * np.array(
        [[np.cos(0.001), -np.sin(0.001)], [np.sin(0.001), np.cos(0.001)]]
    )
    straight, other = (nifti.Geometry(shape, one) for one in (affine, turned))
    assert not nifti.same_grid(straight, other)
    assert nifti.same_grid(straight, nifti.Geometry(shape, affine.astype(np.float32)))


# ---- values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    array = image_array()
    array[1, 2, 3] = array[0, 0, 0] = value
    path = write(tmp_path / "a_T2.nii.gz", array)
    with pytest.raises(VsudaError, match="holds 2 NaN or infinite voxels"):
        nifti.load_image(path)
    with pytest.raises(VsudaError, match="no whole numbers"):
        nifti.load_label(path)


def test_labels_between_whole_numbers_are_refused(tmp_path: Path) -> None:
    array = np.ones(SHAPE, np.float32)
    array[0, 0, 0] = 0.996
    with pytest.raises(VsudaError, match="no whole numbers"):
        nifti.load_label(write(tmp_path / "a_Label.nii", array))


def test_a_scale_factor_does_not_move_a_label(tmp_path: Path) -> None:
    # 255 times the float32 nearest to 1/255 is not 1; truncated it would be background.
    def scaled(header: Any) -> None:
        header["datatype"], header["bitpix"] = 2, 8
        header["scl_slope"], header["scl_inter"] = 1 / 255, 0

    path = write_with_header(tmp_path / "a_Label.nii", scaled)
    stored = np.zeros(SHAPE, np.uint8)
    stored[2:4] = 255
    path.write_bytes(path.read_bytes()[:352] + stored.tobytes(order="F"))
    assert nib.load(path).get_fdata().max() != 1
    np.testing.assert_array_equal(nifti.load_label(path, 2).array, stored // 255)


@pytest.mark.parametrize(("dtype", "wrong"), [(np.uint8, 3), (np.int16, -1), (np.float32, 300)])
def test_a_label_out_of_range_is_named(tmp_path: Path, dtype: type, wrong: int) -> None:
    array = np.zeros(SHAPE, dtype)
    array[0, 0, 0] = wrong
    path = write(tmp_path / "a_Label.nii.gz", array)
    with pytest.raises(VsudaError, match=rf"a_Label.*holds label {wrong}; labels go from 0 to 2"):
        nifti.load_label(path, 3)


def test_without_a_class_count_labels_go_to_255(tmp_path: Path) -> None:
    array = np.full(SHAPE, 255, np.int16)
    assert nifti.load_label(write(tmp_path / "a_Label.nii", array)).array.max() == 255
    with pytest.raises(VsudaError, match="holds label 256"):
        nifti.load_label(write(tmp_path / "b_Label.nii", array + np.int16(1)))


def test_a_label_map_takes_its_images_affine(tmp_path: Path) -> None:
    image = nifti.Volume(image_array(), AFFINE, tmp_path / "a_T2.nii.gz")
    array, path = np.full(SHAPE, 2, np.uint8), tmp_path / "a_Label.nii.gz"
    nifti.save_label(path, array, translation(np.array([0.05, 0, 0])) @ AFFINE)
    label = nifti.load_label_on(image, path, 3)
    np.testing.assert_array_equal(label.array, array)
    np.testing.assert_array_equal(label.affine, AFFINE)
    with pytest.raises(VsudaError, match="holds label 2"):
        nifti.load_label_on(image, path, 2)
    nifti.save_label(path, array, translation(np.array([0.2, 0, 0])) @ AFFINE)
    with pytest.raises(VsudaError, match=r"a_Label.*another grid than a_T2"):
        nifti.load_label_on(image, path)


def test_wholeness_of_other_files_is_not_being_empty(tmp_path: Path) -> None:
    (tmp_path / "a.json").touch()
    assert not nifti.is_whole(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{}")
    assert nifti.is_whole(tmp_path / "a.json")
    assert not nifti.is_whole(tmp_path / "absent.json")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("claimed", [3008, 7, 10**9])
def test_notes_between_header_and_voxels_are_passed_over(
    tmp_path: Path, suffix: str, claimed: int
) -> None:
    # AFNI writes kilobytes of them, and a damaged one says nothing about the voxels.
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    noted = nib.Nifti1Image(voxels, AFFINE)
    noted.header.extensions.append(nib.nifti1.Nifti1Extension("afni", b"x" * 3000))
    raw = bytearray(noted.to_bytes())
    raw[352:356] = claimed.to_bytes(4, "little")
    path = tmp_path / f"a_T2{suffix}"
    path.write_bytes(gzip.compress(raw) if suffix == ".nii.gz" else raw)
    assert nifti.read_geometry(path).shape == SHAPE
    np.testing.assert_array_equal(nifti.load_image(path).array, voxels)
    assert nifti.is_whole(path)
    np.testing.assert_array_equal(repair(path, "T2").array, voxels)
