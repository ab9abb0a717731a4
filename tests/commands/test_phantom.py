"""`phantom` writes crossMoDA 2021's folders and names, the same bytes however shared out."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import typer
from command_line import contents
from typer.testing import CliRunner

from vsuda_cli.commands.phantom import make_case, phantom
from vsuda_cli.errors import VsudaError
from vsuda_cli.images import phantom_scan
from vsuda_cli.images.phantom_scan import Grids
from vsuda_cli.io.cases import labelled_images
from vsuda_cli.io.nifti import load_image, load_label

COARSE = dataclasses.replace(
    phantom_scan.SIZES["tiny"],
    source=Grids(((60, 72, 24),), (168.0, 184.0), (3.5, 3.7)),
    target=Grids(((60, 68, 20),), (168.0, 184.0), (3.5, 3.7)),
)


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(phantom_scan.SIZES, "tiny", COARSE)


def run(*words: object) -> list[str]:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(phantom)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None:
        raise result.exception
    return result.stdout.splitlines()


def test_layout_and_names_are_crossmodas(tmp_path: Path) -> None:
    written = run(tmp_path, "--source", 2, "--target", 1, "--validation", 1)
    assert set(contents(tmp_path)) == {
        "source_training/crossmoda2021_ldn_1_ceT1.nii.gz",
        "source_training/crossmoda2021_ldn_1_Label.nii.gz",
        "source_training/crossmoda2021_ldn_2_ceT1.nii.gz",
        "source_training/crossmoda2021_ldn_2_Label.nii.gz",
        "target_training/crossmoda2021_ldn_106_hrT2.nii.gz",
        "target_training_labels/crossmoda2021_ldn_106_Label.nii.gz",
        "target_validation/crossmoda2021_ldn_211_hrT2.nii.gz",
        "target_validation_labels/crossmoda2021_ldn_211_Label.nii.gz",
        "atlas/atlas_ceT1.nii.gz",
        "atlas/atlas_ROI.nii.gz",
    }
    assert len(written) == 10
    image, label = labelled_images(tmp_path / "source_training")[0]
    assert np.array_equal(load_image(image.path).affine, load_label(label).affine)
    assert set(np.unique(load_label(label).array)) == {0, 1, 2}


def test_other_tasks_have_other_structures_and_the_contrasts_change_places(tmp_path: Path) -> None:
    counts = ("--source", 1, "--target", 1, "--validation", 1)
    run(tmp_path / "usual", *counts)
    names = ("--structures", "labyrinth,cochlea,VS")
    run(tmp_path / "other", *counts, *names, "--mirrored")
    other = contents(tmp_path / "other")
    assert "source_training/crossmoda2021_ldn_1_hrT2.nii.gz" in other
    assert "target_validation/crossmoda2021_ldn_211_ceT1.nii.gz" in other
    run(tmp_path / "again", *counts, *names)
    pair = (tmp_path / which / "source_training" for which in ("usual", "again"))
    (usual, usual_label), (again, again_label) = (labelled_images(folder)[0] for folder in pair)
    assert usual.path.read_bytes() == again.path.read_bytes()
    first, second = load_label(usual_label).array, load_label(again_label).array
    assert set(np.unique(second)) == {0, 1, 2, 3}
    # Where several share a voxel the most frequent one has it, so a few voxels may differ.
    for old, new in ((1, 3), (2, 2)):
        assert ((second == new) & (first != old)).sum() == 0
        assert ((second == new) & (first == old)).sum() > 0.6 * (first == old).sum()


def test_an_unknown_structure_is_refused(tmp_path: Path) -> None:
    for names, message in (("VS,spleen", "holds spleen"), ("VS,VS", "--structures VS,VS")):
        with pytest.raises(VsudaError, match=message):
            run(tmp_path / "out", "--structures", names)


def test_bytes_follow_from_the_seed_and_not_from_workers_shards_or_counts(tmp_path: Path) -> None:
    few = ("--source", 2, "--target", 1, "--validation", 1)
    run(tmp_path / "a", *few)
    for share in ("1/2", "2/2"):
        run(tmp_path / "b", *few, "--shard", share)
    run(tmp_path / "c", *few, "--seed", 1)
    run(tmp_path / "d", "--source", 3, "--target", 2, "--validation", 1)
    a, b, c, d = (contents(tmp_path / name) for name in "abcd")
    assert a == b
    assert set(a) == set(c)
    assert all((a[name] == c[name]) == name.startswith("atlas") for name in a)
    assert all(d[name] == data for name, data in a.items())


def test_a_case_does_not_depend_on_what_ran_before_it(tmp_path: Path) -> None:
    case = ("tiny", (tmp_path / "x_hrT2.nii.gz", tmp_path / "x_Label.nii.gz"), "hrT2", (0, 1, 0))
    make_case(*case)
    first = contents(tmp_path)
    make_case(*case[:3], (0, 1, 1))
    make_case(*case)
    assert contents(tmp_path) == first


def test_more_cases_than_crossmoda_has_keep_numbers_of_their_own(tmp_path: Path) -> None:
    names = run(tmp_path, "--source", 107, "--target", 2, "--validation", 1, "--dry-run")
    images = [Path(name).name for name in names if not name.endswith("_Label.nii.gz")]
    assert len(images) == len(set(images))
    assert "crossmoda2021_ldn_108_hrT2.nii.gz" in images
    assert not any(tmp_path.iterdir())


def test_an_unknown_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VsudaError, match="tiny, roi, full"):
        run(tmp_path, "--size", "huge")
