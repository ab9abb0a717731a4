"""One loop: best by metric, resuming to the same bytes, NaN, damaged states, signals."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import contents
from torch import Tensor

from vsuda_cli.config import Training
from vsuda_cli.errors import InterruptedRunError, VsudaError
from vsuda_cli.training import checkpoint
from vsuda_cli.training import run as runs
from vsuda_cli.training.data import Item
from vsuda_cli.training.engine import fit
from vsuda_cli.training.journal import Row
from vsuda_cli.training.sampling import Batches, PatchSampler

SETTINGS = Training(
    epochs=4,
    steps_per_epoch=3,
    batch_size=1,
    patch_size=(4, 4, 2),
    checkpoint_every=3,
    validate_every=1,
)
BIGGER = ("score", True)


class Line:
    """An objective with all that can go wrong in resuming: momentum, dropout, a rate by epoch."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        self.network = torch.nn.Linear(1, 1)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=0.1)
        self.before_step: Callable[[int], None] = lambda step: None
        self.steps = 0
        self.poison = 0

    def set_epoch(self, epoch: int) -> dict[str, float]:
        rate = self.optimiser.param_groups[0]["lr"] = 0.1 / (1 + epoch)
        return {"learning_rate": rate}

    def streams(self) -> list[torch.Generator]:
        return []

    def update(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        self.steps += 1
        self.before_step(self.steps)
        x = torch.nn.functional.dropout(batch["labelled"].mean().view(1, 1), 0.3)
        loss = (self.network(x) - 2).square().mean()
        if self.steps == self.poison:
            loss = loss * torch.nan
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"fit": loss.detach(), "half": loss.detach() / 2}

    def pictures(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"image": batch["labelled"][0, 0]}

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])

    def models_for_inference(self) -> dict[str, torch.nn.Module]:
        return {"line": self.network}


class Watched:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.began: tuple[int, int] | None = None
        self.texts: list[str] = []
        self.rows: list[Row] = []

    def begin(self, total_steps: int, done_steps: int) -> None:
        self.began = (total_steps, done_steps)

    def step(self, text: str) -> None:
        self.texts.append(text)

    def epoch(self, row: Row) -> None:
        self.rows.append(row)


def batches() -> Batches:
    generator = torch.Generator().manual_seed(0)
    items = [Item(f"c{i}", torch.rand((1, 6, 6, 3), generator=generator), None) for i in range(4)]
    return Batches({"labelled": PatchSampler(items, (4, 4, 2), 1, None, 0, torch.device("cpu"))})


def train(
    folder: Path,
    objective: Line | None = None,
    settings: Training = SETTINGS,
    metric: tuple[str, bool] = BIGGER,
    scores: dict[int, float] | None = None,
    watcher: Watched | None = None,
) -> Path:
    """Start or continue a run; `scores` are the validation results by epoch."""
    run = runs.Run(folder)
    if not run.exists():
        runs.start(run, settings, {"command": "test"}, force=False)
    objective = objective or Line()
    watcher = watcher or Watched()

    def validate() -> Row:
        if scores is None:
            return {"score": float(objective.network.weight.detach())}
        epoch = len(run.metrics.read_text().splitlines()) + 1 if run.metrics.exists() else 1
        return {"score": scores[epoch]} if epoch in scores else {}

    return fit(
        run,
        objective,
        batches(),
        settings,
        validate=validate,
        metadata={"command": "test"},
        metric=metric,
        watcher=watcher,
    )


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def results(folder: Path) -> dict[str, bytes]:
    """What a run is kept for, by name. The full state holds the same in another wrapping."""
    files = [*folder.glob("checkpoints/*.safetensors"), folder / "metrics.jsonl"]
    files.append(folder / "best.json")
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(folder)
    return results(folder)


