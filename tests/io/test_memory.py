"""Arrays that threads free and ask for again, and the pages that the kernel clears for them."""

import os
import platform
import subprocess
import sys

import pytest

from vsuda_cli.io.memory import OWN_SETTINGS

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's memory")

# Arrays of 4 MB, as crops have, in a thread, which is where glibc gives them back.
FAULTS = """
import resource, threading
import numpy as np
from vsuda_cli.io.memory import keep_freed_memory

def ask_and_free():
    for _ in range(3):
        arrays = [np.ones(1 << 20, np.float32) for _ in range(4)]
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(20):
        arrays = [np.ones(1 << 20, np.float32) for _ in range(4)]
    print(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)

keep_freed_memory()
thread = threading.Thread(target=ask_and_free)
thread.start()
thread.join()
"""


def _faults(**settings: str) -> int:
    ours = {name: value for name, value in os.environ.items() if name not in OWN_SETTINGS}
    command = [sys.executable, "-c", FAULTS]
    ran = subprocess.run(command, env=ours | settings, capture_output=True, text=True, check=True)
    return int(ran.stdout)


def test_what_is_freed_is_kept_for_what_is_asked_for_next() -> None:
    assert _faults() < 1000


def test_settings_of_the_users_own_stay() -> None:
    assert _faults(MALLOC_TRIM_THRESHOLD_="131072") > 10000
