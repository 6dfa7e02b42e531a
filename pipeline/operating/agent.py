"""An agent: this machine's slots for one pool, each a Prefect worker with a git clone of its own, kept alive."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from pipeline.mirror import store_address
from pipeline.operating.api import PATIENT, Api, ServerError, claimed_without_name, worker_of
from pipeline.operating.keeping import Command, Kept, keep_all, own_tools, until_told
from pipeline.operating.settings import find_servers, prefect_environment
from pipeline.operating.versions import check
from pipeline.running.clones import at_revision, git, make_clone
from pipeline.running.family import end, marked
from pipeline.running.lanes import gpu_devices

log = logging.getLogger("agent")

POOLS = ("cpu", "gpu", "coordinator")
GRACE = 45.0  # s for a slot to end: more than a stage has to save its state, as that is below it
_NAMELESS = 15.0  # s after which a claimed run that no worker has put its name on is lost
_LOOK = 3.0  # s between looks at the server about a dead worker's runs


class AgentError(Exception):
    """An agent cannot be started like this."""

    exit_code: ClassVar[int] = 2


class AgentBusy(Exception):  # noqa: N818 (a state, not a mistake)
    """Another agent uses these clones."""

    exit_code: ClassVar[int] = 9


@dataclass(frozen=True)
class Place:
    """Where an agent works and how its results reach the others."""

    root: Path  # the project that the agent was started in
    home: Path  # of its clones
    source: str  # repository that revisions come from
    cache: Path | None  # DVC's cache that all share; None with a remote
    remote: str | None  # DVC remote for results, for machines without a common disk
    scratch: Path  # states of stages under way, for the next agent of this machine


@dataclass(frozen=True)
class Slot:
    """One worker with its clone."""

    pool: str
    number: int
    devices: str | None  # for CUDA_VISIBLE_DEVICES; None leaves it as it is
    place: Place

    @property
    def short(self) -> str:
        """Its name on this machine: ``gpu-0``."""
        return f"{self.pool}-{self.number}"

    @property
    def worker(self) -> str:
        """Its name on the server; agents of one machine with different homes must differ."""
        host = socket.gethostname().replace("/", "-").replace("%", "-")
        own = self.place.home == default_home(self.place.root)
        mark = "" if own else f"-{hashlib.sha256(str(self.place.home).encode()).hexdigest()[:4]}"
        return f"{host}-{self.short}{mark}"

    @property
    def clone(self) -> Path:
        """Its clone of the repository."""
        return self.place.home / self.short


def default_home(root: Path) -> Path:
    """Where the clones of a project's agents are, unless told otherwise."""
    return (root / "scratch" / "agents").resolve()


def serve(place: Place, pool: str, devices: list[str | None]) -> None:
    """Keep one worker per slot alive until SIGTERM or Ctrl-C; then end everything below them, states saved.

    Args:
        place: of the clones.
        pool: whose jobs it takes.
        devices: one entry per slot, its CUDA_VISIBLE_DEVICES.

    Raises: AgentBusy if these clones have an agent; ServerError, CloneError.
    """
    url = find_servers(place.root).prefect
    if url is None:
        raise AgentError("no Prefect server: start `cartoon-pipeline server` in this project, or set PREFECT_API_URL")
    api = Api(url, PATIENT)
    api.pool(pool, None)
    slots = [Slot(pool, number, device, place) for number, device in enumerate(devices)]
    with _alone(place.home, pool), until_told() as stop:
        undertakers = [_Undertaker(api, slot) for slot in slots]
        kept = [
            Kept(_worker(slot), partial(undertaker.bury, stop, "its worker died"))
            for slot, undertaker in zip(slots, undertakers, strict=True)
        ]
        for slot, undertaker in zip(slots, undertakers, strict=True):
            _prepare(slot)
            undertaker.bury(stop, "the agent was started again")
        log.info("serving pool %s: %s", pool, ", ".join(slot.worker for slot in slots))
        threads = keep_all(kept, stop)
        _watch(undertakers, stop)
        for thread in threads:
            thread.join()
        for undertaker in undertakers:
            undertaker.last_words()


def _watch(undertakers: list[_Undertaker], stop: threading.Event) -> None:
    while not stop.wait(_LOOK):
        for undertaker in undertakers:
            undertaker.look_for_nameless()
    log.info("ending the workers and everything below them")


