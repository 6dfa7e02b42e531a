"""Tell Prefect's server what it shall know: pools, the deployments of prefect.yaml, and two automations."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pipeline.flows.automations import Windows, install
from pipeline.operating.agent import POOLS
from pipeline.operating.api import PATIENT, Api
from pipeline.operating.settings import HEARTBEAT, find_servers, prefect_environment
from pipeline.scheduling import read_scheduling

_FILE = "prefect.yaml"
_SILENT_BEATS = 4  # missed before a run is taken for dead; three are the least that a slow machine needs


class DeployError(Exception):
    """The server does not take what it is told."""

    exit_code: ClassVar[int] = 2


def limits_of(words: Sequence[str]) -> dict[str, int | None]:
    """Read ``POOL=N`` from the command line; pools that are not named have no limit but their agents' slots."""
    limits: dict[str, int | None] = dict.fromkeys(POOLS)
    for word in words:
        pool, _, number = word.partition("=")
        if pool not in POOLS or not number.isdigit() or int(number) < 1:
            raise DeployError(f"--limit {word}: expected POOL=N with a pool of {', '.join(POOLS)} and N of 1 or more")
        limits[pool] = int(number)
    return limits


def deploy(root: Path, limits: Mapping[str, int | None]) -> list[str]:
    """Bring the server to this project's prefect.yaml; repeating it changes nothing.

    Args:
        root: the project.
        limits: pool -> runs at a time, None for no limit of the pool's own.

    Returns: what was done, line by line.
    Raises: DeployError, ServerError.
    """
    url = find_servers(root).prefect
    if url is None:
        raise DeployError("no Prefect server: start `cartoon-pipeline server` in this project, or set PREFECT_API_URL")
    api = Api(url, PATIENT)
    told = [f"pool {pool}: {'set' if api.pool(pool, limit) else 'as it was'}" for pool, limit in limits.items()]
    _deploy_file(root)
    names = _deployments(root)
    missing = [name for name in names if not _is_there(api, name)]
    if missing:
        raise DeployError(f"{_FILE}: the server did not take {', '.join(missing)}")
    told += [f"deployment {name}" for name in names]
    windows = Windows(float(_SILENT_BEATS * HEARTBEAT), read_scheduling(root / "params.yaml").start_s)
    return told + [f"automation {name}: {change}" for name, change in install(api, windows).items()]


def _deploy_file(root: Path) -> None:
    environment = {**os.environ, **prefect_environment(root), "PYTHONPATH": os.pathsep.join([str(root), *_path()])}
    environment.pop("CARTOON_CLONE", None)  # prefect.yaml names it, and it must be looked up by agents, not now
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", _FILE]
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        said = " ".join((done.stdout + done.stderr).split())[-600:]
        raise DeployError(f"`prefect deploy --all` failed in {root}: {said}")


def _path() -> list[str]:
    return [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]


def _deployments(root: Path) -> list[str]:
    """Return ``flow/name`` of everything in prefect.yaml; a flow is named like its function."""
    from pipeline.params import read_params

    entries: list[dict[str, Any]] = read_params(root / _FILE)["deployments"]
    return [f"{str(entry['entrypoint']).rpartition(':')[2]}/{entry['name']}" for entry in entries]


def _is_there(api: Api, name: str) -> bool:
    flow, _, own = name.partition("/")
    wanted = {"deployments": {"name": {"any_": [own]}}, "flows": {"name": {"any_": [flow]}}, "limit": 1}
    return bool(api.ask("POST", "/deployments/filter", wanted))
