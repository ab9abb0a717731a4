"""A training run's own page: curves, learning rate, sample pictures over the epochs."""

import base64
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vsuda_cli.errors import VsudaError
from vsuda_cli.images.ears import sample_evenly
from vsuda_cli.io.atomic import write_text
from vsuda_cli.report.curves import Curve, curve_plot
from vsuda_cli.report.page import fill
from vsuda_cli.training.run import Run

PAGE = "report.html"
# The page stays a few megabytes, however many epochs a run has.
MOST_SAMPLES = 24
LEARNING_RATE = "learning_rate"

Row = Mapping[str, float]


@dataclass(frozen=True)
class Sample:
    """The sample picture of one epoch: PNG in base64."""

    epoch: int
    png: str


def write_run_page(folder: Path) -> Path:
    """Write `report.html` into a run's folder from the files in it, and return its path.

    The same run gives the same bytes. Raises VsudaError for a damaged file.
    """
    run = Run(folder)
    rows = _read_rows(run.metrics)
    provenance = _read_json(run.provenance)
    best = _read_json(run.best) if run.best.exists() else {}
    settings = _read_settings(run.config)
    values = {
        "name": folder.name,
        "command": provenance.get("command", ""),
        "epochs": settings.get("epochs"),
        "last": rows[-1] if rows else {},
        "best": best,
        "plots": [(title, Markup(svg)) for title, svg in _plots(rows, best)],
        "samples": _samples(run.samples),
        "settings": _flat(settings),
        "foot": _flat(provenance),
    }
    path = folder / PAGE
    write_text(path, fill("run.html", ("run.js",), values))
    return path


def _plots(rows: Sequence[Row], best: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a plot for each column of the log; learning rates share the last one."""
    names = list(
        dict.fromkeys(name for row in rows for name in row if name not in ("epoch", "step"))
    )
    rates = [name for name in names if LEARNING_RATE in name]
    groups = [(name, [name]) for name in names if name not in rates]
    if rates:
        groups.append(("learning rate", rates))
    plots = []
    for number, (title, columns) in enumerate(groups):
        curves = [
            Curve(name, [(row["epoch"], row[name]) for row in rows if name in row])
            for name in columns
        ]
        marked = best.get("epoch") if best.get("metric") == title else None
        plots.append((title, curve_plot(f"curve{number}", title, curves, marked)))
    return plots


def _samples(folder: Path) -> list[Sample]:
    """Return up to MOST_SAMPLES pictures, evenly spread over the epochs, the last among them."""
    files = sorted(folder.glob("epoch-*.png"))
    return [
        Sample(
            int(files[at].stem.removeprefix("epoch-")),
            base64.b64encode(files[at].read_bytes()).decode("ascii"),
        )
        for at in sample_evenly(len(files), MOST_SAMPLES)
    ]


def _read_rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except ValueError as error:
        raise VsudaError(path, f"cannot be read ({error})", "remove the damaged line") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return content
    except (OSError, ValueError) as error:
        raise VsudaError(path, f"cannot be read ({error})", "start another run") from error


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise VsudaError(path, f"cannot be read ({error})", "start another run") from error


def _flat(nested: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Return names and values as text; nested names are joined by dots."""
    found: list[tuple[str, str]] = []
    for name, value in nested.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{name}.")
        else:
            text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
            found.append((before + name, text))
    return found
