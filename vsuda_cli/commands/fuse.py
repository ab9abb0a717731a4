"""`vsuda fuse`: several models' probabilities become one label map a case."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vsuda_cli.errors import counted
from vsuda_cli.options import BatchOptions, ClassNames, expand_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vsuda_cli.images.fusion import Step
    from vsuda_cli.io.batch import JobResult, Outcome


@expand_options
def fuse(
    probabilities: Annotated[
        list[Path],
        typer.Argument(metavar="PROBS", help="Folders of <case>_Probability, in this order."),
    ],
    out: Annotated[Path, typer.Argument(help="Folder for <case>_Label.nii.gz.")],
    options: BatchOptions,
    method: Annotated[
        str,
        typer.Option(
            "--method", metavar="confident-learning|majority|mean|staple", help="How to fuse."
        ),
    ] = "confident-learning",
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule",
            metavar="prune_by_noise_rate|prune_by_class|both|confident_learning|"
            "low_normalized_margin|low_self_confidence",
            help="Which labels confident learning doubts, in cleanlab's words.",
            show_default="prune_by_noise_rate",
        ),
    ] = None,
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty",
            help="Write <case>_Confidence (mean probability of the fused label) and "
            "<case>_Disagreement (share of models against it) too.",
        ),
    ] = False,
    classes: ClassNames = None,
) -> None:
    """Fuse two or more models' probabilities into one label map per case.

    Confident learning: the first model's labels are noisy labels; where the next model's
    probabilities say that a label is wrong, its own most probable class takes the place; the
    third cleans that, and so on. Most labels stay the first model's: name the best one first.
    Cases that are not in every folder are named and left out. A table on stderr tells how many
    voxels each step changed, per class.

    Example: vsuda fuse predictions/cutseg predictions/mt fused
    """
    from vsuda_cli import console
    from vsuda_cli.commands.running import finish, run_cases
    from vsuda_cli.commands.structures import parse_classes
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.images.confident_learning import RULES
    from vsuda_cli.images.fusion import METHODS, require_staple
    from vsuda_cli.io.batch import Job
    from vsuda_cli.io.cases import find_probabilities, output_path, refuse_same_folder

    console.set_up_logging(options.quiet, options.verbose)
    if rule is not None and method != METHODS[0]:
        problem, remedy = f"would not be used with --method {method}", "leave it away"
        raise VsudaError(f"--rule {rule}", problem, remedy)
    rule = rule or RULES[0]
    for option, value, known in (("--method", method, METHODS), ("--rule", rule, RULES)):
        if value not in known:
            raise VsudaError(f"{option} {value}", "is unknown", f"use one of {', '.join(known)}")
    if method == "staple":
        require_staple()
    if len(probabilities) < 2:
        problem = f"is the only folder to fuse: {out}, the last one, is the output"
        raise VsudaError(probabilities[0], problem, "give at least two before it")
    names = parse_classes(classes)
    found = [{file.case: file.path for file in find_probabilities(p)} for p in probabilities]
    refuse_same_folder(out, probabilities, [p for model in found for p in model.values()])
    common = sorted(set.intersection(*(set(model) for model in found)))
    if not common:
        folders = ", ".join(str(folder) for folder in probabilities)
        raise VsudaError(folders, "have no case in common", "check the folders and the file names")
    for case in sorted({case for model in found for case in model}.difference(common)):
        absent = [
            str(p) for p, model in zip(probabilities, found, strict=True) if case not in model
        ]
        console.say(f"{case}: left out, it is not in {', '.join(absent)}")
    maps = ("Confidence", "Disagreement")
    tags = ("Label", *maps) if uncertainty else ("Label",)
    jobs = []
    for case in common:
        outputs = tuple(output_path(out, case, tag) for tag in tags)
        paths = [model[case] for model in found]
        siblings = () if uncertainty else tuple(output_path(out, case, tag) for tag in maps)
        jobs.append(Job(case, outputs, (case, paths, outputs, method, rule, names), siblings))
    outcome = run_cases("Fusing", jobs, fuse_case, options)
    _show_changes(outcome, ("background", *names))
    finish(outcome)


def fuse_case(
    case: str,
    paths: "Sequence[Path]",
    outputs: "tuple[Path, ...]",
    method: str,
    rule: str,
    names: tuple[str, ...],
) -> "JobResult":
    """Fuse one case; `outputs` are the label map and, when wanted, confidence and disagreement.

    The record's `steps` tell per class how many voxels each cleaning model changed; for the other
    methods, how far the result is from the first model's.
    """
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.images import fusion
    from vsuda_cli.io.batch import JobResult
    from vsuda_cli.io.nifti import load_probability, same_grid, save_image, save_label

    volumes = [load_probability(path) for path in paths]
    for volume in volumes:
        if volume.array.shape[3] != len(names) + 1:
            problem = f"holds {volume.array.shape[3]} classes, background included"
            raise VsudaError(volume.path, problem, "name all others with --classes")
        if not same_grid(volume, volumes[0]):
            raise VsudaError(volume.path, f"is on another grid than {paths[0]}", "predict it again")
    models = [volume.array for volume in volumes]
    if method == "confident-learning":
        labels, steps = fusion.clean_in_turn(models, rule)
        authors = [str(path.parent) for path in paths[1:]]
    else:
        ways = {"majority": fusion.majority, "staple": fusion.staple}
        labels = ways[method](models) if method in ways else fusion.hard_labels(fusion.mean(models))
        changes = fusion.count_changes(fusion.hard_labels(models[0]), labels, len(names) + 1)
        steps, authors = [fusion.Step(int(changes.sum()), changes)], [method]
    affine = volumes[0].affine
    if len(outputs) > 1:
        save_image(outputs[1], fusion.confidence(models, labels), affine)
        save_image(outputs[2], fusion.disagreement(models, labels), affine)
    save_label(outputs[0], labels, affine)
    everything = ("background", *names)
    records = [_record(step, by, everything) for step, by in zip(steps, authors, strict=True)]
    notes = tuple(f"{case}: {_tell(record)}" for record in records)
    return JobResult(outputs, {"method": method, "steps": records}, notes)


def _record(step: "Step", author: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Return a step as plain data: who changed what, per class."""
    per_class = {
        name: {"gained": int(step.changes[:, k].sum()), "lost": int(step.changes[k].sum())}
        for k, name in enumerate(names)
    }
    return {"by": author, "flagged": step.flagged, "changes": per_class}


def _tell(record: dict[str, Any]) -> str:
    counts = ", ".join(f"{n} +{c['gained']} -{c['lost']}" for n, c in record["changes"].items())
    return f"{record['by']} flagged {counted(record['flagged'], 'voxel')}: {counts}"


def _show_changes(outcome: "Outcome", names: tuple[str, ...]) -> None:
    """Print to stderr how many voxels each step changed, over all cases of this call."""
    from vsuda_cli.commands.tables import print_table

    cases = [
        result.record["steps"] for result in outcome.results.values() if "steps" in result.record
    ]
    if not cases:
        return
    rows = []
    for steps in zip(*cases, strict=True):
        flagged = sum(step["flagged"] for step in steps)
        changed = sum(step["changes"][name]["gained"] for step in steps for name in names)
        cells = [
            f"+{sum(s['changes'][n]['gained'] for s in steps)} "
            f"-{sum(s['changes'][n]['lost'] for s in steps)}"
            for n in names
        ]
        rows.append([steps[0]["by"], str(flagged), str(changed), *cells])
    head = ["step", "flagged", "changed", *names]
    print_table(f"Voxels changed in {counted(len(cases), 'case')}", head, rows, to_stderr=True)
