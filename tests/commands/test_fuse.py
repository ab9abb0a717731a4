"""`fuse`: cases common to all models, changes told, bad probabilities named."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from vsuda_cli.commands.fuse import fuse
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.fusion import clean_in_turn, hard_labels, majority, mean
from vsuda_cli.io.nifti import load_image, load_label, load_probability, save_probability

AFFINE = np.diag([0.5, 0.5, 1.5, 1.0])


def call(*words):
    app = typer.Typer()
    app.command()(fuse)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def models(tmp_path):
    folders = [tmp_path / name for name in ("m1", "m2", "m3")]
    for seed, folder in enumerate(folders):
        rng = np.random.default_rng(seed)
        for case in ("a_R", "a_L"):
            found = rng.dirichlet([2, 0.3, 0.3], (12, 10, 8))
            save_probability(folder / f"{case}_Probability.nii.gz", found, AFFINE)
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
    assert first["cleaned_by"] == str(models[1])
    assert first["flagged"] == steps[0].flagged
    assert list(first["changes"]) == ["background", "tumour", "snail"]
    assert first["changes"]["snail"]["lost"] == steps[0].changes[2].sum()


def test_uncertainty_maps(models, tmp_path):
    out = tmp_path / "out"
    result = call(*models, out, "--uncertainty")
    assert len(result.stdout.splitlines()) == 6
    maps = [load_image(out / f"a_R_{tag}.nii.gz").array for tag in ("Uncertainty", "Disagreement")]
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
    save_probability(bad, np.full((12, 10, 8, 3), 0.5), AFFINE)
    result = call(*models, tmp_path / "out")
    assert result.exit_code == 1
    assert f"{bad}: holds probabilities that sum up to 1.5" in result.stderr
    assert result.stdout.splitlines() == [str(tmp_path / "out" / "a_R_Label.nii.gz")]
    save_probability(bad, np.full((12, 10, 8, 4), 0.25), AFFINE)
    assert "holds 4 classes" in call(*models, tmp_path / "out", "--force").stderr
    save_probability(bad, np.full((12, 10, 8, 3), 1 / 3), AFFINE * 2)
    assert "another grid" in call(*models, tmp_path / "out", "--force").stderr


def test_wrong_words_are_refused(models, tmp_path):
    for words, message in (
        (["--method", "magic"], "unknown"),
        (["--rule", "magic"], "unknown"),
        (["--classes", "VS,VS"], "different names"),
    ):
        with pytest.raises(VsudaError, match=message):
            call(*models, tmp_path / "out", *words)
    with pytest.raises(VsudaError, match="at least two"):
        call(models[0], tmp_path / "out")
    with pytest.raises(VsudaError, match="input folder"):
        call(*models, models[0])
    assert not (tmp_path / "out").exists()
