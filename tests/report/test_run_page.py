"""A run's page from its files."""

import re
from pathlib import Path

import pytest
from example_run import a_run

from vsuda_cli.errors import VsudaError
from vsuda_cli.report.run_page import MOST_SAMPLES, write_run_page


def test_curves_learning_rate_settings_and_samples(tmp_path: Path) -> None:
    path = write_run_page(a_run(tmp_path / "run", 4))
    assert path == tmp_path / "run" / "report.html"
    page = path.read_text()
    titles = re.findall(r'aria-label="([^"]+)">\s*<svg', page)
    assert titles == ["dice", "VS_Dice", "learning rate"]
    assert "4 of 4 epochs" in page
    assert "Best: epoch 4, VS_Dice 0.750." in page
    assert len(re.findall("<img ", page)) == 4
    assert len(re.findall("<img [^>]* hidden>", page)) == 3
    assert "augmentation.noise" in page
    assert "data.labelled" in page
    assert "<b>" not in page
    assert "http:" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    first = write_run_page(a_run(tmp_path / "a" / "run", 3)).read_bytes()
    assert write_run_page(a_run(tmp_path / "b" / "run", 3)).read_bytes() == first


def test_many_epochs_show_some_pictures_with_the_first_and_the_last(tmp_path: Path) -> None:
    page = write_run_page(a_run(tmp_path, MOST_SAMPLES + 20)).read_text()
    epochs = [int(text) for text in re.findall(r'data-epoch="(\d+)"', page)]
    assert len(epochs) == len(set(epochs)) == MOST_SAMPLES
    assert (epochs[0], epochs[-1]) == (1, MOST_SAMPLES + 20)


def test_a_run_without_an_epoch_has_a_page(tmp_path: Path) -> None:
    run = a_run(tmp_path, 1)
    for name in ("metrics.jsonl", "best.json", "samples/epoch-0001.png"):
        (run / name).unlink()
    page = write_run_page(run).read_text()
    assert "0 of 1 epochs" in page
    assert "No epoch is done yet." in page
    assert "No sample picture" in page


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    run = a_run(tmp_path, 2)
    (run / "metrics.jsonl").write_text('{"epoch": 1\n')
    with pytest.raises(VsudaError, match=r"metrics\.jsonl"):
        write_run_page(run)
