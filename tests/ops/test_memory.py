"""Freed memory is used again, and only where the C library can do it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from model.ops.memory import keep_freed_memory

FAULTS = """
import resource, sys
import torch
from model.ops.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(16):  # the heap grows for a few rounds, then it serves all
    torch.ones(12 << 20)
begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(12 << 20)  # 48 MiB, freed at once; glibc maps everything above 32 MiB afresh unless told otherwise
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun)
"""


def page_faults(choice: str) -> int:
    command = [sys.executable, "-c", FAULTS, choice]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt of glibc")
def test_a_freed_tensors_pages_serve_the_next_tensor() -> None:
    assert page_faults("keep") * 10 < page_faults("leave")


def test_another_operating_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt of glibc")
def test_an_older_library_that_refuses_a_large_limit_gets_the_largest_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    class OldLibrary:
        gnu_get_libc_version = None

        def mallopt(self, name: int, value: int) -> int:
            asked.append((name, value))
            return int(name != -3 or value <= 32 << 20)

    monkeypatch.setattr("ctypes.CDLL", lambda name: OldLibrary())
    assert keep_freed_memory() is True
    assert asked[-1] == (-3, 32 << 20)
