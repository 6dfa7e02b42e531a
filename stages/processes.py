"""The processes of one training: started here, one per GPU, or by ``torchrun``; this one is the first of them.

``train.gpus`` says how many. The first process keeps all records and files; the others only compute.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import torch.distributed as dist

from model.errors import ResourceError, UsageError, UserError
from model.training.world import ALONE, World

PATIENCE = timedelta(hours=12)  # others wait for the first one's samples, states and snapshots; the dead are noticed
LAST_WORDS = 15.0  # seconds for this process to fail by itself, with a message, once another one has died

log = logging.getLogger(__name__)


def pick_device(name: str, rank: int = 0) -> torch.device:
    """Return the device of a process; ``auto`` is the GPU of that number when there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device("cuda", rank) if name == "cuda" else torch.device(name)


def count_processes(gpus: int | str, device: str) -> int:
    """Return how many processes ``train.gpus`` means on this machine.

    Raises: UsageError for less than one, or more than there are GPUs.
    """
    there = torch.cuda.device_count() if pick_device(device).type == "cuda" else 0
    count = max(there, 1) if gpus == "all" else int(gpus)
    if count < 1 or (there and count > there):
        raise UsageError(f"train.gpus: found {gpus}, expected 1 to {there or os.cpu_count()}, or all")
    return count


def own_rank() -> int:
    """Return the number that ``torchrun`` gave this process, 0 without it."""
    return int(os.environ.get("RANK", "0"))


@contextmanager
def joined(count: int, device: str, work: Callable[[World], object]) -> Iterator[World]:
    """Join the processes of a training, starting the others if ``torchrun`` has not.

    Args:
        count: processes, this one included; ``torchrun`` has its own count.
        device: train.device.
        work: what the other processes do; picklable.

    Raises: ResourceError, or the other process's own class of failure, if another process dies.
    """
    if "WORLD_SIZE" in os.environ:
        world = World(own_rank(), int(os.environ["WORLD_SIZE"]))
        with _group(world, device, "env://"):
            yield world
    elif count == 1:
        yield ALONE
    else:
        with tempfile.TemporaryDirectory() as folder:
            meeting = f"file://{Path(folder).resolve()}/meeting"
            context = multiprocessing.get_context("spawn")
            others = [
                context.Process(target=_other, args=(World(rank, count), device, meeting, work), daemon=True)
                for rank in range(1, count)
            ]
            for process in others:
                process.start()
            with _watched(others), _group(World(0, count), device, meeting):
                yield World(0, count)


@contextmanager
def _group(world: World, device: str, meeting: str) -> Iterator[None]:
    cuda = pick_device(device).type == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", world.rank)))
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // world.size))
    dist.init_process_group(
        "nccl" if cuda else "gloo", init_method=meeting, rank=world.rank, world_size=world.size, timeout=PATIENCE
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _other(world: World, device: str, meeting: str, work: Callable[[World], object]) -> None:
    """Be one of the other processes; signals are the first one's business, which tells us."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_leave_with, args=([parent.sentinel],), daemon=True).start()
    try:
        with _group(world, device, meeting):
            work(world)
    except UserError as error:
        log.error("process %d of %d: %s", world.rank + 1, world.size, error)
        raise SystemExit(error.exit_code) from error


def _leave_with(sentinels: list[int]) -> None:
    wait(sentinels)
    os._exit(1)


@contextmanager
def _watched(others: Sequence[BaseProcess]) -> Iterator[None]:
    """Notice the death of another process, which may leave this one waiting for ever."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            wait([process.sentinel for process in others], timeout=1.0)
            if any(process.exitcode not in (None, 0) for process in others) and not over.wait(LAST_WORDS):
                log.error("error: %s", _obituary(others))
                os._exit(_exit_code(others))

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
        for process in others:
            process.join()
    except RuntimeError as error:  # a collective operation with somebody who is gone
        time.sleep(1.0)
        if any(process.exitcode not in (None, 0) for process in others):
            raise ResourceError(_obituary(others)) from error
        raise
    finally:
        over.set()


def _obituary(others: Sequence[BaseProcess]) -> str:
    dead = next(n for n, process in enumerate(others, 2) if process.exitcode not in (None, 0))
    return (
        f"train.gpus: process {dead} of {len(others) + 1} ended with exit code {others[dead - 2].exitcode}; "
        "its own message is above; the same command continues from the last saved state"
    )


def _exit_code(others: Sequence[BaseProcess]) -> int:
    return max(1, *(process.exitcode or 0 for process in others))
