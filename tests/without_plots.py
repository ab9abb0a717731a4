"""Pages of training runs without their curves, whose drawing takes longer than a tiny training.

That they are drawn, and how, the tests of reports and the contract of all commands tell.
"""

import contextlib
from collections.abc import Iterator
from unittest import mock


@contextlib.contextmanager
def without_plots() -> Iterator[None]:
    """Leave each plot of a run's page empty."""
    with mock.patch("vsuda_cli.report.run_page.curve_plot", return_value="<svg></svg>"):
        yield
