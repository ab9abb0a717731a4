"""The ladder's table: mean and deviation of every rung, and the share of the gap it closes.

ladder.py SCORES --rungs NAME... --markdown FILE --json FILE. SCORES holds the CSV files of
`vsuda evaluate --csv`, one a rung; the gap lies between `source-only` and `upper-bound`.
"""

import argparse
import csv
import json
import statistics
import sys
from pathlib import Path

COLUMNS = ("VS_Dice", "VS_ASSD", "cochlea_Dice", "cochlea_ASSD")


def main() -> None:
    """Write the table to both files and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--rungs", nargs="+", required=True)
    parser.add_argument("--markdown", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    rungs = {name: read(options.scores / f"{name}.csv") for name in options.rungs}
    for name, columns in rungs.items():
        for structure in ("VS", "cochlea"):
            share = closed(columns, rungs, f"{structure}_Dice")
            rungs[name][f"{structure}_gap"] = share
    options.json.write_text(json.dumps(rungs, indent=1) + "\n")
    table = markdown(rungs)
    options.markdown.write_text(table)
    sys.stdout.write(table)


def read(path: Path) -> dict[str, object]:
    """Return mean and standard deviation (n - 1) of each column's cells that are not empty."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found: dict[str, object] = {"cases": len(rows)}
    for column in COLUMNS:
        values = [float(row[column]) for row in rows if row[column]]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        found[column] = [statistics.fmean(values), deviation]
    return found


def closed(columns: dict, rungs: dict, name: str) -> float | None:
    """Return (rung - source-only) / (upper bound - source-only) of mean Dice."""
    if "upper-bound" not in rungs or "source-only" not in rungs:
        return None
    low, high = rungs["source-only"][name][0], rungs["upper-bound"][name][0]
    return (columns[name][0] - low) / (high - low) if high != low else None


def markdown(rungs: dict) -> str:
    """Return the table, one rung a row."""
    lines = ["| rung | VS Dice | VS ASSD (mm) | gap closed | cochlea Dice | cochlea ASSD (mm) |"]
    lines[0] += " gap closed |"
    lines.append("|---" * 7 + "|")
    for name, found in rungs.items():
        cells = [f"{found[c][0]:.3f} ± {found[c][1]:.3f}" for c in COLUMNS]
        gaps = ["-" if found[g] is None else f"{found[g]:.2f}" for g in ("VS_gap", "cochlea_gap")]
        lines.append("| " + " | ".join([name, *cells[:2], gaps[0], *cells[2:], gaps[1]]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
