"""What the training commands share: settings, cases into memory, one run from start to end."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vsuda_cli import config, console, resolving
from vsuda_cli.commands.precedence import without_overridden
from vsuda_cli.io.cases import CaseFile, is_crop
from vsuda_cli.options import TrainingOptions

if TYPE_CHECKING:
    import torch

    from vsuda_cli.training.data import Item
    from vsuda_cli.training.engine import Objective, Validate
    from vsuda_cli.training.journal import Row
    from vsuda_cli.training.sampling import Batches

Settings = TypeVar("Settings", bound=config.Training)


@dataclass(frozen=True)
class RunParts:
    """What a run is made of, once its cases are in memory."""

    objective: "Objective"
    batches: "Batches"
    validate: "Validate"
    # The cases kept for validation, written into run.json.
    held_out: list["Item"]


@dataclass(frozen=True)
class Plan:
    """One run, as it is asked for."""

    folder: Path
    command: str
    settings: config.Training
    options: TrainingOptions
    # Returns the fingerprint of each input by its name; it reads every file.
    data: Callable[[], dict[str, str]]
    device: "torch.device"

    @property
    def goes_on(self) -> bool:
        """Tell whether --resume finds a run to continue."""
        return goes_on(self.folder, self.options)


def goes_on(run_folder: Path, options: TrainingOptions) -> bool:
    """Tell whether --resume finds a run to continue in a folder."""
    from vsuda_cli.training.run import Run

    return options.resume and Run(run_folder).exists()


def resolve_settings(kind: type[Settings], options: TrainingOptions, **own: Any) -> Settings:
    """Return settings from options, --set, --config and --preset; `own` are the command's own."""
    values = {"epochs": options.epochs, "seed": options.seed, **own}
    return resolving.resolve(
        kind,
        preset=options.preset,
        file=options.config,
        values=values,
        set_values=without_overridden(values, options.set_values, options.typed),
    )


def begin(run_folder: Path, options: TrainingOptions) -> "torch.device":
    """Set up logging, meet the other processes of torchrun, and return the device to train on.

    Raises VsudaError, before any case is read, for a folder in use.
    """
    import atexit

    from vsuda_cli.io.writable import require_writable
    from vsuda_cli.training import ranks
    from vsuda_cli.training.device import choose_algorithms, choose_device
    from vsuda_cli.training.run import Run, check_free

    console.set_up_logging(options.quiet, options.verbose)
    device = ranks.device_of(choose_device(options.device))
    choose_algorithms(device)
    ranks.join(device)
    atexit.register(ranks.leave)
    if ranks.is_first():
        require_writable([run_folder])
        if not goes_on(run_folder, options):
            check_free(Run(run_folder), force=options.force)
    else:
        # The first process speaks for all; the others only say what goes wrong with them.
        console.set_up_logging(quiet=True, verbose=0)
    ranks.wait()
    return device


def dry_run(plan: Plan, *inside: Plan) -> None:
    """Print what a run would be: its folder to stdout, its resolved settings to stderr.

    Files are read only where there is a run to continue: raises VsudaError if `train` would refuse
    to continue it, or one of those `inside` it.
    """
    import tomli_w

    from vsuda_cli.training import ranks

    for one in (plan, *inside):
        if one.goes_on:
            _describe(one)
    if not ranks.is_first():
        return
    nested = resolving.to_dict(plan.settings)
    if plan.options.as_json:
        console.emit_json({"run": str(plan.folder), "dry_run": True, "settings": nested})
    else:
        for line in tomli_w.dumps(nested).splitlines():
            console.say(line)
        console.emit_path(plan.folder)


def _describe(plan: Plan) -> dict[str, Any]:
    """Return a run's provenance.

    Raises VsudaError, in the first process, if the run to continue was started in another way or
    no state of it can be loaded. Nothing is written.
    """
    from vsuda_cli.training import checkpoint, ranks
    from vsuda_cli.training.provenance import check_same, describe
    from vsuda_cli.training.run import Run

    provenance = describe(plan.command, plan.data(), plan.device, plan.settings.seed)
    if plan.goes_on and ranks.is_first():
        run = Run(plan.folder)
        check_same(run, plan.settings, provenance)
        checkpoint.load_last_state(run.state)
    ranks.wait()
    return provenance


