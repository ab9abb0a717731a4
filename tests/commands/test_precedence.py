"""A setting given twice: what was typed wins over the environment, and contradictions are told."""

import pytest

from vsuda_cli.commands.precedence import SET, without_overridden
from vsuda_cli.errors import VsudaError

VALUES = {"epochs": 4, "seed": None}


@pytest.mark.parametrize(
    ("typed", "kept"), [({SET}, ["epochs=9", "seed=1"]), ({"epochs"}, ["seed=1"])]
)
def test_what_was_typed_wins(typed: set[str], kept: list[str]) -> None:
    assert without_overridden(VALUES, ["epochs=9", "seed=1"], typed) == kept


@pytest.mark.parametrize("typed", [{SET, "epochs"}, set()])
def test_both_from_one_place_contradict(typed: set[str]) -> None:
    with pytest.raises(VsudaError, match="--set epochs=9: is also given as --epochs"):
        without_overridden(VALUES, ["seed=1", "epochs=9"], typed)


def test_without_assignments_there_is_nothing_to_keep() -> None:
    assert without_overridden(VALUES, None, set()) == []
