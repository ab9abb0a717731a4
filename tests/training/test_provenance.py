"""What a run says about its start, and what it refuses to go on with."""

import json
import tomllib
from pathlib import Path

import pytest
import torch

from vsuda_cli import resolving
from vsuda_cli.config import MeanTeacherSettings, SegmentationSettings
from vsuda_cli.errors import VsudaError
from vsuda_cli.resolving import from_flat
from vsuda_cli.training.provenance import check_same, describe, record_validation
from vsuda_cli.training.run import Run, read_provenance, start

SETTINGS = SegmentationSettings()
# An input that is not given has no digest.
DATA = {"labelled": "abc", "init": ""}
PROVENANCE = describe("seg-train", DATA, torch.device("cpu"), 0)


def started(folder: Path) -> Run:
    run = Run(folder)
    start(run, SETTINGS, PROVENANCE, force=False)
    return run


def test_a_started_run_says_all_about_itself(tmp_path: Path) -> None:
    run = started(tmp_path / "deep" / "run")
    stored = tomllib.loads(run.config.read_text())
    assert resolving.from_dict(SegmentationSettings, stored, run.config) == SETTINGS
    provenance = read_provenance(run.folder)
    assert provenance == json.loads(json.dumps(PROVENANCE))
    assert (provenance["command"], provenance["seed"], provenance["device"]) == (
        "seg-train",
        0,
        "cpu",
    )
    assert set(provenance["versions"]) == {"vsuda", "python", "torch"}
    assert run.samples.is_dir()


def test_the_validation_cases_are_added_to_the_provenance(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    record_validation(run, ["a_R", "a_L"])
    assert read_provenance(run.folder) == {**PROVENANCE, "validation": ["a_R", "a_L"]}
    check_same(run, SETTINGS, PROVENANCE)


def test_resuming_needs_the_same_settings_command_and_data(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    check_same(run, SETTINGS, PROVENANCE)
    # A step that cannot be recorded may go on without.
    check_same(run, from_flat(SegmentationSettings, {"cuda_graph": False}, "x"), PROVENANCE)
    # Another device or version is no other run.
    check_same(run, SETTINGS, {**PROVENANCE, "device": "cuda", "versions": {}})
    changed = from_flat(SegmentationSettings, {"unet.dropout": 0.5}, "x")
    with pytest.raises(VsudaError, match=r"other settings: unet\.dropout: 0\.1 -> 0\.5"):
        check_same(run, changed, PROVENANCE)
    with pytest.raises(VsudaError, match="another command: seg-train -> mt-train"):
        check_same(run, SETTINGS, {**PROVENANCE, "command": "mt-train"})
    for data in ({"labelled": "xyz", "init": ""}, {"labelled": "abc", "init": "xyz"}):
        with pytest.raises(VsudaError, match=r"other data: (labelled|init) differs"):
            check_same(run, SETTINGS, {**PROVENANCE, "data": data})
    with pytest.raises(VsudaError, match="another number of processes: 1 -> 4"):
        check_same(run, SETTINGS, {**PROVENANCE, "processes": 4})
    with pytest.raises(VsudaError):
        check_same(run, MeanTeacherSettings(), PROVENANCE)
    run.config.write_text("epochs = ")
    with pytest.raises(VsudaError, match=r"config\.toml: cannot be read"):
        check_same(run, SETTINGS, PROVENANCE)
