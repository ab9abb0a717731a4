"""The ladder's table: scores of every rung, the share of the gap it closes, minutes of training.

ladder.py OUT... --rungs NAME... --markdown FILE --json FILE. An OUT is a folder of this recipe: its
`scores` are the CSV files of `vsuda evaluate --csv`, one a rung. Of one OUT the table holds mean
and standard deviation over its scans, of several, which differ by their seed, those of their means.
The gap lies between `source-only` and `upper-bound`. The minutes are wall time from the beginning
to the end of a rung's own training (of both, where it has two), with what interrupted it.
"""

import argparse
import csv
import json
import statistics
import sys
from pathlib import Path

METRICS = ("Dice", "ASSD")


def main() -> None:
    """Write the table to both files and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outs", type=Path, nargs="+", metavar="OUT")
    parser.add_argument("--rungs", nargs="+", required=True)
    parser.add_argument("--markdown", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    rungs = {name: measured(options.outs, name) for name in options.rungs}
    structures = [key.removesuffix("_Dice") for key in rungs[options.rungs[0]] if "_Dice" in key]
    for columns in rungs.values():
        for structure in structures:
            columns[f"{structure}_gap"] = closed(columns, rungs, f"{structure}_Dice")
    options.json.write_text(json.dumps(rungs, indent=1) + "\n")
    table = markdown(rungs, structures)
    options.markdown.write_text(table)
    sys.stdout.write(table)


def measured(outs: list[Path], name: str) -> dict[str, object]:
    """Return each column's [mean, standard deviation (n - 1)], and the mean minutes of training."""
    runs = [read(out / "scores" / f"{name}.csv") for out in outs]
    found: dict[str, object] = {"runs": len(runs)}
    for column in runs[0]:
        of_scans = [run[column] for run in runs]
        values = of_scans[0] if len(runs) == 1 else [statistics.fmean(one) for one in of_scans]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        found[column] = [statistics.fmean(values), deviation]
    minutes = [minutes_of_training(out / "runs", name) for out in outs]
    known = [one for one in minutes if one is not None]
    found["minutes"] = statistics.fmean(known) if known else None
    return found


def read(path: Path) -> dict[str, list[float]]:
    """Return the cells that are not empty of each structure's Dice and ASSD."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns = [name for name in rows[0] if name.endswith(tuple(f"_{one}" for one in METRICS))]
    return {column: [float(row[column]) for row in rows if row[column]] for column in columns}


def minutes_of_training(runs: Path, name: str) -> float | None:
    """Return the minutes from a run's settings to its last metrics; None where none was trained."""
    own = [runs / one for one in (name, f"{name}-a", f"{name}-b") if (runs / one).is_dir()]
    # Of CutSeg's run, the fine-tuned one lies inside.
    own += [run / "fine-tuned" for run in own if (run / "fine-tuned").is_dir()]
    ends = [(run / "config.toml", run / "metrics.jsonl") for run in own]
    if not ends:
        return None
    return sum(last.stat().st_mtime - first.stat().st_mtime for first, last in ends) / 60


def closed(columns: dict, rungs: dict, name: str) -> float | None:
    """Return (rung - source-only) / (upper bound - source-only) of mean Dice."""
    if "upper-bound" not in rungs or "source-only" not in rungs:
        return None
    low, high = rungs["source-only"][name][0], rungs["upper-bound"][name][0]
    return (columns[name][0] - low) / (high - low) if high != low else None


def markdown(rungs: dict, structures: list[str]) -> str:
    """Return the table, one rung a row."""
    head = ["rung"]
    for structure in structures:
        head += [f"{structure} Dice", f"{structure} ASSD (mm)", "gap closed"]
    head.append("training (min)")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, found in rungs.items():
        row = [name]
        for structure in structures:
            for metric in METRICS:
                mean, deviation = found[f"{structure}_{metric}"]
                row.append(f"{mean:.3f} ± {deviation:.3f}")
            gap = found[f"{structure}_gap"]
            row.append("-" if gap is None else f"{gap:.2f}")
        row.append("-" if found["minutes"] is None else f"{found['minutes']:.1f}")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
