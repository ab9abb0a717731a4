"""Names of structures from the command line."""

import pytest

from vsuda_cli.commands.structures import parse_classes
from vsuda_cli.errors import VsudaError


def test_names_in_order_and_the_challenges_by_default():
    assert parse_classes("intra_VS, extra_VS,cochlea") == ("intra_VS", "extra_VS", "cochlea")
    assert parse_classes(None) == ("VS", "cochlea")


@pytest.mark.parametrize("text", ["", "VS,", "VS,VS"])
def test_empty_and_repeated_names_are_refused(text):
    with pytest.raises(VsudaError, match="different names"):
        parse_classes(text)
