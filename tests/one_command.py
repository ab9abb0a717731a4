"""One command alone, called with words as from a shell; what it raises is raised here."""

from collections.abc import Callable
from typing import Any

import typer
from click.testing import Result
from typer.testing import CliRunner


def caller(command: Callable[..., Any]) -> Callable[..., Result]:
    """Return a function that calls a command with words and returns exit code and streams."""

    def call(*words: object) -> Result:
        app = typer.Typer()
        app.command()(command)
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call
