"""Keep the memory of freed tensors instead of giving it back to the system after every operation.

glibc maps each large block separately and returns it when it is freed, so every result of every operation is made of
pages that the kernel has to find and clear first. On a CPU that costs a training step a tenth of its time and more.

Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_MAPPED_ABOVE = (1 << 30, 32 << 20)  # bytes; older versions of glibc refuse more than 32 MiB
_KEPT = 2**31 - 1  # bytes of free memory at the top of the heap, the largest that mallopt takes


def keep_freed_memory() -> bool:
    """Let this process reuse the memory of freed tensors; call it once, before large allocations.

    Peak memory stays what it was; between operations the process keeps what it has used. No result changes.

    Returns: False where the C library is not glibc; nothing has changed there.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):  # musl has a mallopt that does nothing
        return False
    kept = library.mallopt(_TRIM_THRESHOLD, _KEPT)
    return bool(kept) and any(library.mallopt(_MMAP_THRESHOLD, size) for size in _MAPPED_ABOVE)
