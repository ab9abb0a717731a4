"""A run's log: whole lines only, continued after an interruption, and TensorBoard's events."""

import json
from pathlib import Path

import pytest

from vsuda_cli.training import journal as journals
from vsuda_cli.training.journal import Journal
from vsuda_cli.training.run import Run

ROWS = [{"epoch": float(n), "step": n * 10.0, "loss": 1 / n} for n in (1, 2, 3)]


def lines(run: Run) -> list[dict[str, float]]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def test_every_row_is_written_at_once_and_rows_of_before_stay(tmp_path: Path) -> None:
    run = Run(tmp_path)
    journal = Journal(run)
    for number, row in enumerate(ROWS[:2], start=1):
        journal.add(row)
        assert lines(run) == ROWS[:number]
    journal.close()
    again = Journal(run)
    again.rows = ROWS[:1]  # resumed from a state before the second row
    again.add(ROWS[2])
    again.close()
    assert lines(run) == [ROWS[0], ROWS[2]]


def test_without_tensorboard_there_is_the_log_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals.importlib.util, "find_spec", lambda name: None)
    journal = Journal(Run(tmp_path))
    journal.add(ROWS[0])
    journal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_tensorboard_shows_all_values_and_hides_epochs_done_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run(tmp_path)
    first = Journal(run)
    for row in ROWS:
        first.add(row)
    first.close()
    second = Journal(run)
    second.rows = ROWS[:1]
    second.add({**ROWS[1], "loss": 9.0})
    second.close()
    shown = EventAccumulator(str(run.tensorboard))
    shown.Reload()
    assert set(shown.Tags()["scalars"]) == {"step", "loss"}
    found = [(event.step, event.value) for event in shown.Scalars("loss")]
    assert found == [(1, 1.0), (2, 9.0)]
