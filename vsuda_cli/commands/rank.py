"""`vsuda rank`: the challenge's ranking of teams or models from score files."""

from pathlib import Path
from typing import Annotated

import typer

from vsuda_cli import console
from vsuda_cli.options import LogOptions, expand_options


@expand_options
def rank(
    scores: Annotated[
        list[Path], typer.Argument(metavar="SCORES.csv", help="Files of vsuda evaluate --csv.")
    ],
    options: LogOptions,
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics", metavar="Dice|ASSD|HD95|SurfaceDice,...", help="Which metrics decide."
        ),
    ] = "Dice,ASSD",
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a team on stdout instead of tables.")
    ] = False,
    bootstrap: Annotated[
        int,
        typer.Option(
            "--bootstrap",
            min=0,
            help="Resamples of the cases, for stability; 1000 are usual.",
        ),
    ] = 0,
    tests: Annotated[
        bool, typer.Option("--tests", help="Add Wilcoxon signed-rank tests, Holm-corrected.")
    ] = False,
    parts: Annotated[
        bool, typer.Option("--parts", help="Add the ranking by each structure and metric.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of --bootstrap.")] = 0,
) -> None:
    """Rank teams or models as the crossMoDA challenge did, best first.

    Per case, structure and metric the teams get ranks (equal ones the better rank); their mean is
    the case's rank, its mean over the cases ranks the teams. A file is one team, named as the
    file; files in the challenge's own layout (a column Team) hold several. Means stand beside.

    Example: vsuda rank fused.csv mt.csv
    """
    from vsuda_cli.commands.leaderboard import join, show_board, show_stability, show_tests
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.images.ranking import MORE_IS_BETTER, metric_of
    from vsuda_cli.io.scores import read_scores

    console.set_up_logging(options.quiet, options.verbose)
    wanted = [name.strip() for name in metrics.split(",")]
    for name in wanted:
        if name not in MORE_IS_BETTER:
            known = ", ".join(MORE_IS_BETTER)
            raise VsudaError(f"--metrics {name}", "cannot rank", f"use some of {known}")
    teams = [team for path in scores for team in read_scores(path)]
    if bootstrap and len(teams) < 2:
        raise VsudaError("--bootstrap", "needs two teams", "give more score files")
    tables = join(teams, wanted)
    deciding = {name: table for name, table in tables.items() if metric_of(name) in wanted}
    if not deciding:
        columns = ", ".join(tables)
        raise VsudaError(scores[0], f"has no {metrics} among {columns}", "set --metrics")
    names = [team.team for team in teams]
    show_board(names, tables, deciding, parts=parts, as_json=as_json)
    if bootstrap:
        show_stability(names, deciding, bootstrap, seed, as_json=as_json)
    if tests:
        show_tests(names, deciding, as_json=as_json)