def test_a_run_leaves_what_it_promises(tmp_path: Path) -> None:
    watcher = Watched()
    best = train(tmp_path / "run", watcher=watcher)
    found = rows(tmp_path / "run")
    assert [row["epoch"] for row in found] == [1, 2, 3, 4]
    assert list(found[0]) == ["epoch", "step", "learning_rate", "fit", "half", "score"]
    assert [row["step"] for row in found] == [3, 6, 9, 12]
    assert [row["learning_rate"] for row in found] == [0.1 / n for n in (1, 2, 3, 4)]
    for row in found:
        assert row["half"] == pytest.approx(row["fit"] / 2)
    assert watcher.began == (12, 0)
    assert len(watcher.texts) == 12
    assert watcher.texts[-1].startswith("fit ")
    assert watcher.rows == found
    pictures = [path.name for path in sorted((tmp_path / "run" / "samples").iterdir())]
    assert pictures == [f"epoch-000{n}.png" for n in (1, 2, 3, 4)]
    metadata = checkpoint.load_metadata(best)
    assert metadata["command"] == "test"
    assert best.name == f"epoch-{metadata['epoch']:04d}.safetensors"


def test_the_number_of_steps_follows_from_the_cases(tmp_path: Path) -> None:
    watcher = Watched()
    settings = Training(epochs=1, steps_per_epoch=0, batch_size=3)
    train(tmp_path / "run", settings=settings, watcher=watcher)
    assert watcher.began == (2, 0)  # four cases, three a step


@pytest.mark.parametrize(
    ("larger", "best", "kept"),
    [(True, 2, [2, 3, 4]), (False, 1, [1, 3, 4])],
)
def test_the_best_epoch_is_chosen_by_the_metric(
    tmp_path: Path, larger: bool, best: int, kept: list[int]
) -> None:
    scores = {1: 0.1, 2: 0.7, 3: 0.4, 4: 0.7}  # the first of equals stays the best
    weights = train(tmp_path / "run", metric=("score", larger), scores=scores)
    assert weights == runs.Run(tmp_path / "run").weights(best)
    chosen = json.loads((tmp_path / "run" / "best.json").read_text())
    assert chosen == {"epoch": best, "metric": "score", "value": scores[best]}
    assert runs.Run(tmp_path / "run").epochs() == kept
    assert runs.choose_weights(tmp_path / "run", "best") == (best, weights)


def test_a_regular_checkpoint_stays_when_it_is_overtaken(tmp_path: Path) -> None:
    train(tmp_path / "run", scores={1: 0.1, 2: 0.2, 3: 0.7, 4: 0.9})
    assert runs.Run(tmp_path / "run").epochs() == [3, 4]  # checkpoint_every=3


def test_an_undefined_metric_is_never_the_best(tmp_path: Path) -> None:
    scores = {1: float("nan"), 2: 0.2, 3: float("nan"), 4: 0.1}
    assert train(tmp_path / "run", scores=scores).name == "epoch-0002.safetensors"


def test_without_validation_the_last_epoch_is_the_best(tmp_path: Path) -> None:
    assert train(tmp_path / "run", scores={}).name == "epoch-0004.safetensors"
    chosen = json.loads((tmp_path / "run" / "best.json").read_text())
    assert chosen == {"epoch": 4, "metric": "score", "value": None}


def test_validation_comes_every_so_many_epochs_and_at_the_end(tmp_path: Path) -> None:
    settings = Training(**{**vars(SETTINGS), "validate_every": 3})
    train(tmp_path / "run", settings=settings)
    assert [row["epoch"] for row in rows(tmp_path / "run") if "score" in row] == [3, 4]


@pytest.mark.parametrize("step", range(1, 13))
def test_resuming_after_a_signal_gives_the_same_bytes(
    tmp_path: Path, uninterrupted: dict[str, bytes], step: int
) -> None:
    def stop(now: int) -> None:
        if now == step:
            os.kill(os.getpid(), signal.SIGTERM)

    objective = Line()
    objective.before_step = stop
    handler = signal.getsignal(signal.SIGTERM)
    epoch, within = (step - 1) // 3 + 1, (step - 1) % 3 + 1
    with pytest.raises(InterruptedRunError, match=rf"epoch {epoch} after step {within}; continue"):
        train(tmp_path / "run", objective)
    assert objective.steps == step
    assert signal.getsignal(signal.SIGTERM) == handler
    watcher = Watched()
    torch.manual_seed(99)  # another process starts from another random state
    train(tmp_path / "run", watcher=watcher)
    assert watcher.began == (12, step)
    assert results(tmp_path / "run") == uninterrupted


