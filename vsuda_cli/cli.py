"""The `vsuda` program: its commands, and how errors become exit codes."""

import os
import re
import signal
import sys
import traceback
from functools import partial
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from vsuda_cli import __version__, console
from vsuda_cli.commands.atlas import atlas
from vsuda_cli.commands.check import check
from vsuda_cli.commands.crop import crop
from vsuda_cli.commands.cutseg_train import cutseg_train
from vsuda_cli.commands.evaluate import evaluate
from vsuda_cli.commands.fuse import fuse
from vsuda_cli.commands.mt_train import mt_train
from vsuda_cli.commands.phantom import phantom
from vsuda_cli.commands.postprocess import postprocess
from vsuda_cli.commands.predict import predict
from vsuda_cli.commands.rank import rank
from vsuda_cli.commands.seg_train import seg_train
from vsuda_cli.commands.translate_export import translate_export
from vsuda_cli.commands.translate_train import translate_train
from vsuda_cli.errors import InterruptedRunError, VsudaError, file_of
from vsuda_cli.help_page import HelpfulCommand, HelpfulGroup
from vsuda_cli.io.memory import keep_freed_memory
from vsuda_cli.options import variables_of

# The exit code of what a signal ended.
INTERRUPTED = 130
DATA = "Data"
ADAPT = "Learning across domains"
SEGMENT = "Segmenting and scoring"

app = typer.Typer(
    name="vsuda",
    cls=HelpfulGroup,
    help="Learn a segmentation from labelled scans of one MR contrast and use it on another.",
    epilog="Commands read and write folders of <case>_<tag>.nii.gz; chain them with && or make. "
    "Variables set options, of all commands (VSUDA_WORKERS=2) or of one (VSUDA_FUSE_METHOD=mean).",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    add_completion=True,
)
_command = partial(app.command, cls=HelpfulCommand)
_command(rich_help_panel=DATA)(phantom)
_command(rich_help_panel=DATA)(check)
_command(rich_help_panel=DATA)(atlas)
_command(rich_help_panel=DATA)(crop)
_command("translate-train", rich_help_panel=ADAPT)(translate_train)
_command("translate-export", rich_help_panel=ADAPT)(translate_export)
_command("seg-train", rich_help_panel=ADAPT)(seg_train)
_command("mt-train", rich_help_panel=ADAPT)(mt_train)
_command("cutseg-train", rich_help_panel=ADAPT)(cutseg_train)
_command(rich_help_panel=SEGMENT)(predict)
_command(rich_help_panel=SEGMENT)(fuse)
_command(rich_help_panel=SEGMENT)(postprocess)
_command(rich_help_panel=SEGMENT)(evaluate)
_command(rich_help_panel=SEGMENT)(rank)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.emit_line(f"vsuda {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    if not _is_quiet():
        for line in _unknown_variables(context.command):
            console.say(line)


def _unknown_variables(group: Any) -> list[str]:
    """Return a line for each variable VSUDA_... that sets no option of any command."""
    prefix = "VSUDA_"
    variables = [variable for variable in sorted(os.environ) if variable.startswith(prefix)]
    if not variables:
        return []
    import difflib

    known: set[str] = set()
    for command in group.commands.values():
        for option in command.params:
            names = [option.envvar] if isinstance(option.envvar, str) else option.envvar or []
            known.update(name.removeprefix(prefix) for name in names)
    lines = []
    for variable in variables:
        name = variable.removeprefix(prefix)
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            does = f"; {prefix}{near[0]} does" if near else ""
            lines.append(f"{variable} sets no option{does}")
    return lines


def main() -> NoReturn:
    """Run `vsuda`; every outcome ends here as one of the exit codes 0, 1, 2 and 130."""
    console.replace_closed_streams()
    keep_freed_memory()
    # A requeued or cancelled job gets SIGTERM or SIGUSR1; it ends as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _interrupt)
    sys.exit(_run())


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _run() -> int:
    try:
        # With standalone_mode off, typer.Exit comes back as its code and usage errors are raised.
        outcome = app(prog_name="vsuda", standalone_mode=False)
        # typer's own answer to Ctrl-C, which says nothing.
        if outcome == INTERRUPTED:
            return _interrupted("interrupted")
        return outcome if isinstance(outcome, int) else 0
    except typer.Abort:
        return _interrupted("interrupted")
    except (KeyboardInterrupt, InterruptedRunError) as stop:
        return _interrupted(str(stop) or "interrupted")
    except VsudaError as error:
        _explain(str(error))
        return 2
    except BrokenPipeError:
        console.close_stdout()
        return 0
    except Exception as error:  # noqa: BLE001
        return _unexpected(error)


def _unexpected(error: Exception) -> int:
    show = getattr(error, "show", None)
    if callable(show):  # a usage error of click's: it prints itself, with a hint at --help
        show()
        return 2
    if isinstance(error, OSError):
        where = file_of(error, "output")
        remedy = "check the path, its permissions and the space left"
        _explain(f"{where}: {error.strerror or error}; {remedy}")
        return 2
    _explain(f"{type(error).__name__}: {error}; please report this, with the output of -vv")
    return 2


def _interrupted(message: str) -> int:
    console.fail(message)
    return INTERRUPTED


def _explain(message: str) -> None:
    console.fail(message)
    if _verbosity() >= 2:
        traceback.print_exc()


def _verbosity() -> int:
    """Count the options -v as typed: the error may be that they could not be read."""
    typed = sum(len(word) - 1 for word in sys.argv if re.fullmatch("-v+", word))
    told = _variable("verbose")
    return typed + sys.argv.count("--verbose") or (int(told) if told.isdecimal() else 0)


def _is_quiet() -> bool:
    """Tell whether -q was typed, or set, before the command has read its options."""
    typed = any(re.fullmatch("-[a-z]*q[a-z]*|--quiet", word) for word in sys.argv)
    return typed or _variable("quiet") not in ("", "0")


def _variable(option: str) -> str:
    """Return what the environment sets an option of the called command to."""
    own, common = variables_of("".join(sys.argv[1:2]), option)
    return os.environ.get(own) or os.environ.get(common, "")