class _Undertaker:
    """Tells the server about the runs of a worker that is dead, so that they are given to another at once."""

    def __init__(self, api: Api, slot: Slot) -> None:
        self._api = api
        self._slot = slot
        self._looks = 0  # at claimed runs without a worker's name that are still to come

    def bury(self, stop: threading.Event, why: str) -> None:
        """Its worker has died: maybe in the moment between claiming a run and putting its name on it."""
        self._looks = int(2 * _NAMELESS / _LOOK)
        self.clean_up(stop, why)

    def clean_up(self, stop: threading.Event, why: str) -> None:
        """End what a dead worker left running here, then report its runs; waits for the server if it is away."""
        end(lambda: marked(f"CARTOON_CLONE={self._slot.clone}"), GRACE)
        while True:
            try:
                self._report(why)
                return
            except ServerError as error:
                log.warning("%s; waiting for it", error)
                if stop.wait(_LOOK):
                    return

    def last_words(self) -> None:
        """Report what was cut off by the end of this agent, if the server is there."""
        try:
            self._report("its agent was ended")
        except ServerError as error:
            log.warning("%s; the server will notice by itself that runs of %s ended", error, self._slot.worker)

    def _report(self, why: str) -> None:
        for run in self._api.unfinished(self._slot.pool):
            if worker_of(run) == self._slot.worker:
                self._crashed(run, why)

    def look_for_nameless(self) -> None:
        """Report runs of this pool that somebody claimed and nobody put a name on, for a while after a death."""
        if self._looks == 0:
            return
        self._looks -= 1
        try:
            now = self._api.now()
            for run in self._api.unfinished(self._slot.pool):
                if claimed_without_name(run, now, _NAMELESS):
                    self._crashed(run, "a worker died while claiming it")
        except ServerError as error:
            log.warning("%s", error)

    def _crashed(self, run: Mapping[str, object], why: str) -> None:
        log.warning("%s is lost: %s", run["name"], why)
        self._api.crashed(str(run["id"]), f"{self._slot.worker}: {why}")


def _prepare(slot: Slot) -> None:
    place = slot.place
    make_clone(place.source, slot.clone, cache=place.cache, remote=place.remote, scratch=place.scratch)
    newest = git(slot.clone, "ls-remote", "origin", "HEAD").split()
    if newest:  # flows are loaded from the clone before a job names its commit
        at_revision(slot.clone, newest[0])
    for difference in check(slot.clone / "requirements.lock"):
        log.warning("%s: %s", slot.short, difference)


def _worker(slot: Slot) -> Command:
    words = [
        sys.executable, "-m", "prefect", "worker", "start", "--pool", slot.pool, "--name", slot.worker, "--limit", "1",
        "--type", "process", "--install-policy", "never",
    ]  # fmt: skip
    return Command(slot.worker, words, slot.clone, environment_of(slot), None, GRACE)


def environment_of(slot: Slot) -> dict[str, str]:
    """What a slot's worker and everything below it find in their environment."""
    place = slot.place
    own = {
        "CARTOON_CLONE": str(slot.clone),
        "CARTOON_POOL": slot.pool,
        "CARTOON_AGENT": slot.short,
        "PYTHONPATH": str(slot.clone),
        "MLFLOW_TRACKING_URI": find_servers(place.root).mlflow or store_address(place.root),
    }
    if place.remote is not None:
        own["CARTOON_REMOTE"] = place.remote
        own["CARTOON_LEASES"] = os.environ.get("CARTOON_LEASES") or str(place.home / "leases")
    if slot.devices is not None:
        own["CUDA_VISIBLE_DEVICES"] = slot.devices
    inherited = {name: value for name, value in os.environ.items() if name != "CARTOON_REMOTE"}
    return own_tools({**inherited, **prefect_environment(place.root), **own})


def slots_of(pool: str, count: int | None, gpus: int | str) -> list[str | None]:
    """Devices of each slot of an agent on this machine.

    Args:
        pool: cpu, gpu or coordinator.
        count: of slots; None is one per GPU (1 without) for gpu, up to 4 for cpu, 2 for coordinator.
        gpus: that one training uses (``train.gpus``), or ``all``.
    """
    if count is not None and count < 1:
        raise AgentError(f"--slots {count}: expected 1 or more")
    if pool != "gpu":
        return [None] * (count or (2 if pool == "coordinator" else min(4, os.cpu_count() or 1)))
    devices = gpu_devices()
    width = len(devices) if gpus == "all" else int(gpus)
    if devices and width > len(devices):
        raise AgentError(f"train.gpus: {width} per training, but this machine has {len(devices)}")
    groups = [",".join(devices[first : first + width]) for first in range(0, len(devices) - width + 1, width or 1)]
    wanted = count or len(groups) or 1
    return [groups[number % len(groups)] if any(groups) else None for number in range(wanted)]


@contextmanager
def _alone(home: Path, pool: str) -> Iterator[None]:
    """Hold the clones of a pool: two agents in one clone would take its files from under each other."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{pool}.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise AgentBusy(
                f"{home}: {holder} serves pool {pool} from here; end it, give --slots to it, or start this one "
                "with another --home"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
