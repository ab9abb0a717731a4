"""The one training loop: epochs, validation, checkpoints, resuming, logs, signals."""

import json
import logging
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from vsuda_cli import config
from vsuda_cli.errors import InterruptedRunError, VsudaError
from vsuda_cli.io import atomic
from vsuda_cli.networks.passes import asked_for_memory
from vsuda_cli.training import checkpoint, randomness, ranks
from vsuda_cli.training.journal import Journal, Row
from vsuda_cli.training.run import Run
from vsuda_cli.training.samples import panel_png
from vsuda_cli.training.sampling import Batches
from vsuda_cli.training.signals import stop_on_signals

logger = logging.getLogger(__name__)

Validate = Callable[[], Row]


class Objective(Protocol):
    """What is trained: networks, losses and optimisers behind one step."""

    def set_epoch(self, epoch: int) -> dict[str, float]:
        """Set learning rates and ramps for an epoch, counted from 0, and return them by name."""

    def update(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take one step; return detached losses by name."""

    def pictures(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return named pictures, each (X, Y) or (X, Y, Z) in [0, 1]."""

    def streams(self) -> list[torch.Generator]:
        """Return the generators that differ between processes, each with a share of the batch."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a bit-identical continuation needs, but for the `streams`."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""

    def models_for_inference(self) -> dict[str, torch.nn.Module]:
        """Return the networks whose weights a checkpoint holds."""


class Watcher(Protocol):
    """Who is told how a run goes on: the terminal, or nobody."""

    def begin(self, total_steps: int, done_steps: int) -> None:
        """Training starts, or goes on after `done_steps`."""

    def step(self, text: str) -> None:
        """One step is done; `text` names the losses, averaged over the epoch so far."""

    def epoch(self, row: Row) -> None:
        """One epoch is done, with these losses and metrics."""


def fit(
    run: Run,
    objective: Objective,
    batches: Batches,
    settings: config.Training,
    *,
    validate: Validate,
    metadata: dict[str, Any],
    metric: tuple[str, bool],
    watcher: Watcher,
) -> Path:
    """Train until `settings.epochs` and return the best weights file.

    Continues from the run's saved state if there is one. `validate` returns metrics by name, or
    nothing if there is nothing to validate on; `metric` is (name, larger is better) of the one that
    chooses the best epoch, and without it the last epoch is the best. `metadata` is stored with the
    weights.

    Of several processes (see `ranks`) all train and the first one writes.

    Raises VsudaError when no saved state is whole, a loss is no longer finite, memory runs out or
    a checkpoint cannot be written, and InterruptedRunError after SIGTERM, SIGINT or SIGUSR1, once
    the state of the step just finished is saved, or the whole run.
    """
    loop = _Loop(run, objective, batches, settings, validate, metadata, metric, watcher)
    with closing(loop.journal), stop_on_signals() as stop:
        loop.restore()
        try:
            loop.train(stop)
        except RuntimeError as error:
            problem = asked_for_memory(error)
            if problem is None:
                raise
            raise VsudaError(
                run.folder,
                f"{problem} in epoch {loop.epoch + 1}",
                "start another run with a lower batch_size (and more to accumulate) or patch_size; "
                "for cutseg-train: slice_chunk",
            ) from error
    return run.weights(loop.best_epoch or settings.epochs)


@dataclass
class _Loop:
    """The state of a run: where it stands and what it has logged."""

    run: Run
    objective: Objective
    batches: Batches
    settings: config.Training
    validate: Validate
    metadata: dict[str, Any]
    metric: tuple[str, bool]
    watcher: Watcher

    def __post_init__(self) -> None:
        self.journal = Journal(self.run)
        chosen = self.settings
        patches_a_step = chosen.batch_size * chosen.accumulate * ranks.count()
        self.steps = chosen.steps_per_epoch or math.ceil(self.batches.cases() / patches_a_step)
        self.epoch, self.step = 0, 0
        self.sums: dict[str, float] = {}
        self.best_epoch, self.best_value = 0, math.nan

    def train(self, stop: Callable[[], bool]) -> None:
        done = self.epoch * self.steps + self.step
        self.watcher.begin(self.settings.epochs * self.steps, done)
        while self.epoch < self.settings.epochs:
            rates = self.objective.set_epoch(self.epoch)
            batch: dict[str, Tensor] = {}
            while self.step < self.steps:
                batch = self.batches.draw()
                if self._take_step(batch, stop):
                    self._refuse_broken()
                    self._save_state()
                    raise InterruptedRunError(
                        f"{self.run.folder}: stopped in epoch {self.epoch + 1} after step "
                        f"{self.step}; continue with --resume"
                    )
            self._end_epoch(rates, batch)
        # Whoever asked to stop while it ended meant what would follow it, too.
        if ranks.mean(torch.tensor([float(stop())])).item() > 0:
            raise InterruptedRunError(f"{self.run.folder}: asked to stop; this run is complete")

    def _take_step(self, batch: dict[str, Tensor], stop: Callable[[], bool]) -> bool:
        """Take one step and tell whether it is to be the last, as all processes agree."""
        losses = self.objective.update(batch)
        names = list(losses)
        # One transfer a step for all losses together, and for the wish to stop.
        told = torch.stack([losses[name].float() for name in names])
        told = ranks.mean(torch.cat([told, told.new_tensor([float(stop())])]))
        *values, stopping = told.tolist()
        self.step += 1
        for name, value in zip(names, values, strict=True):
            if not math.isfinite(value):
                raise self._broken(f"loss {name} is {value}")
            self.sums[name] = self.sums.get(name, 0.0) + value
        shown = " ".join(f"{n} {self.sums[n] / self.step:.3f}" for n in names)
        self.watcher.step(shown)
        return bool(stopping > 0)

    def _refuse_broken(self) -> None:
        """Raise VsudaError before anything is saved that cannot be continued.

        A finite loss can have gradients that are not finite; after the last step nothing else
        would notice.
        """
        name = checkpoint.not_finite(self.objective.state_dict())
        if name is not None:
            raise self._broken(f"{name} is no longer finite")

    def _broken(self, what: str) -> VsudaError:
        anything = self.run.state.exists() or self.run.epochs()
        kept = "; the last checkpoint is kept" if anything else ""
        return VsudaError(
            self.run.folder,
            f"{what} in epoch {self.epoch + 1}, step {self.step}{kept}",
            "start another run with a lower learning_rate or with gradient_clip",
        )

    def _end_epoch(self, rates: dict[str, float], batch: dict[str, Tensor]) -> None:
        self._refuse_broken()
        row: Row = {name: total / self.steps for name, total in self.sums.items()}
        self.epoch, self.step, self.sums = self.epoch + 1, 0, {}
        last = self.epoch == self.settings.epochs
        if last or self.epoch % self.settings.validate_every == 0:
            row.update(self.validate())
        is_best = self._is_best(row, last)
        if ranks.is_first():
            self._write_epoch(row, batch, is_best, last)
        if is_best:
            self.best_epoch, self.best_value = self.epoch, row.get(self.metric[0], math.nan)
        row = {"epoch": self.epoch, "step": self.epoch * self.steps, **rates, **row}
        if ranks.is_first():
            self.journal.add(row)
        if last or self.epoch % self.settings.save_every == 0:
            self._save_state()
        self.watcher.epoch(row)

    def _write_epoch(self, row: Row, batch: dict[str, Tensor], is_best: bool, last: bool) -> None:
        # An epoch whose last step an earlier process took has no batch to show.
        if batch:
            self._save_samples(batch)
        if is_best or last or self.epoch % self.settings.checkpoint_every == 0:
            self._save_weights()
        if is_best:
            self._save_best(row)

    def _is_best(self, row: Row, last: bool) -> bool:
        name, larger_is_better = self.metric
        value = row.get(name)
        if value is None:
            return last and not self.best_epoch
        better = value > self.best_value if larger_is_better else value < self.best_value
        return better or math.isnan(self.best_value)

    def _save_best(self, row: Row) -> None:
        before, name = self.best_epoch, self.metric[0]
        best = {"epoch": self.epoch, "metric": name, "value": row.get(name)}
        atomic.write_text(self.run.best, json.dumps(best) + "\n")
        # A best checkpoint that was overtaken goes, unless it is one of the regular ones.
        if before and before != self.epoch and before % self.settings.checkpoint_every:
            self.run.weights(before).unlink(missing_ok=True)

    def _save_weights(self) -> None:
        metadata = {**self.metadata, "epoch": self.epoch}
        models = self.objective.models_for_inference()
        checkpoint.save_weights(self.run.weights(self.epoch), models, metadata)

    def _save_samples(self, batch: dict[str, Tensor]) -> None:
        pictures = self.objective.pictures(batch)
        path = self.run.samples / f"epoch-{self.epoch:04d}.png"
        atomic.write_bytes(path, panel_png(pictures))

    def _save_state(self) -> None:
        random = randomness.state(self.objective.streams(), self.batches.device)
        if not ranks.is_first():
            return
        state = {
            "format": checkpoint.FORMAT,
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums,
            "history": self.journal.rows,
            "best": [self.best_epoch, self.best_value],
            "objective": self.objective.state_dict(),
            "batches": self.batches.state_dict(),
            "random": random,
        }
        checkpoint.save_state(self.run.state, state)

    def restore(self) -> None:
        """Go back to the last whole saved state, if there is one; all processes to the same."""
        state = ranks.from_first(self._last_state() if ranks.is_first() else None)
        if state is None:
            randomness.separate(self.objective.streams())
            return
        self.epoch, self.step = state["epoch"], state["step"]
        self.sums, self.journal.rows = state["sums"], state["history"]
        self.best_epoch, self.best_value = state["best"]
        self.objective.load_state_dict(state["objective"])
        self.batches.load_state_dict(state["batches"])
        randomness.restore(state["random"], self.objective.streams(), self.batches.device)
        logger.info("continuing after epoch %d, step %d", self.epoch, self.step)

    def _last_state(self) -> dict[str, Any] | None:
        state, damage = checkpoint.load_last_state(self.run.state)
        if damage is not None:
            kept = checkpoint.set_aside(self.run.state).name
            before = checkpoint.previous(self.run.state).name
            text = "%s: %s; kept as %s, going on from %s"
            logger.warning(text, damage.where, damage.problem, kept, before)
        if state is not None and not self.run.weights(state["best"][0]).exists():
            # Overtaken, after this state was saved, by an epoch that is now done again.
            state["best"] = [0, math.nan]
        return state
