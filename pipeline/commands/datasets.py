"""``cartoon-pipeline watch``: look for changes of datasets."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pipeline.commands.common import Commands, root_of


def add(commands: Commands) -> None:
    """Add the command ``watch``."""
    watch = commands.add_parser(
        "watch",
        help="look once for changes of datasets, and ask for the retraining of what depends on them",
        description="Look once: ask for new episodes and lists, notice changed folders and films, commit the new "
        "manifest, and emit the event `dataset.changed`, by which a server starts the retraining. The section `watch` "
        "of the params file says what is committed where. On a server the schedule of the deployment watch/datasets "
        "does this.",
    )
    watch.add_argument("--profile", help="default: the root's own")
    watch.add_argument("--dataset", help="default: all of the profile")
    watch.add_argument("--branch", help="of origin (default: what is checked out here, which gets new manifests)")
    watch.set_defaults(command=_watch)


def _watch(arguments: argparse.Namespace) -> None:
    from pipeline.operating.settings import find_servers, prefect_environment

    root = root_of(arguments)
    served = find_servers(root).prefect is not None
    os.environ.update(prefect_environment(root))
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
    from pipeline.flows.watch import watch

    changed = []
    for found in watch(arguments.profile, arguments.dataset, arguments.branch, str(root)):
        said = f": {found['said']}" if found["said"] else ""
        sys.stdout.write(f"{found['dataset']}: {found['state']}{said}\n")
        changed += [found["dataset"]] if found["state"] == "changed" else []
    profile = f" --profile {arguments.profile}" if arguments.profile else ""
    for dataset in [] if served else changed:
        sys.stdout.write(f"No server hears of it; `cartoon-pipeline run{profile} --dataset {dataset}` retrains it.\n")
