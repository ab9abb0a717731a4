"""What training commands share: where settings come from, and when nothing is begun."""

import json
from pathlib import Path

import pytest
import torch
from synthetic_crops import save_crops

from vsuda_cli import config, console
from vsuda_cli.commands.training import (
    Plan,
    begin,
    digest,
    dry_run,
    load_items,
    resolve_settings,
)
from vsuda_cli.config import SegmentationSettings
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.cases import find_images
from vsuda_cli.options import TrainingOptions
from vsuda_cli.training.provenance import describe
from vsuda_cli.training.run import Run, start


@pytest.fixture(autouse=True)
def _loud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.err, "quiet", False)


def test_options_beat_set_values_the_file_and_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("epochs = 7\nseed = 8\nbatch_size = 9\n")
    options = TrainingOptions(preset="small", config=file)
    settings = resolve_settings(SegmentationSettings, options, classes=None)
    assert (settings.epochs, settings.seed, settings.batch_size) == (7, 8, 9)
    small = config.SMALL[SegmentationSettings]
    assert settings.steps_per_epoch == small["steps_per_epoch"]
    options = TrainingOptions(config=file, epochs=2, seed=3, set_values=["batch_size=4"])
    settings = resolve_settings(SegmentationSettings, options, classes=["a"])
    assert (settings.epochs, settings.seed, settings.batch_size) == (2, 3, 4)
    assert settings.classes == ("a",)


def test_nothing_is_begun_in_a_folder_in_use(tmp_path: Path) -> None:
    begin(tmp_path / "new", TrainingOptions())
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    for options in (TrainingOptions(), TrainingOptions(force=True), TrainingOptions(resume=True)):
        with pytest.raises(VsudaError, match="is no run"):
            begin(tmp_path / "mine", options)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text("")
    with pytest.raises(VsudaError, match="--resume to continue it"):
        begin(tmp_path / "run", TrainingOptions())
    begin(tmp_path / "run", TrainingOptions(resume=True))
    begin(tmp_path / "run", TrainingOptions(force=True))
    with pytest.raises(VsudaError, match="contradicts"):
        begin(tmp_path / "run", TrainingOptions(force=True, resume=True))


def plan(
    folder: Path, settings: config.Training, options: TrainingOptions, data: str | None = None
) -> Plan:
    """Return a plan whose input has a known fingerprint, or must not be read at all."""

    def digests() -> dict[str, str]:
        assert data is not None, "files are read"
        return {"labelled": data}

    return Plan(folder, "seg-train", settings, options, digests, torch.device("cpu"))


def test_a_dry_run_shows_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    settings = SegmentationSettings(epochs=5)
    dry_run(plan(Path("runs/a"), settings, TrainingOptions()))
    shown = capsys.readouterr()
    assert shown.out == "runs/a\n"
    assert "epochs = 5" in shown.err.splitlines()
    dry_run(plan(Path("runs/a"), settings, TrainingOptions(as_json=True)))
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert (record["run"], record["dry_run"]) == ("runs/a", True)
    assert record["settings"]["unet"]["channels"] == list(settings.unet.channels)
    assert shown.err == ""


def test_a_dry_run_compares_with_the_run_that_resume_would_continue(tmp_path: Path) -> None:
    settings, resume = SegmentationSettings(epochs=5), TrainingOptions(resume=True)
    run = Run(tmp_path / "run")
    # Nothing to compare with: no file is read.
    dry_run(plan(run.folder, settings, resume))
    provenance = describe("seg-train", {"labelled": "abc"}, torch.device("cpu"), 0)
    start(run, settings, provenance, force=False)
    dry_run(plan(run.folder, settings, TrainingOptions(force=True)))
    same = plan(run.folder, settings, resume, "abc")
    dry_run(same)
    with pytest.raises(VsudaError, match="other data: labelled differs"):
        dry_run(plan(run.folder, settings, resume, "xyz"))
    with pytest.raises(VsudaError, match="other settings: epochs: 5 -> 6"):
        dry_run(plan(run.folder, SegmentationSettings(epochs=6), resume, "abc"))
    # And so inside a run.
    inner = Run(run.folder / "inner")
    dry_run(same, plan(inner.folder, settings, resume))
    start(inner, settings, provenance, force=False)
    with pytest.raises(VsudaError, match="inner: was started with other data"):
        dry_run(same, plan(inner.folder, settings, resume, "xyz"))
    inner.state.write_text("half")
    with pytest.raises(VsudaError, match=r"last\.pt: is no whole training state .*; --force"):
        dry_run(same, plan(inner.folder, settings, resume, "abc"))


def test_cases_are_loaded_on_the_training_grid_and_known_by_their_bytes(tmp_path: Path) -> None:
    save_crops(tmp_path, None, "hrT2", {"a_R": 0.5, "b_R": 1.0})
    cases = [(image, None) for image in find_images(tmp_path)]
    grid = config.Preprocessing(spacing_mm=(1.0, 1.0, 1.5))
    items = load_items("Loading", cases, grid, 3, torch.device("cpu"))
    assert [item.case for item in items] == ["a_R", "b_R"]
    assert items[0].image.shape[1] == items[1].image.shape[1] // 2
    before = digest(cases)
    assert before == digest(cases)
    path = cases[0][0].path
    path.write_bytes(path.read_bytes() + b"\0")
    assert digest(cases) != before
