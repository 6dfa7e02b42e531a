"""How many jobs of a pool run side by side on this machine, and on which devices."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import SimpleQueue


class Lanes:
    """How many stages of a pool run side by side; each GPU lane is one device."""

    def __init__(self, slots: Mapping[str, list[Mapping[str, str]]]) -> None:
        """Make lanes from ``{pool: [environment of each lane]}``; a pool that is not named has one lane."""
        self._free: dict[str, SimpleQueue[Mapping[str, str]]] = {}
        self._lock = threading.Lock()
        for pool, environments in slots.items():
            self._free[pool] = SimpleQueue()
            for environment in environments:
                self._free[pool].put(environment)

    @contextmanager
    def lane(self, pool: str) -> Iterator[Mapping[str, str]]:
        """Wait for a free lane; gives the environment variables that pin a stage to it."""
        with self._lock:
            if pool not in self._free:
                self._free[pool] = SimpleQueue()
                self._free[pool].put({})
        environment = self._free[pool].get()
        try:
            yield environment
        finally:
            self._free[pool].put(environment)


def make_lanes(gpu_slots: int | None, gpus: int | str = 1) -> Lanes:
    """One lane per core for ``cpu``; for ``gpu`` as many as the devices serve, or ``gpu_slots`` (1 without a device).

    Args:
        gpu_slots: stages of the pool ``gpu`` side by side; None is one per group of devices.
        gpus: devices that one stage uses (``train.gpus``), or ``all``.
    """
    devices = gpu_devices()
    width = len(devices) if gpus == "all" else min(int(gpus), len(devices))  # too few: the stage says so itself
    groups = [devices[first : first + width] for first in range(0, len(devices) - width + 1, width or 1)]
    groups = [group for group in groups if group]
    count = gpu_slots or len(groups) or 1
    pinned: list[Mapping[str, str]] = [
        {"CUDA_VISIBLE_DEVICES": ",".join(groups[n % len(groups)])} if groups else {} for n in range(count)
    ]
    anywhere: list[Mapping[str, str]] = [{} for _ in range(os.cpu_count() or 1)]
    return Lanes({"cpu": anywhere, "gpu": pinned})


def gpu_devices() -> list[str]:
    """Names for CUDA_VISIBLE_DEVICES of the GPUs this process may use; empty without one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device for device in visible.split(",") if device not in ("", "-1")]
    try:
        result = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    if result.returncode != 0:
        return []
    return [str(n) for n, line in enumerate(line for line in result.stdout.splitlines() if line.startswith("GPU "))]
