"""Run one stage as a process of its own, in a lane of its pool. Knows no Prefect."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue

from pipeline.graph import dvc_command

_GRACE = 30.0  # seconds a stage has to save its state after SIGTERM
_EXITED = re.compile(r"failed to run: .*, exited with (-?\d+)")
RETRIED_CODES = frozenset({6, 75})  # network trouble, and an interruption that can be continued


class StageFailed(Exception):  # noqa: N818 (a result, named by what happened)
    """A stage's process ended with an error; ``exit_code`` is the stage's own if DVC told it."""

    def __init__(self, stage: str, exit_code: int) -> None:
        super().__init__(f"{stage} failed with exit code {exit_code}; `dvc repro {stage}` runs it alone")
        self.stage = stage
        self.exit_code = exit_code


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


class ProcessGroups:
    """The process groups that are running now, so that one signal ends them all with their children."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._lock = threading.Lock()
        self._closed = False

    def start(self, command: list[str], cwd: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start a process as the head of a new group, its output on one pipe.

        Raises: InterruptedError after ``terminate``.
        """
        with self._lock:
            if self._closed:
                raise InterruptedError("stopping: no further stage is started")
            process = subprocess.Popen(
                command, cwd=cwd, env={**_own_tools(), **environment}, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
            self._groups.add(process.pid)
        return process

    def forget(self, group: int) -> None:
        """A group has ended."""
        with self._lock:
            self._groups.discard(group)

    def terminate(self) -> None:
        """Ask every group to end, make it end after a while, start no other. Takes no lock: it runs in a handler."""
        self._closed = True
        self._signal(signal.SIGTERM)
        insist = threading.Timer(_GRACE, self._signal, [signal.SIGKILL])
        insist.daemon = True
        insist.start()

    def _signal(self, number: int) -> None:
        for group in tuple(self._groups):
            with suppress(ProcessLookupError):
                os.killpg(group, number)

    def reopen(self) -> None:
        """Allow starting again (a new flow run in the same process)."""
        self._closed = False


def _own_tools() -> dict[str, str]:
    """The environment with this Python first, so that ``python`` in dvc.yaml is it, activated or not."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


GROUPS = ProcessGroups()


def run_stage(stage: str, root: Path, environment: Mapping[str, str], on_line: Callable[[str], object]) -> None:
    """Run ``dvc repro --single-item STAGE`` and pass its output on line by line.

    ``--single-item``, because what it needs has been run before: a stage must never start another pool's work.

    Raises: StageFailed with the stage's exit code.
    """
    command = dvc_command("repro", "--single-item", stage)
    code, told = execute(command, root, environment, on_line)
    if code:
        raise StageFailed(stage, told if told is not None else code)


def execute(
    command: list[str], cwd: Path, environment: Mapping[str, str], on_line: Callable[[str], object]
) -> tuple[int, int | None]:
    """Run a command in its own process group; nothing of the group outlives this call.

    Returns: its exit code, and the one DVC named for the stage inside it.
    """
    told: int | None = None
    process = GROUPS.start(command, cwd, environment)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            text = line.rstrip()
            if match := _EXITED.search(text):
                told = int(match.group(1))
            if text:
                on_line(text)
        return process.wait(), told
    finally:
        end_group(process)
        GROUPS.forget(process.pid)


def end_group(process: subprocess.Popen[str]) -> None:
    """End what is left of a process group: SIGTERM, time to save, SIGKILL."""
    deadline = time.monotonic() + _GRACE
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
            while time.monotonic() < deadline:
                process.poll()  # reap the head, or its zombie keeps the group alive
                os.killpg(process.pid, 0)
                time.sleep(0.05)
    process.wait()
