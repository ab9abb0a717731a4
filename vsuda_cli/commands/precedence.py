"""A setting given twice: the command line before the environment, and never two of one kind."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vsuda_cli.errors import VsudaError

SET = "set_values"


def without_overridden(
    values: Mapping[str, Any], assignments: Sequence[str] | None, typed: Collection[str]
) -> list[str]:
    """Return the assignments (KEY=VALUE) of --set, without those that an option overrides.

    values: what options gave, by their setting's key, None where they are not given. typed: the
    parameters of the command line; others come from the environment (VSUDA_SET, VSUDA_EPOCHS) and
    give way. Raises VsudaError where one key was given both ways in the same place.
    """
    kept = []
    for text in assignments or []:
        key = text.partition("=")[0].strip()
        if values.get(key) is None or (SET in typed and key not in typed):
            kept.append(text)
        elif (SET in typed) == (key in typed):
            raise VsudaError(f"--set {text}", f"is also given as --{key}", "give one of the two")
    return kept
