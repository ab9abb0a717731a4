"""Signals are remembered while a run goes on, and handled as before afterwards."""

import os
import signal
import threading

import pytest

from vsuda_cli.training.signals import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_is_remembered_and_the_handler_before_comes_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert stop(), "it is not forgotten by being asked for"
    assert signal.getsignal(number) == before


def test_another_thread_leaves_the_handlers_alone() -> None:
    seen = []

    def watch() -> None:
        with stop_on_signals() as stop:
            seen.append((signal.getsignal(signal.SIGTERM), stop()))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert seen == [(before, False)]