def test_a_signal_after_the_last_step_ends_a_run_that_is_complete(
    tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    class Stopping(Watched):
        def epoch(self, row: Row) -> None:
            super().epoch(row)
            if row["epoch"] == SETTINGS.epochs:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(InterruptedRunError, match=r"run: asked to stop; this run is complete"):
        train(tmp_path / "run", watcher=Stopping())
    assert results(tmp_path / "run") == uninterrupted
    assert train(tmp_path / "run").is_file()
    assert results(tmp_path / "run") == uninterrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_other_signals_stop_as_well(tmp_path: Path, number: signal.Signals) -> None:
    objective = Line()
    objective.before_step = lambda step: os.kill(os.getpid(), number)
    with pytest.raises(InterruptedRunError):
        train(tmp_path / "run", objective)
    assert checkpoint.load_state(runs.Run(tmp_path / "run").state)["step"] == 1


@pytest.mark.parametrize("save_every", [1, 3])
def test_resuming_after_a_crash_gives_the_same_bytes(
    tmp_path: Path, uninterrupted: dict[str, bytes], save_every: int
) -> None:
    # Nothing is saved at a crash; with save_every=3 whole epochs are done again.
    settings = Training(**{**vars(SETTINGS), "save_every": save_every})

    def crash(step: int) -> None:
        if step == 8:
            raise RuntimeError("the machine is gone")

    objective = Line()
    objective.before_step = crash
    with pytest.raises(RuntimeError, match="gone"):
        train(tmp_path / "run", objective, settings)
    watcher = Watched()
    train(tmp_path / "run", settings=settings, watcher=watcher)
    assert watcher.began == (12, 6 if save_every == 1 else 0)
    assert results(tmp_path / "run") == uninterrupted


def stopped(folder: Path, after_step: int) -> Path:
    """Train until a signal after a step, and return the state saved there."""

    def stop(step: int) -> None:
        if step == after_step:
            os.kill(os.getpid(), signal.SIGTERM)

    objective = Line()
    objective.before_step = stop
    with pytest.raises(InterruptedRunError):
        train(folder, objective)
    return runs.Run(folder).state


def test_a_damaged_state_never_takes_the_place_of_the_one_before(
    tmp_path: Path, uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = stopped(tmp_path / "run", after_step=8)
    state.write_bytes(state.read_bytes()[:200])

    def killed(*arguments: object) -> None:
        raise RuntimeError("killed between the two renames")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_save", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train(tmp_path / "run")
    # As a kill between the two leaves it.
    if state.exists():
        state.replace(checkpoint.previous(state))
    watcher = Watched()
    train(tmp_path / "run", watcher=watcher)
    assert watcher.began == (12, 6)
    (state.parent / "damaged-last.pt").unlink()
    assert results(tmp_path / "run") == uninterrupted


def test_a_damaged_state_falls_back_to_the_one_before(
    tmp_path: Path, uninterrupted: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    state = stopped(tmp_path / "run", after_step=8)
    state.write_bytes(state.read_bytes()[:200])
    watcher = Watched()
    with caplog.at_level("WARNING", logger="vsuda_cli"):
        train(tmp_path / "run", watcher=watcher)
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith(f"{state}: is no whole training state (")
    assert told.endswith("); kept as damaged-last.pt, going on from previous.pt")
    assert watcher.began == (12, 6)
    (state.parent / "damaged-last.pt").unlink()
    assert results(tmp_path / "run") == uninterrupted


@pytest.mark.parametrize("kept", [["last.pt", "previous.pt"], ["last.pt"], ["previous.pt"]])
def test_without_a_whole_state_nothing_is_trained_or_changed(
    tmp_path: Path, kept: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    train(tmp_path / "run")
    folder = runs.Run(tmp_path / "run").state.parent
    for path in folder.glob("*.pt"):
        if path.name in kept:
            path.write_bytes(path.read_bytes()[:200])
        else:
            path.unlink()
    before = contents(tmp_path / "run")
    objective = Line()
    with pytest.raises(VsudaError, match="; --force starts anew") as refused:
        train(tmp_path / "run", objective)
    for name in kept:
        assert f"{folder / name}: is no whole training state" in str(refused.value)
    assert not caplog.records, "nothing else is tried"
    assert objective.steps == 0
    assert contents(tmp_path / "run") == before


def test_a_state_being_moved_when_killed_is_found(
    tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    # Between the two renames of a save there is no last.pt.
    state = stopped(tmp_path / "run", after_step=5)
    state.replace(checkpoint.previous(state))
    watcher = Watched()
    train(tmp_path / "run", watcher=watcher)
    assert watcher.began == (12, 5)
    assert results(tmp_path / "run") == uninterrupted


def test_a_finished_run_stays_as_it_is(tmp_path: Path) -> None:
    best = train(tmp_path / "run")
    before = results(tmp_path / "run")
    objective = Line()
    assert train(tmp_path / "run", objective) == best
    assert objective.steps == 0
    assert results(tmp_path / "run") == before


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    objective = Line()
    objective.poison = 5
    with pytest.raises(VsudaError, match="loss fit is nan in epoch 2, step 2; the last checkpoint"):
        train(tmp_path / "run", objective)
    assert [row["epoch"] for row in rows(tmp_path / "run")] == [1]
    kept = checkpoint.load_state(runs.Run(tmp_path / "run").state)
    assert (kept["epoch"], kept["step"]) == (1, 0)
    assert all(torch.isfinite(v).all() for v in kept["objective"]["network"].values())


def test_a_checkpoint_is_said_to_be_kept_only_if_there_is_one(tmp_path: Path) -> None:
    objective = Line()
    objective.poison = 2
    with pytest.raises(VsudaError, match="nan in epoch 1, step 2; start another run with"):
        train(tmp_path / "run", objective)
    # In the same epoch, after a signal.
    stopped(tmp_path / "other", after_step=1)
    objective = Line()
    objective.poison = 1
    with pytest.raises(VsudaError, match="nan in epoch 1, step 2; the last checkpoint is kept"):
        train(tmp_path / "other", objective)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_memory_that_runs_out_is_told_on_every_device(tmp_path: Path, on_gpu: bool) -> None:
    objective = Line()

    def fill(now: int) -> None:
        if now == 4:
            if on_gpu:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")
            torch.empty(2**60, dtype=torch.uint8)

    objective.before_step = fill
    told = r"run: ran out of memory \(asked for [\d.]+ \w+\) in epoch 2; start another run with"
    with pytest.raises(VsudaError, match=told):
        train(tmp_path / "run", objective)


def test_other_failures_of_a_step_pass_through(tmp_path: Path) -> None:
    objective = Line()

    def fail(now: int) -> None:
        raise RuntimeError("shapes do not match")

    objective.before_step = fail
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(tmp_path / "run", objective)


@pytest.mark.parametrize("step", [4, 5, 6])
def test_weights_that_are_no_numbers_are_never_saved(tmp_path: Path, step: int) -> None:
    objective = Line()

    def spoil(now: int) -> None:
        # As a gradient that is none does, behind a loss that is one; asked to stop there.
        if now == step and step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    objective.before_step = spoil
    hook = objective.network.weight.register_hook(
        lambda gradient: gradient * torch.nan if objective.steps == step else gradient
    )
    with pytest.raises(VsudaError, match=r"epoch 2, step \d; the last checkpoint is kept; start"):
        train(tmp_path / "run", objective)
    hook.remove()
    run = runs.Run(tmp_path / "run")
    assert run.epochs() == [1]
    assert json.loads(run.best.read_text())["epoch"] == 1
    kept = checkpoint.load_state(run.state)
    assert (kept["epoch"], kept["step"]) == (1, 0)
    assert checkpoint.not_finite(kept["objective"]) is None
