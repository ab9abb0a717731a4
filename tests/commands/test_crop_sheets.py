"""Sheets of crops to be looked at."""

import weakref

import numpy as np

from vsuda_cli.commands import crop_sheets
from vsuda_cli.commands.crop_sheets import write_sheets
from vsuda_cli.io.nifti import save_image, save_label

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def image():
    return np.random.default_rng(0).random((12, 12, 12), dtype=np.float32)


def test_sheet_shows_labels_beside_crops(tmp_path):
    save_image(tmp_path / "a_R_hrT2.nii.gz", image(), AFFINE)
    write_sheets(tmp_path / "plain.png", [tmp_path / "a_R_hrT2.nii.gz"])
    save_label(tmp_path / "a_R_Label.nii.gz", image() > 0.5, AFFINE)
    write_sheets(tmp_path / "outlined.png", [tmp_path / "a_R_hrT2.nii.gz"])
    assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "outlined.png").read_bytes()


def test_many_crops_fill_several_sheets_and_are_loaded_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(crop_sheets, "CROPS_PER_SHEET", 2)
    crops = [tmp_path / f"{case}_R_hrT2.nii.gz" for case in "abc"]
    for path in crops:
        save_image(path, image(), AFFINE)
    pictures = []
    load = crop_sheets.load_image

    def watched(path):
        pictures.append(weakref.ref(volume := load(path)))
        # The one before may still be in a variable; those before that are gone.
        assert all(picture() is None for picture in pictures[:-2])
        return volume

    monkeypatch.setattr(crop_sheets, "load_image", watched)
    write_sheets(tmp_path / "qc.png", crops)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["qc-2.png", "qc.png"]
