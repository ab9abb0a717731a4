"""Memory that is freed by one image and taken by the next, without a detour over the kernel."""

import ctypes
import os

# Numbers of glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
# Larger arrays are mapped for themselves, and given back when they are freed: as far as glibc's own
# threshold goes. With 1 GiB `translate-export` in 3D took 948 MB instead of 725.
LARGEST_KEPT_BYTES = 1 << 25
# So much free memory is kept at the end of each arena.
MOST_KEPT_BYTES = 1 << 29
# Whoever sets these knows better.
OWN_SETTINGS = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def keep_freed_memory() -> None:
    """Have glibc keep what this process frees for what it asks for next; elsewhere, nothing.

    By itself it gives arrays back as soon as a thread has freed them, and the kernel has to find
    and clear pages for the next ones, one thread after another: half of the time that loading a
    crop takes (tests/benchmarks/loading.py), and a tenth of a training's on CPUs.
    """
    if any(name in os.environ for name in OWN_SETTINGS):
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        set_option(M_TRIM_THRESHOLD, MOST_KEPT_BYTES)
