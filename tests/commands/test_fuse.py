"""`fuse`: cases common to all models, changes told, bad probabilities named."""

import json

import nibabel
import numpy as np
import pytest
from one_command import caller

from vsuda_cli.commands.fuse import fuse
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.fusion import clean_in_turn, hard_labels, majority, mean
from vsuda_cli.io.nifti import load_image, load_label, load_probability, save_fractions

AFFINE = np.diag([0.5, 0.5, 1.5, 1.0])


call = caller(fuse)


@pytest.fixture
def models(tmp_path):
    folders = [tmp_path / name for name in ("m1", "m2", "m3")]
    for seed, folder in enumerate(folders):
        rng = np.random.default_rng(seed)
        for case in ("a_R", "a_L"):
            found = rng.dirichlet([2, 0.3, 0.3], (12, 10, 8))
            save_fractions(folder / f"{case}_Probability.nii.gz", found, AFFINE)
    return folders


def loaded(models, case="a_R"):
    return [load_probability(m / f"{case}_Probability.nii.gz").array for m in models]


def test_confident_learning_in_argument_order(models, tmp_path):
    out = tmp_path / "fused"
    result = call(*models, out)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(out / f"a_{side}_Label.nii.gz") for side in "LR"]
    expected, steps = clean_in_turn(loaded(models), "prune_by_noise_rate")
    found = load_label(out / "a_R_Label.nii.gz")
    assert np.array_equal(found.array, expected)
    assert np.allclose(found.affine, AFFINE)
    gained = steps[0].changes[:, 1].sum()
    assert f"a_R: {models[1]} flagged {steps[0].flagged} voxels" in result.stderr
    assert f"VS +{gained}" in result.stderr
    call(*models[::-1], tmp_path / "other")
    other = load_label(tmp_path / "other" / "a_R_Label.nii.gz").array
    assert not np.array_equal(other, expected)


@pytest.mark.parametrize("rule", ["prune_by_class", "low_self_confidence"])
def test_rules_give_what_they_name(models, tmp_path, rule):
    call(*models, tmp_path / "out", "--rule", rule)
    expected, _ = clean_in_turn(loaded(models), rule)
    assert np.array_equal(load_label(tmp_path / "out" / "a_R_Label.nii.gz").array, expected)


def test_other_methods(models, tmp_path):
    probabilities = loaded(models)
    expected = {"majority": majority(probabilities), "mean": hard_labels(mean(probabilities))}
    for method, labels in expected.items():
        call(*models, tmp_path / method, "--method", method)
        found = load_label(tmp_path / method / "a_R_Label.nii.gz").array
        assert np.array_equal(found, labels)
    pytest.importorskip("SimpleITK")
    assert call(*models, tmp_path / "staple", "--method", "staple").exit_code == 0


def test_json_counts_changes_per_class(models, tmp_path):
    result = call(*models, tmp_path / "out", "--json", "--classes", "tumour,snail")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["case"] for record in records] == ["a_L", "a_R"]
    _, steps = clean_in_turn(loaded(models), "prune_by_noise_rate")
    first = records[1]["steps"][0]
    assert first["by"] == str(models[1])
    assert first["flagged"] == steps[0].flagged
    assert list(first["changes"]) == ["background", "tumour", "snail"]
    assert first["changes"]["snail"]["lost"] == steps[0].changes[2].sum()


def test_a_table_sums_the_changes_of_all_cases(models, tmp_path):
    result = call(*models, tmp_path / "out")
    totals = []
    for case in ("a_L", "a_R"):
        _, steps = clean_in_turn(loaded(models, case), "prune_by_noise_rate")
        totals.append([step.changes for step in steps])
    first, second = (sum(changes) for changes in zip(*totals, strict=True))
    assert "Voxels changed in 2 cases" in result.stderr
    for folder, changes in zip(models[1:], (first, second), strict=True):
        (line,) = [one for one in result.stderr.splitlines() if one.startswith(str(folder))]
        cells = line.removeprefix(str(folder)).split()
        assert int(cells[1]) == changes.sum()
        assert cells[4:6] == [f"+{changes[:, 1].sum()}", f"-{changes[1].sum()}"]
    assert "Voxels changed" not in call(*models, tmp_path / "quiet", "--quiet").stderr


