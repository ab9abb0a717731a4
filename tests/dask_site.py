"""A dask scheduler with worker processes on loopback, as a site would start them."""

import logging
from typing import Any

import pytest

distributed = pytest.importorskip("distributed")


def site(workers: int) -> Any:
    """Return a running cluster of so many workers with one thread each; a context manager."""
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    )
