"""``cartoon-pipeline server``, ``agent`` and ``deploy``: the machinery that runs stages on other machines."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.commands.common import Commands, root_of


def add(commands: Commands) -> None:
    """Add the commands ``server``, ``agent`` and ``deploy``."""
    _add_server(commands)
    _add_agent(commands)
    deploy = commands.add_parser(
        "deploy",
        help="tell Prefect's server about pools, deployments and automations",
        description="Create the work pools, deploy prefect.yaml, and set up the two automations that find runs whose "
        "machine has died. Repeating it changes nothing.",
    )
    deploy.add_argument("--limit", action="append", default=[], metavar="POOL=N",
                        help="runs of a pool at a time on all machines (default: what its agents offer)")  # fmt: skip
    deploy.set_defaults(command=_deploy)


def _add_server(commands: Commands) -> None:
    server = commands.add_parser(
        "server",
        help="run Prefect's and MLflow's servers for this project",
        description="Run Prefect's and MLflow's servers, and start them again when they die; Ctrl-C ends both.",
    )
    server.add_argument("--port", type=int, default=4200, help="of Prefect (default: 4200)")
    server.add_argument("--mlflow-port", type=int, default=5000, help="of MLflow (default: 5000)")
    server.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)")
    server.add_argument("--allowed-hosts", metavar="NAMES",
                        help="what others call this machine, separated by commas; needed with --host")  # fmt: skip
    server.set_defaults(command=_server)


def _add_agent(commands: Commands) -> None:
    agent = commands.add_parser(
        "agent",
        help="run stages of a pool on this machine",
        description="Keep Prefect workers alive on this machine, each with a clone of the project. Ctrl-C ends them; "
        "trainings save their state first and are continued by the next agent.",
    )
    agent.add_argument("--pool", required=True, choices=("cpu", "gpu", "coordinator"))
    agent.add_argument("--slots", type=int, metavar="N",
                       help="jobs at a time (default: one per GPU; cpu: up to 4; coordinator: 2)")  # fmt: skip
    agent.add_argument("--home", type=Path, metavar="DIR", help="of the clones (default: scratch/agents)")
    agent.add_argument("--source", metavar="REPO", help="repository that commits come from (default: this one)")
    exchange = agent.add_mutually_exclusive_group()
    exchange.add_argument("--cache", type=Path, metavar="DIR",
                          help="DVC cache that all machines see (default: this project's)")  # fmt: skip
    exchange.add_argument("--remote", metavar="NAME", help="DVC remote to exchange results through instead")
    agent.add_argument("--scratch", type=Path, metavar="DIR",
                       help="states of trainings under way, for the next agent (default: scratch)")  # fmt: skip
    agent.set_defaults(command=_agent)


def _server(arguments: argparse.Namespace) -> None:
    from pipeline.operating.server import Listening, serve

    hosts = tuple(name.strip() for name in (arguments.allowed_hosts or "").split(",") if name.strip())
    serve(root_of(arguments), Listening(arguments.host, arguments.port, arguments.mlflow_port, hosts))


def _agent(arguments: argparse.Namespace) -> None:
    from pipeline.graph import cache_folder
    from pipeline.operating.agent import Place, default_home, serve, slots_of

    root = root_of(arguments)
    devices = slots_of(arguments.pool, arguments.slots, _gpus_of(root))
    home = (arguments.home or default_home(root)).resolve()
    cache = None
    if arguments.remote is None:
        cache = (arguments.cache or cache_folder(root)).resolve()
    elif arguments.cache is None:
        cache = home / "cache"  # of this machine's slots
    place = Place(
        root=root,
        home=home,
        source=arguments.source or str(root),
        cache=cache,
        remote=arguments.remote,
        scratch=(arguments.scratch or root / "scratch").resolve(),
    )
    serve(place, arguments.pool, devices)


def _gpus_of(root: Path) -> int | str:
    """Return how many GPUs one training uses; a project without trainings needs one."""
    from pipeline.params import read_params

    params = root / "params.yaml"
    train = read_params(params).get("train") if params.exists() else None
    gpus: int | str = train.get("gpus", 1) if isinstance(train, dict) else 1
    return gpus


def _deploy(arguments: argparse.Namespace) -> None:
    from pipeline.operating.deploy import deploy, limits_of

    done = deploy(root_of(arguments), limits_of(arguments.limit))
    for line in done:
        sys.stdout.write(f"{line}\n")
