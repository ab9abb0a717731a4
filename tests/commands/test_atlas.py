"""`atlas` writes an image, a region and a picture from labelled heads."""

import json

import numpy as np
import pytest
import typer
from command_line import vsuda
from synthetic_head import RIGHT_MM, TUMOUR_MM, head
from typer.testing import CliRunner

from vsuda_cli.commands.atlas import atlas
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.cropping import world_points
from vsuda_cli.images.geometry import translation
from vsuda_cli.io.nifti import load_image, load_label, same_grid, save_image, save_label


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    for number, shift in enumerate(([0.0, 0, 0], [4.0, -5, 3])):
        image, label, affine = head("T1", translation(np.array(shift)), seed=number)
        save_image(folder / f"c{number}_ceT1.nii.gz", image, affine)
        save_label(folder / f"c{number}_Label.nii.gz", label, affine)
    return folder


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(atlas)

    def call(*words, raises=False):
        result = CliRunner().invoke(app, [str(word) for word in words])
        if raises and result.exception:
            raise result.exception
        return result

    return call


def test_the_region_holds_the_right_ear_with_a_margin(source, run, tmp_path):
    result = run(source, tmp_path, "--json", "--margin", "6")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["case"] == "c0"
    image, region = (
        load_image(tmp_path / "atlas_ceT1.nii.gz"),
        load_label(tmp_path / "atlas_ROI.nii.gz"),
    )
    assert same_grid(image, region)
    inside = world_points(region.array, region.affine)
    low, high = inside.min(axis=0), inside.max(axis=0)
    assert (low < TUMOUR_MM - (7, 6, 6) - np.full(3, 3.0)).all()
    assert (high > RIGHT_MM + np.full(3, 4.5 + 3)).all()
    assert low[0] > 0
    assert (tmp_path / "atlas.png").read_bytes().startswith(b"\x89PNG")
    before = (tmp_path / "atlas_ROI.nii.gz").read_bytes()
    assert run(source, tmp_path, "--skip-existing").stdout == ""
    with pytest.raises(VsudaError, match="exists already"):
        run(source, tmp_path, raises=True)
    assert run(source, tmp_path, "--margin", "6", "--force").exit_code == 0
    assert (tmp_path / "atlas_ROI.nii.gz").read_bytes() == before


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    folder = tmp_path_factory.mktemp("target")
    for number, shift in enumerate(([5.0, 4, -3], [-4.0, -6, 4])):
        image, _, affine = head("T2", translation(np.array(shift)), seed=10 + number)
        save_image(folder / f"t{number}_hrT2.nii.gz", image, affine)
    return folder


def test_a_target_scan_is_put_where_the_atlas_lies(source, target, run, tmp_path):
    result = run(source, tmp_path, "--target", target, "--json")
    assert result.exit_code == 0, result.output
    chosen = json.loads(result.stdout)
    assert chosen["case"] == "c0"
    assert chosen["target_case"] in ("t0", "t1")
    atlas_t1, atlas_t2 = (load_image(tmp_path / f"atlas_{tag}.nii.gz") for tag in ("ceT1", "hrT2"))
    assert same_grid(atlas_t1, atlas_t2)
    assert same_grid(atlas_t2, load_label(tmp_path / "atlas_ROI.nii.gz"))
    # The same head in T2 where the atlas has it in T1: away from borders the images are the same.
    wanted, _, affine = head("T2", seed=20)
    inside = (slice(20, -20), slice(20, -20), slice(8, -8))
    start = np.rint(np.linalg.solve(atlas_t2.affine, affine)[:3, 3]).astype(int)
    box = tuple(slice(s, s + n) for s, n in zip(start, wanted.shape, strict=True))
    found = atlas_t2.array[box][inside]
    assert np.corrcoef(found.ravel(), wanted[inside].ravel())[0, 1] > 0.9


def test_target_scans_like_the_source_are_refused(source, run, tmp_path):
    with pytest.raises(VsudaError, match="holds ceT1 like the source"):
        run(source, tmp_path / "out", "--target", source, raises=True)
    assert not (tmp_path / "out").exists()


def test_the_folder_of_listed_scans_is_no_output(source):
    listed = "".join(f"{path}\n" for path in sorted(source.glob("*_ceT1.nii.gz")))
    refused = vsuda("atlas", "-", source, "--dry-run", stdin=listed)
    assert refused.code == 2
    assert "is an input folder too" in refused.err


def test_dry_run_writes_nothing(source, run, tmp_path):
    result = run(source, tmp_path / "out", "--dry-run")
    assert [line.rsplit("/")[-1] for line in result.stdout.split()] == [
        "atlas_ceT1.nii.gz",
        "atlas_ROI.nii.gz",
    ]
    assert not (tmp_path / "out").exists()


def test_an_image_without_label_is_refused(run, tmp_path):
    image, _, affine = head("T1")
    save_image(tmp_path / "a_ceT1.nii.gz", image, affine)
    with pytest.raises(VsudaError, match="has no a_Label"):
        run(tmp_path, tmp_path / "out", raises=True)
