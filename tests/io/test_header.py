"""Misleading headers are refused before any memory is taken for voxels."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_headers import AFFINE, SHAPE, write, write_with_header

from vsuda_cli.errors import VsudaError
from vsuda_cli.io import header as headers
from vsuda_cli.io import nifti


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_claims_too_much_is_refused_unread(tmp_path: Path, suffix: str) -> None:
    def huge(header: Any) -> None:
        header["dim"][1:4] = 32767

    path = write_with_header(tmp_path / f"a_T2{suffix}", huge)
    for read in (nifti.read_geometry, nifti.load_image, nifti.load_label):
        with pytest.raises(VsudaError, match=f"declares {352 + 4 * 32767**3} bytes"):
            read(path)


def test_a_whole_file_that_asks_for_more_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A small bomb: four megabytes of zeros in a few kilobytes, and an honest header.
    path = write(tmp_path / "a_T2.nii.gz", np.zeros((128, 128, 64), np.float32))
    assert path.stat().st_size < 2**15
    assert nifti.is_whole(path)
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 512}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    for read in (nifti.read_geometry, nifti.load_image, nifti.load_label):
        with pytest.raises(VsudaError, match="more than this machine's memory of 2097152 bytes"):
            read(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("vox_offset", 1e30), ("vox_offset", np.inf), ("vox_offset", np.nan), ("datatype", 9999)],
)
def test_senseless_header_fields_are_refused(tmp_path: Path, field: str, value: float) -> None:
    def change(header: Any) -> None:
        header[field] = value

    with pytest.raises(VsudaError, match=r"readable|damaged"):
        nifti.load_image(write_with_header(tmp_path / "a_T2.nii", change))


@pytest.mark.parametrize("name", ["a_T2.nii", "a_T2.nii.gz"])
def test_voxels_inside_the_header_are_refused(tmp_path: Path, name: str) -> None:
    def change(header: Any) -> None:
        header["vox_offset"] = 0

    with pytest.raises(VsudaError, match="voxels begin at byte 0, inside its header"):
        nifti.load_image(write_with_header(tmp_path / name, change))


@pytest.mark.parametrize("lengths", [(-3, 5, 4), (0, 5, 4)])
def test_axes_without_voxels_are_refused(tmp_path: Path, lengths: tuple[int, ...]) -> None:
    def change(header: Any) -> None:
        header["dim"][1:4] = lengths

    with pytest.raises(VsudaError, match="has shape"):
        nifti.read_geometry(write_with_header(tmp_path / "a_T2.nii", change))


def test_colours_and_complex_numbers_are_refused(tmp_path: Path) -> None:
    colours = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for array in (colours, np.ones(SHAPE, np.complex64)):
        path = write(tmp_path / "a_T2.nii", array)
        for load in (nifti.load_image, nifti.load_label):
            with pytest.raises(VsudaError, match="one real value a voxel"):
                load(path)


def test_neither_form_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a_T2.nii.gz", np.ones(SHAPE, np.float32), None)
    with pytest.raises(VsudaError, match="neither sform nor qform"):
        nifti.read_geometry(path)


@pytest.mark.parametrize("size", [0.0, -0.5])
def test_a_qform_without_pixel_size_is_refused(tmp_path: Path, size: float) -> None:
    def change(header: Any) -> None:
        header["sform_code"], header["qform_code"] = 0, 1
        header["pixdim"][1] = size

    with pytest.raises(VsudaError, match="voxel spacing"):
        nifti.load_image(write_with_header(tmp_path / "a_T2.nii", change))


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [((0, 0), 0.0, "voxel spacing"), ((1, 3), np.nan, "NaN"), ((2, 0), 0.2, "sheared")],
)
def test_an_unusable_affine_is_refused(
    tmp_path: Path, place: tuple[int, int], value: float, problem: str
) -> None:
    def change(header: Any) -> None:
        row = header["srow_xyz"[:5] + "xyz"[place[0]]]
        row[place[1]] = value
        header["sform_code"], header["qform_code"] = 1, 0

    path = write_with_header(tmp_path / "a_T2.nii", change)
    for read in (nifti.read_geometry, nifti.load_image, nifti.load_label):
        with pytest.raises(VsudaError, match=problem):
            read(path)


def test_a_sound_header_gives_shape_bytes_and_affine(tmp_path: Path) -> None:
    header = headers.read_header(write(tmp_path / "a_T2.nii.gz", np.ones(SHAPE, np.int16)))
    assert headers.declared_bytes(header) == 2 * 6 * 5 * 4
    np.testing.assert_allclose(headers.checked_affine(header, tmp_path), AFFINE)
    np.testing.assert_allclose(headers.column_norms(AFFINE), (0.5, 0.5, 1.5))
