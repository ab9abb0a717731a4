"""`check` reports on stdout, ends with 1 on errors and never touches its input."""

import json

import nibabel as nib
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from vsuda_cli.commands.check import check
from vsuda_cli.io.nifti import load_image, save_image, save_label

AFFINE = np.diag([0.5, 0.5, 1.5, 1.0])


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(check)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def folder(tmp_path):
    image = np.random.default_rng(0).random((5, 5, 5), dtype=np.float32)
    source = tmp_path / "in"
    save_image(source / "a_ceT1.nii.gz", image, AFFINE)
    save_label(source / "a_Label.nii.gz", image > 0.5, AFFINE)
    holed = image.copy()
    holed[0, 0, 0] = np.nan
    nib.Nifti1Image(holed, AFFINE).to_filename(source / "b_ceT1.nii.gz")
    return source


def test_findings_are_a_table_and_an_exit_code(run, folder):
    result = run(folder)
    assert result.exit_code == 1
    title, head, _, *rows = result.stdout.splitlines()
    assert title == str(folder)
    assert head.split() == ["severity", "file", "problem", "remedy"]
    assert any(row.split()[:2] == ["error", "b_ceT1.nii.gz"] for row in rows)
    as_json = [json.loads(line) for line in run(folder, "--json", "-q").stdout.splitlines()]
    assert {one["severity"] for one in as_json} == {"error", "warning"}
    assert {one["path"] for one in as_json} <= {str(path) for path in folder.iterdir()}
    assert len(as_json) == len([row for row in rows if row.strip()])


def test_a_sound_folder_is_silent(run, folder):
    (folder / "b_ceT1.nii.gz").unlink()
    result = run(folder)
    assert (result.exit_code, result.stdout) == (0, "")


def test_unknown_labels_depend_on_the_classes(run, folder):
    (folder / "b_ceT1.nii.gz").unlink()
    save_label(folder / "a_Label.nii.gz", np.full((5, 5, 5), 3), AFFINE)
    assert "label 3" in run(folder).stdout
    assert run(folder, "--classes", "a,b,c").exit_code == 0


def test_fix_writes_sound_copies_and_leaves_the_input(run, folder, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    out = tmp_path / "out"
    result = run(folder, "--fix", out)
    assert result.exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(before)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert np.isfinite(load_image(out / "b_ceT1.nii.gz").array).all()
    assert run(out, "--json").exit_code == 0


def test_fix_never_writes_into_what_it_reads(run, folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    save_image(other / "c_ceT1.nii.gz", np.ones((5, 5, 5)), AFFINE)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    # Of several folders, the copies go to folders of their names.
    assert folder.parent == tmp_path
    refused = run(folder, other, "--fix", tmp_path, "--force")
    assert "is an input folder too" in str(refused.exception)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("kind", ["unknown label", "another grid"])
def test_fix_tells_what_is_still_wrong(run, folder, tmp_path, kind):
    moved = AFFINE.copy()
    moved[0, 3] += 5
    labels = np.full((5, 5, 5), 3 if kind == "unknown label" else 1)
    labels[0] = 0
    save_label(folder / "a_Label.nii.gz", labels, AFFINE if kind == "unknown label" else moved)
    result = run(folder, "--fix", tmp_path / "out", "--json")
    assert result.exit_code == 1
    told = [json.loads(line) for line in result.stdout.splitlines()]
    (error,) = [one for one in told if one.get("severity") == "error"]
    assert error["path"] == str(tmp_path / "out" / "a_Label.nii.gz")
    again = run(folder, "--fix", tmp_path / "out", "--skip-existing")
    assert again.exit_code == 1
    assert "a_Label.nii.gz" in again.stderr
    assert again.stdout == ""


def test_fix_of_what_is_lost_is_a_failed_case(run, folder, tmp_path):
    (folder / "b_ceT1.nii.gz").write_bytes(b"nothing")
    result = run(folder, "--fix", tmp_path / "out")
    assert result.exit_code == 1
    assert (tmp_path / "out" / "a_ceT1.nii.gz").exists()
    assert not (tmp_path / "out" / "b_ceT1.nii.gz").exists()


def test_dry_run_writes_nothing(run, folder, tmp_path):
    assert run(folder, "--fix", tmp_path / "out", "--dry-run").exit_code == 0
    assert not (tmp_path / "out").exists()
