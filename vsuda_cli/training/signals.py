"""Signals that ask a training run to end: remembered, and answered between two steps."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGTERM, SIGINT or SIGUSR1 has come since."""
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)

    # Handlers can be set in the main thread only; elsewhere the caller's handling stays.
    watched = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, remember) for number in watched}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
