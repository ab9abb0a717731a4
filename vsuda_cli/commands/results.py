"""How `evaluate` shows and writes scores: tables on the terminal, CSV, JSON, the report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vsuda_cli import console
from vsuda_cli.commands.scoring import Measures, ScoredPair
from vsuda_cli.commands.tables import number, print_table
from vsuda_cli.errors import counted
from vsuda_cli.io.batch import Outcome
from vsuda_cli.report.model import ReportCase
from vsuda_cli.report.summary import column, group_names, in_group, summarise, values_of


def report_cases(outcome: Outcome, groups: Mapping[str, str]) -> list[ReportCase]:
    """Return all cases, failed ones too, sorted by name; `groups` is empty without groups."""
    cases = [
        ReportCase(
            case, result.record["scores"], result.record.get("drawing"), group=groups.get(case, "")
        )
        for case, result in outcome.results.items()
    ]
    cases += [
        ReportCase(failure.case, error=failure.message, group=groups.get(failure.case, ""))
        for failure in outcome.failures
    ]
    return sorted(cases, key=lambda case: case.case)


def show(
    cases: Sequence[ReportCase], measures: Measures, group_column: str, *, to_stderr: bool = False
) -> None:
    """Print the table of structures and metrics, and one for each group if there are groups.

    Says on stderr where a metric is not defined, and how many components were found. Tables are
    the data of stdout, but where that is another output's (`to_stderr`).
    """
    scored = [case for case in cases if not case.failed]
    _show_table(counted(len(scored), "case"), scored, measures, to_stderr=to_stderr)
    for name in group_names(scored):
        some = in_group(scored, name)
        title = f"{group_column} {name}: {counted(len(some), 'case')}"
        _show_table(title, some, measures, to_stderr=to_stderr)
    for structure in measures.structures:
        for metric in measures.metrics:
            absent = len(scored) - len(values_of(scored, column(structure, metric)))
            if absent:
                cases_without = counted(absent, "case")
                console.say(f"{structure} {metric}: not defined in {cases_without}, not counted")
    if measures.detection:
        for structure in measures.structures:
            found, missed, false = (
                int(sum(values_of(scored, column(structure, metric))))
                for metric in ("Found", "Missed", "False")
            )
            parts = f"{found} of {found + missed} components found, {false} false ones"
            console.say(f"{structure}: {parts}")


def _show_table(
    title: str, cases: Sequence[ReportCase], measures: Measures, *, to_stderr: bool
) -> None:
    head = ["", "cases", "mean", "sd", "median", "25%", "75%"]
    rows = []
    for row in summarise(cases, measures.structures, measures.metrics):
        figures = (row.mean, row.sd, row.median, row.lower_quartile, row.upper_quartile)
        name = f"{row.structure} {row.metric}{measures.unit(row.metric)}"
        rows.append([name, str(row.count), *(number(value, 4) for value in figures)])
    print_table(title, head, rows, to_stderr=to_stderr)


def is_stdout(path: Path | None) -> bool:
    """Tell whether `-` is asked for, and not a file."""
    return path is not None and str(path) == "-"


def _write(path: Path, text: str) -> None:
    """Write a text to a file, named on stderr, or to stdout."""
    from vsuda_cli.io.atomic import write_text

    if is_stdout(path):
        console.emit_line(text.removesuffix("\n"))
        return
    write_text(path, text)
    console.say(f"written: {path}")


def write_csv(path: Path, cases: Sequence[ReportCase], measures: Measures) -> None:
    """Write one row per scored case, to a file or, for `-`, to stdout."""
    from vsuda_cli.io.scores import score_table

    rows = {case.case: case.scores for case in cases if not case.failed}
    _write(path, score_table(measures.columns, rows))


def write_json(
    path: Path, cases: Sequence[ReportCase], measures: Measures, group_column: str
) -> None:
    """Write scores, failures and summaries, to a file or, for `-`, to stdout."""

    def rows(some: Sequence[ReportCase]) -> list[dict[str, Any]]:
        return [vars(row) for row in summarise(some, measures.structures, measures.metrics)]

    group = {case.case: {group_column: case.group} if case.group else {} for case in cases}
    content: dict[str, Any] = {
        "structures": measures.structures,
        "assd": "pooled" if measures.pooled else "challenge",
        "surface_dice_mm": measures.surface_dice_mm,
        "cases": [{"case": c.case, **group[c.case], **c.scores} for c in cases if not c.failed],
        "failed": [{"case": c.case, **group[c.case], "error": c.error} for c in cases if c.failed],
        "summary": rows(cases),
    }
    names = group_names(cases)
    if names:
        content["summary_by"] = {group_column: {n: rows(in_group(cases, n)) for n in names}}
    _write(path, json.dumps(content, indent=1) + "\n")


def write_html(
    path: Path,
    cases: Sequence[ReportCase],
    measures: Measures,
    group_column: str,
    pairs: Sequence[ScoredPair],
    niivue: str,
) -> None:
    """Write the report with all cases, and name the file on stderr."""
    from vsuda_cli.commands.report_foot import foot
    from vsuda_cli.report.model import Report
    from vsuda_cli.report.page import write_report

    shown = {case.case for case in cases}
    files = [
        file
        for pair in pairs
        for file in (pair.reference, pair.prediction, pair.scan)
        if file is not None and pair.case in shown
    ]
    report = Report(
        title="Scores",
        structures=measures.structures,
        metrics=measures.metrics,
        cases=cases,
        foot=foot(files),
        units={metric: measures.unit(metric) for metric in measures.metrics},
        group_column=group_column,
        viewer=niivue,
    )
    write_report(path, report)
    console.say(f"written: {path}")
