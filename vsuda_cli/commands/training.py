"""What the training commands share: settings, cases into memory, one run from start to end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vsuda_cli import config, console
from vsuda_cli.io.cases import CaseFile, is_crop
from vsuda_cli.options import TrainingOptions

if TYPE_CHECKING:
    import torch

    from vsuda_cli.training.data import Batches, Item
    from vsuda_cli.training.engine import Objective, Row, Validate

Settings = TypeVar("Settings", bound=config.Training)


def resolve_settings(kind: type[Settings], options: TrainingOptions, **own: Any) -> Settings:
    """Return settings from options, --set, --config and --preset; `own` are the command's own."""
    return config.resolve(
        kind,
        preset=options.preset,
        file=options.config,
        values={"epochs": options.epochs, "seed": options.seed, **own},
        set_values=options.set_values,
    )


def begin(run_folder: Path, options: TrainingOptions) -> None:
    """Set up logging and refuse, before any case is read, to train into a folder in use."""
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.io.writable import require_writable
    from vsuda_cli.training.run import Run, check_free

    console.set_up_logging(options.quiet, options.verbose)
    if options.resume and options.force:
        raise VsudaError("--resume", "contradicts --force", "give one of the two")
    require_writable([run_folder])
    if not options.resume or not Run(run_folder).exists():
        check_free(Run(run_folder), force=options.force)


def dry_run(run_folder: Path, settings: config.Training, options: TrainingOptions) -> None:
    """Print what a run would be: its folder to stdout, its resolved settings to stderr."""
    import tomli_w

    nested = config.to_dict(settings)
    if options.as_json:
        console.emit_json({"run": str(run_folder), "dry_run": True, "settings": nested})
    else:
        console.say(tomli_w.dumps(nested).rstrip())
        console.emit_path(run_folder)


def load_items(
    title: str,
    cases: Sequence[tuple[CaseFile, Path | None]],
    preprocessing: config.Preprocessing,
    class_count: int,
    device: "torch.device",
) -> list["Item"]:
    """Load and preprocess cases (image, label or None) with a progress bar."""
    from vsuda_cli.training.data import load_item

    items = []
    with console.progress(title, len(cases)) as bar:
        for image, label in cases:
            items.append(load_item(image, label, preprocessing, class_count, device))
            bar.advance(note=image.case)
    return items


def digest(cases: Sequence[tuple[CaseFile, Path | None]]) -> str:
    """Return the fingerprint of all files of some cases."""
    from vsuda_cli.io.fingerprint import fingerprint

    files = [path for image, label in cases for path in (image.path, label) if path is not None]
    return fingerprint(files)


def train(
    run_folder: Path,
    command: str,
    settings: config.Training,
    options: TrainingOptions,
    *,
    data: dict[str, str],
    make: "Callable[[], tuple[Objective, Batches, Validate]]",
    metric: tuple[str, bool],
    device: "torch.device",
    extra_metadata: dict[str, Any] | None = None,
) -> Path:
    """Start or continue one run, train it to its end, report it, and return its best weights.

    The run's page is written at the end, and before a run goes on.

    `data` maps each input to its fingerprint; `make` loads the cases and returns objective,
    batches and validation function. A bad case ends the command before anything is written.
    """
    import torch

    from vsuda_cli.report.run_page import write_run_page
    from vsuda_cli.training import run as runs
    from vsuda_cli.training.engine import fit

    # The same as use_deterministic_algorithms(True, warn_only=True), which imports a compiler.
    torch.set_deterministic_debug_mode("warn")
    torch.manual_seed(settings.seed)
    run = runs.Run(run_folder)
    provenance = runs.describe(command, data, device, settings.seed)
    resumed = options.resume and run.exists()
    if resumed:
        runs.check_same(run, settings, provenance)
        write_run_page(run_folder)
    objective, batches, validate = make()
    if not resumed:
        runs.start(run, settings, provenance, force=options.force)
    metadata = {
        "command": command,
        "settings": config.to_dict(settings),
        # What predict must do with a whole scan.
        "crops": all(is_crop(case) for case in batches.case_ids()),
        **(extra_metadata or {}),
    }
    with console.progress(command, 0) as bar:
        best = fit(
            run,
            objective,
            batches,
            settings,
            validate=validate,
            metadata=metadata,
            metric=metric,
            watcher=_Terminal(bar),
        )
    console.say(f"written: {write_run_page(run_folder)}")
    _report(run_folder, best, options)
    return best


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
