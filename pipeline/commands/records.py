"""``cartoon-pipeline ui`` and ``republish``: the records in MLflow."""

from __future__ import annotations

import argparse
import sys

from pipeline.commands.common import CommandError, Commands, root_of


def add(commands: Commands) -> None:
    """Add the commands ``ui`` and ``republish``."""
    ui = commands.add_parser("ui", help="open the comparison in MLflow on 127.0.0.1")
    ui.add_argument("--port", type=int, default=5000, help="default: 5000")
    ui.set_defaults(command=_ui)
    republish = commands.add_parser("republish", help="send records to MLflow that it has not seen yet")
    republish.add_argument("--profile", help="default: all profiles")
    republish.add_argument("--all", action="store_true", help="send also what was sent before, to a new or lost store")
    republish.set_defaults(command=_republish)


def _ui(arguments: argparse.Namespace) -> None:
    from pipeline.ui import serve

    serve(root_of(arguments), arguments.port)


def _republish(arguments: argparse.Namespace) -> None:
    from pipeline.publish import republish

    root = root_of(arguments)
    try:
        sent = republish(root, arguments.profile, everything=arguments.all)
    except Exception as error:
        raise CommandError(f"MLflow: {' '.join(str(error).split())[:300]}; nothing is lost, try again later") from error
    sys.stdout.write(f"{sent} records sent.\n" if sent else "MLflow has seen everything.\n")
