"""What a shell offers where an option wants one of a few values."""

import json
from collections.abc import Callable
from typing import Any

import typer

# Stands for any number in `best|last|N`.
NUMBER = "N"
# Ends the metavar of an option that takes several of its values, with commas between.
SEVERAL = ",..."


def values_of(metavar: str) -> list[str]:
    """Return the words that can be typed for `a|b|N` or `a|b[:INDEX]`; none for any other text."""
    if "|" not in metavar:
        return []
    words = metavar.removesuffix(SEVERAL).split("|")
    return [word.partition("[")[0] for word in words if word != NUMBER]


def complete_values(metavar: str) -> Callable[[str], list[str]] | None:
    """Return the completion of an option with this metavar; None if its values are open."""
    values = values_of(metavar)
    if not values:
        return None

    def complete(incomplete: str) -> list[str]:
        typed = incomplete.rpartition(",") if metavar.endswith(SEVERAL) else ("", "", "")
        before = typed[0] + typed[1]
        return [before + value for value in values if value not in typed[0].split(",")]

    return complete


def complete_setting(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the names of a training command's settings as KEY=, nested ones as unet.dropout=.

    Where only one is left its value in preset paper stands beside it: for an example, and because
    shells put a space after what is the only choice.
    """
    known = {f"{key}=": value for key, value in settings_of(str(ctx.info_name)).items()}
    found = [key for key in known if key.startswith(incomplete) or incomplete.startswith(key)]
    if len(found) == 1:
        return [*found, found[0] + _typed(known[found[0]])]
    return found


def settings_of(command: str) -> dict[str, Any]:
    """Return a training command's settings in preset paper, by the names that --set takes."""
    from vsuda_cli import config
    from vsuda_cli.resolving import to_flat

    kinds: dict[str, type[config.Training]] = {
        "translate-train": config.TranslationSettings,
        "seg-train": config.SegmentationSettings,
        "mt-train": config.MeanTeacherSettings,
        "cutseg-train": config.CutSegSettings,
    }
    return to_flat(kinds[command]())


def _typed(value: Any) -> str:
    # JSON's numbers, lists and booleans are TOML's; text needs no quotes, which shells would eat.
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
