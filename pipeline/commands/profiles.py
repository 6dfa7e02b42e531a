"""``cartoon-pipeline new-profile``: numbers of your own for the same stages."""

from __future__ import annotations

import argparse
import sys

from pipeline.commands.common import Commands, root_of


def add(commands: Commands) -> None:
    """Add the command ``new-profile``."""
    profile = commands.add_parser("new-profile", help="make profiles/NAME: your own datasets, methods and numbers")
    profile.add_argument("name")
    profile.set_defaults(command=_new_profile)


def _new_profile(arguments: argparse.Namespace) -> None:
    from pipeline.profiles import new_profile

    folder = new_profile(root_of(arguments), arguments.name)
    sys.stdout.write(
        f"{folder} is ready. Edit {folder / 'params.yaml'}, then\n"
        f"  dvc repro profiles/{arguments.name}/dvc.yaml\n"
        f"or  cartoon-pipeline run --profile {arguments.name}\n"
    )
