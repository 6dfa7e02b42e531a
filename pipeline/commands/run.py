"""``cartoon-pipeline run``: bring the pipeline up to date, on agents or in this folder."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any, ClassVar

from pipeline.commands.common import CommandError, Commands, root_of


class RunEnded(Exception):  # noqa: N818 (a result, named by what happened)
    """Somebody cancelled this run."""

    exit_code: ClassVar[int] = 130


def add(commands: Commands) -> None:
    """Add the command ``run``."""
    run = commands.add_parser(
        "run",
        help="run every stage that is out of date, independent ones side by side",
        description="Run every stage that is out of date and what depends on it: on agents if a server is there "
        "(`cartoon-pipeline server`, or PREFECT_API_URL), in this folder otherwise. A failed stage stops only what "
        "needs it; the same command continues from there. Network stages are tried again.",
    )
    run.add_argument("targets", nargs="*", metavar="STAGE", help="stages, or groups like `train`, with all they need")
    run.add_argument("--profile", help="default: the root's own")
    run.add_argument("--dataset", help="only what this dataset needs, and the comparison")
    run.add_argument("--method", help="only what this method needs, and the comparison")
    run.add_argument("--here", action="store_true", help="in this folder as it is, although there is a server")
    run.add_argument("--gpu-slots", type=int, help="here: `gpu` jobs at a time (default: one per GPU, 1 without)")
    run.add_argument(
        "--remote", metavar="NAME", help="DVC remote that agents exchange results through (`agent --remote`)"
    )
    run.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    from pipeline.operating.settings import find_servers, prefect_environment

    root = root_of(arguments)
    if arguments.gpu_slots is not None and arguments.gpu_slots < 1:
        raise CommandError(f"--gpu-slots {arguments.gpu_slots}: expected 1 or more")
    here = arguments.here or find_servers(root).prefect is None
    if not here and arguments.gpu_slots is not None:
        raise CommandError("--gpu-slots: agents know how many GPUs they have; with --here it is for this folder")
    if arguments.remote is not None:
        if here:
            raise CommandError("--remote: is where agents put results; what runs in this folder has DVC's cache")
        os.environ["CARTOON_REMOTE"] = arguments.remote
    if here and _is_up_to_date(root, arguments):
        sys.stdout.write("Everything is up to date.\n")
        return
    os.environ.update(prefect_environment(root))
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
    # Prefect hands SIGTERM back to whoever had it before: without this the process would die on the spot.
    signal.signal(signal.SIGTERM, _leave)
    ran = _in_this_folder(root, arguments) if here else _on_agents(root, arguments)
    sys.stdout.write(f"{len(ran)} stages are up to date now.\n" if ran else "Everything is up to date.\n")


def _is_up_to_date(root: Path, arguments: argparse.Namespace) -> bool:
    """Look before a server is started for nothing."""
    from pipeline.graph import read_graph, select, stale_stages, to_run
    from pipeline.profiles import dvcfile_of
    from pipeline.running.mend import mend

    mend(root)
    dvcfile = dvcfile_of(root, arguments.profile)
    return not to_run(select(read_graph(root), dvcfile, arguments.targets), stale_stages(root, dvcfile))


def _in_this_folder(root: Path, arguments: argparse.Namespace) -> list[str]:
    from pipeline.operating.embedded import embedded_server

    if "PREFECT_API_URL" not in os.environ:  # Prefect reads it when it is loaded
        os.environ["PREFECT_API_URL"] = embedded_server(root)
    from pipeline.flows.here import reproduce_here

    return reproduce_here(
        str(root), arguments.profile, arguments.dataset, arguments.method, arguments.targets or None,
        arguments.gpu_slots,
    )  # fmt: skip


def _on_agents(root: Path, arguments: argparse.Namespace) -> list[str]:
    from prefect.exceptions import CancelledRun

    from pipeline.flows.reproduce import reproduce

    try:
        ran: Any = reproduce(
            profile=arguments.profile, dataset=arguments.dataset, method=arguments.method,
            targets=arguments.targets or None, root=str(root),
        )  # fmt: skip
    except CancelledRun as error:
        raise RunEnded(f"{error}; the same command continues from here") from None
    return list(ran)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
