"""Options that several commands share, and the decorator that puts them into a signature."""

import copy
import dataclasses
import inspect
import math
import typing
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.models import ArgumentInfo, OptionInfo

from vsuda_cli.completion import complete_setting, complete_values
from vsuda_cli.errors import VsudaError

Function = TypeVar("Function", bound=Callable[..., Any])

ClassNames = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="NAME,...",
        help="Names of labels 1, 2, ...",
        show_default="VS,cochlea",
    ),
]
# What stands for a value in help, where an option says nothing better. Paths say DIR or FILE.
METAVARS = {int: "INT", float: "FLOAT", str: "TEXT"}


@dataclasses.dataclass(frozen=True)
class LogOptions:
    """How much is said on stderr."""

    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr.")] = False
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="More detail; -vv adds tracebacks.")
    ] = 0


@dataclasses.dataclass(frozen=True)
class OutputOptions(LogOptions):
    """What happens to outputs that exist, and how written paths are reported."""

    force: Annotated[bool, typer.Option("--force", help="Replace existing outputs.")] = False
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Keep outputs that are there and whole.")
    ] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written; write nothing.")
    ] = False
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line on stdout instead of paths.")
    ] = False

    def __post_init__(self) -> None:
        """Raise VsudaError for options that contradict one another."""
        _refuse_both("--skip-existing", self.skip_existing, self.force)


@dataclasses.dataclass(frozen=True)
class CaseOptions(OutputOptions):
    """Which share of the cases this call takes."""

    shard: Annotated[
        str | None,
        typer.Option(
            "--shard", metavar="I/N", help="Take every N-th case, from the I-th (1-based)."
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class DaskOptions:
    """Whose workers do the work."""

    dask: Annotated[
        str | None,
        typer.Option(
            "--dask",
            metavar="ADDRESS",
            help="Let the workers of this dask scheduler (address or file) do the work.",
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class WorkerOptions(DaskOptions):
    """Which processes do the work."""

    workers: Annotated[
        int,
        typer.Option("--workers", min=1, help="Worker processes; they share the CPU's threads."),
    ] = 1


@dataclasses.dataclass(frozen=True)
class BatchOptions(CaseOptions, WorkerOptions):
    """A command that works case by case, in worker processes."""


@dataclasses.dataclass(frozen=True)
class DeviceOptions:
    """Where networks run."""

    device: Annotated[
        str,
        typer.Option("--device", metavar="auto|cpu|cuda[:INDEX]", help="Where networks run."),
    ] = "auto"


@dataclasses.dataclass(frozen=True)
class NetworkOptions(CaseOptions, DaskOptions, DeviceOptions):
    """A command that puts cases through a network."""


@dataclasses.dataclass(frozen=True)
class TrainingOptions(LogOptions, DeviceOptions):
    """What every training command takes; None means: left to --config and --preset."""

    preset: Annotated[
        str,
        typer.Option(
            "--preset",
            metavar="paper|small",
            help="Default settings: the paper's full size (for a GPU), or small (for a CPU).",
        ),
    ] = "paper"
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="Settings from a TOML file, as a run's config.toml."
        ),
    ] = None
    set_values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one setting, e.g. batch_size=2; repeatable. --dry-run lists all.",
            autocompletion=complete_setting,
        ),
    ] = None
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, help="Training epochs, in place of the preset's."),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, help="Seed of everything random; 0 unless --config or this sets it."
        ),
    ] = None
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the run if it exists, start it otherwise."),
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Start anew over an existing run.")] = False
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the resolved settings on stderr; write nothing."),
    ] = False
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line on stdout instead of paths.")
    ] = False
    # No option: which of the command's parameters were typed, and do not come from elsewhere.
    typed: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Raise VsudaError for options that contradict one another."""
        _refuse_both("--resume", self.resume, self.force)


def _give_way(values: dict[str, Any], typed: frozenset[str]) -> None:
    """Leave away what the environment alone says where what was typed contradicts it."""
    for pair in (("skip_existing", "force"), ("resume", "force")):
        given = typed & set(pair)
        if all(values.get(name) for name in pair) and len(given) == 1:
            values.update({name: name in given for name in pair})


def _refuse_both(keeping: str, keep: bool, force: bool) -> None:
    if keep and force:
        raise VsudaError(keeping, "contradicts --force", "give one of the two")


def expand_options(function: Function) -> Function:
    """Replace each dataclass parameter of a command by that dataclass's fields.

    An option without a metavar gets one from its type; an a|b|c metavar also gives shell
    completion.
    Every option also gets the environment variables `VSUDA_<COMMAND>_<OPTION>`, and after it
    `VSUDA_<OPTION>`, so that a job script can set it once for one command or for all of them.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    own = function.__name__
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if dataclasses.is_dataclass(hint):
            groups[parameter.name] = hint
        else:
            annotation = _described(own, parameter.name, hint)
            parameters.append(parameter.replace(annotation=annotation))
    for group in groups.values():
        group_hints = typing.get_type_hints(group, include_extras=True)
        for field in _options_of(group):
            parameters.append(
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=field.default,
                    annotation=_described(own, field.name, group_hints[field.name]),
                )
            )

    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters.append(context)

    @wraps(function)
    def command(context: typer.Context, **values: Any) -> Any:
        typed = frozenset(name for name in values if _is_typed(context, name))
        _give_way(values, typed)
        for name, group in groups.items():
            given = {field.name: values.pop(field.name) for field in _options_of(group)}
            if issubclass(group, TrainingOptions):
                given["typed"] = typed
            values[name] = group(**given)
        return function(**values)

    # Typer reads the signature and the annotations; both must show the expanded form.
    ordered = sorted(parameters, key=lambda p: p.kind == inspect.Parameter.KEYWORD_ONLY)
    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in ordered]
    command.__dict__["__signature__"] = inspect.Signature(keyword)
    command.__annotations__ = {p.name: p.annotation for p in keyword}
    return typing.cast(Function, command)


