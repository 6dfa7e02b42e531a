"""``cartoon-pipeline run``: bring the pipeline up to date."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from pipeline.commands.common import CommandError, Commands, root_of


def add(commands: Commands) -> None:
    """Add the command ``run``."""
    run = commands.add_parser(
        "run",
        help="run every stage that is out of date, independent ones side by side",
        description="Run every stage that is out of date and what depends on it. A failed stage stops only what needs "
        "it; the same command continues from there. Network stages are tried again.",
    )
    run.add_argument("targets", nargs="*", metavar="STAGE", help="stages, or groups like `train`, with all they need")
    run.add_argument("--profile", help="default: the root's own")
    run.add_argument("--gpu-slots", type=int, help="`gpu` stages at a time (default: one per GPU, 1 without)")
    run.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    from pipeline.graph import read_graph, select, stale_stages, to_run
    from pipeline.profiles import dvcfile_of

    root = root_of(arguments)
    if arguments.gpu_slots is not None and arguments.gpu_slots < 1:
        raise CommandError(f"--gpu-slots {arguments.gpu_slots}: expected 1 or more")
    dvcfile = dvcfile_of(root, arguments.profile)
    graph = select(read_graph(root), dvcfile, arguments.targets)
    if not to_run(graph, stale_stages(root, dvcfile)):
        sys.stdout.write("Everything is up to date.\n")
        return
    prepare_prefect(root)
    # Prefect hands SIGTERM back to whoever had it before: without this the process would die on the spot and leave
    # Prefect's temporary server behind.
    signal.signal(signal.SIGTERM, _leave)
    from pipeline.flows.reproduce import reproduce

    ran = reproduce(str(root), dvcfile, arguments.targets or None, arguments.gpu_slots)
    sys.stdout.write(f"{len(ran)} stages are up to date now.\n")


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def prepare_prefect(root: Path) -> None:
    """Settings for Prefect's own temporary server; must come before the first import of Prefect."""
    home = root / "scratch" / "prefect"
    os.environ.setdefault("PREFECT_HOME", str(home))
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