def test_other_methods_are_compared_with_the_first_model(models, tmp_path):
    result = call(*models, tmp_path / "out", "--method", "mean", "--json")
    steps = [json.loads(line)["steps"] for line in result.stdout.splitlines()]
    labels = hard_labels(mean(loaded(models)))
    assert [step["by"] for step in steps[1]] == ["mean"]
    assert steps[1][0]["flagged"] == (labels != hard_labels(loaded(models)[0])).sum() > 0


def test_nothing_but_background_and_absent_classes(models, tmp_path):
    background = np.zeros((12, 10, 8, 3))
    background[..., 0] = 1
    for folder in models[:2]:
        for case in ("a_L", "a_R"):
            save_fractions(folder / f"{case}_Probability.nii.gz", background, AFFINE)
    for method in ("confident-learning", "majority", "mean"):
        assert call(*models[:2], tmp_path / method, "--method", method).exit_code == 0
        assert not load_label(tmp_path / method / "a_R_Label.nii.gz").array.any()
    # Labels of one class leave confident learning nothing to compare: they stay.
    call(models[0], models[2], tmp_path / "kept")
    assert not load_label(tmp_path / "kept" / "a_R_Label.nii.gz").array.any()


def test_confidence_and_disagreement_maps(models, tmp_path):
    out = tmp_path / "out"
    result = call(*models, out, "--uncertainty")
    assert len(result.stdout.splitlines()) == 6
    maps = [load_image(out / f"a_R_{tag}.nii.gz").array for tag in ("Confidence", "Disagreement")]
    for array in maps:
        assert array.shape == (12, 10, 8)
        assert 0 <= array.min() < array.max() <= 1


def test_cases_missing_in_a_model_are_named(models, tmp_path):
    (models[1] / "a_L_Probability.nii.gz").unlink()
    result = call(*models, tmp_path / "out")
    assert f"a_L: left out, it is not in {models[1]}" in result.stderr
    assert len(result.stdout.splitlines()) == 1
    (models[2] / "a_R_Probability.nii.gz").unlink()
    with pytest.raises(VsudaError, match="no case in common"):
        call(*models, tmp_path / "none")


def test_bad_probabilities_fail_by_name_and_the_others_go_on(models, tmp_path):
    bad = models[1] / "a_L_Probability.nii.gz"
    save_fractions(bad, np.full((12, 10, 8, 3), 0.5), AFFINE)
    result = call(*models, tmp_path / "out")
    assert result.exit_code == 1
    assert f"{bad}: holds probabilities that sum up to 1.5" in result.stderr
    assert result.stdout.splitlines() == [str(tmp_path / "out" / "a_R_Label.nii.gz")]
    save_fractions(bad, np.full((12, 10, 8, 4), 0.25), AFFINE)
    assert "holds 4 classes" in call(*models, tmp_path / "out", "--force").stderr
    save_fractions(bad, np.full((12, 10, 8, 3), 1 / 3), AFFINE * 2)
    assert "another grid" in call(*models, tmp_path / "out", "--force").stderr
    save_fractions(bad, np.full((12, 10, 7, 3), 1 / 3), AFFINE)
    assert "another grid" in call(*models, tmp_path / "out", "--force").stderr
    nibabel.save(nibabel.Nifti1Image(np.full((12, 10, 8, 3), np.nan, np.float32), AFFINE), bad)
    assert f"{bad}: holds 2880 NaN" in call(*models, tmp_path / "out", "--force").stderr


def test_wrong_words_are_refused(models, tmp_path):
    for words, message in (
        (["--method", "magic"], "unknown"),
        (["--rule", "magic"], "unknown"),
        (["--rule", "both", "--method", "mean"], "would not be used with --method mean"),
        (["--classes", "VS,VS"], "different names"),
    ):
        with pytest.raises(VsudaError, match=message):
            call(*models, tmp_path / "out", *words)
    with pytest.raises(VsudaError, match="at least two"):
        call(models[0], tmp_path / "out")
    with pytest.raises(VsudaError, match="input folder"):
        call(*models, models[0])
    assert not (tmp_path / "out").exists()