def variables_of(command: str, option: str) -> list[str]:
    """Return the environment variables that set a command's option, the one that wins first."""
    names = (f"{command}_{option}", option)
    return [f"VSUDA_{name}".replace("-", "_").upper() for name in names]


def _options_of(group: Any) -> list["dataclasses.Field[Any]"]:
    return [field for field in dataclasses.fields(group) if field.name != "typed"]


def _is_typed(context: typer.Context, name: str) -> bool:
    # By its name: Typer has a Click of its own, or shares one, depending on its version.
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _described(command: str, name: str, hint: Any) -> Any:
    if typing.get_origin(hint) is not Annotated:
        return hint
    kind, *extras = typing.get_args(hint)
    changed = []
    for extra in extras:
        if isinstance(extra, ArgumentInfo):
            extra = copy.copy(extra)
            extra.metavar = extra.metavar or name.upper()
        elif isinstance(extra, OptionInfo):
            # Typer keeps the first name given in `default`, the others in `param_decls`.
            given = (extra.default, *(extra.param_decls or ()))
            long = [text for text in given if isinstance(text, str) and text.startswith("--")]
            option = long[0].split("/")[0][2:] if long else name
            extra = _copy_option(extra, variables_of(command, option))
            kinds = _kinds(kind)
            if bool not in kinds:
                shown = [word for one, word in METAVARS.items() if one in kinds]
                extra.metavar = extra.metavar or next(iter(shown), None)
                extra.autocompletion = extra.autocompletion or complete_values(extra.metavar or "")
            if float in kinds:
                extra.callback = _refuse_nan
        changed.append(extra)
    return Annotated[(kind, *changed)]


def _kinds(hint: Any) -> set[Any]:
    """Return the plain types in `list[str] | None` and the like."""
    parts = typing.get_args(hint)
    return set().union(*(_kinds(part) for part in parts)) if parts else {hint}


def _copy_option(option: OptionInfo, variables: list[str]) -> OptionInfo:
    changed = copy.copy(option)
    changed.envvar = changed.envvar or variables
    # The variables follow from the option's name; help would only repeat it for every option.
    changed.show_envvar = False
    return changed


def _refuse_nan(value: float | None) -> float | None:
    # It is neither below nor above any limit, and would pass all of them.
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is no number to compare with")
    return value
