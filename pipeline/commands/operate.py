"""``cartoon-pipeline status``: what is out of date, what runs and where."""

from __future__ import annotations

import argparse
import sys

from pipeline.commands.common import Commands, root_of


def add(commands: Commands) -> None:
    """Add the command ``status``."""
    status = commands.add_parser("status", help="show which stages are out of date and why")
    status.add_argument("--profile", help="default: the root's own")
    status.set_defaults(command=_status)


def _status(arguments: argparse.Namespace) -> None:
    from pipeline.graph import read_graph, select, stale_stages, to_run
    from pipeline.profiles import dvcfile_of

    root = root_of(arguments)
    dvcfile = dvcfile_of(root, arguments.profile)
    graph = select(read_graph(root), dvcfile)
    stale = stale_stages(root, dvcfile)
    chosen = to_run(graph, stale)
    for name in chosen:
        reason = ", ".join(stale[name][:3]) if name in stale else "depends on one above"
        more = f" and {len(stale[name]) - 3} more" if len(stale.get(name, [])) > 3 else ""
        sys.stdout.write(f"{name}: {reason}{more}\n")
    sys.stdout.write(f"{len(graph) - len(chosen)} of {len(graph)} stages are up to date.\n")