def load_items(
    title: str,
    cases: Sequence[tuple[CaseFile, Path | None]],
    preprocessing: config.Preprocessing,
    class_count: int,
    device: "torch.device",
) -> list["Item"]:
    """Load and preprocess cases (image, label or None) with a progress bar."""
    from vsuda_cli.training.data import keep_near, load_item

    items = []
    with console.progress(title, len(cases)) as bar:
        for image, label in cases:
            items.append(load_item(image, label, preprocessing, class_count))
            bar.advance(note=image.case)
    return keep_near(items, device)


def digest(cases: Sequence[tuple[CaseFile, Path | None]]) -> str:
    """Return the fingerprint of all files of some cases; nothing without cases."""
    from vsuda_cli.io.fingerprint import fingerprint

    files = [path for image, label in cases for path in (image.path, label) if path is not None]
    return fingerprint(files) if files else ""


def train(
    plan: Plan,
    *,
    make: "Callable[[], RunParts]",
    metric: tuple[str, bool],
    target_tag: str | None,
    extra_metadata: dict[str, Any] | None = None,
) -> None:
    """Start or continue one run, train it to its end, and report its best weights.

    The run's page is written at the end, and before a run goes on.

    `make` loads the cases. A bad one ends the command before anything is written. `target_tag` is
    that of the images which the run is for, None where they have several.
    """
    import torch

    from vsuda_cli.report.run_page import write_run_page
    from vsuda_cli.training import ranks
    from vsuda_cli.training import run as runs
    from vsuda_cli.training.device import peak_memory_gib
    from vsuda_cli.training.engine import fit
    from vsuda_cli.training.provenance import record_validation

    settings = plan.settings
    # Saved with the state: the same bytes, whatever ran before in this process.
    torch.manual_seed(settings.seed)
    run = runs.Run(plan.folder)
    resumed = plan.goes_on
    provenance = _describe(plan)
    if resumed and ranks.is_first():
        write_run_page(plan.folder)
    parts = make()
    with runs.held(run) if ranks.is_first() else nullcontext():
        if ranks.is_first():
            if not resumed:
                runs.start(run, settings, provenance, force=plan.options.force)
            runs.remove_partial_files(run)
            record_validation(run, [item.case for item in parts.held_out])
        ranks.wait()
        metadata = {
            "command": plan.command,
            "settings": resolving.to_dict(settings),
            # What predict must do with a whole scan.
            "crops": all(is_crop(case) for case in parts.batches.case_ids()),
            "target_tag": target_tag,
            **(extra_metadata or {}),
        }
        with console.progress(plan.command, 0, note_below=True) as bar:
            best = fit(
                run,
                parts.objective,
                parts.batches,
                settings,
                validate=parts.validate,
                metadata=metadata,
                metric=metric,
                watcher=_Terminal(bar),
            )
    console.say(f"peak memory: {peak_memory_gib(plan.device):.2f} GiB")
    if ranks.is_first():
        console.say(f"written: {write_run_page(plan.folder)}")
        _report(plan.folder, best, plan.options)
    # All end together: a process that has gone is missed by those still at work.
    ranks.wait()


def _report(run_folder: Path, best: Path, options: TrainingOptions) -> None:
    import json

    from vsuda_cli.training.run import Run

    if options.as_json:
        chosen = json.loads(Run(run_folder).best.read_text())
        console.emit_json({"run": str(run_folder), "weights": str(best), **chosen})
    else:
        console.emit_path(best)


class _Terminal:
    """Shows a run's progress: a bar where there is a terminal, a line an epoch everywhere."""

    def __init__(self, bar: console.Bar) -> None:
        self._bar = bar

    def begin(self, total_steps: int, done_steps: int) -> None:
        self._bar.expect(total_steps)
        self._bar.start_at(done_steps)

    def step(self, text: str) -> None:
        self._bar.advance(note=text)

    def epoch(self, row: "Row") -> None:
        values = " ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")
        console.say(f"epoch {row['epoch']:.0f}: {values}")
