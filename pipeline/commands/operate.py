"""``cartoon-pipeline status`` and ``cancel``: what is out of date, what runs and where, and how to end it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from pipeline.commands.common import Commands, root_of

_AGAIN_S = 5.0  # between two screens of --watch
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"  # terminals: cursor home, erase the screen and what was scrolled away


def add(commands: Commands) -> None:
    """Add the commands ``status`` and ``cancel``."""
    status = commands.add_parser(
        "status",
        help="show what is out of date and why, what runs where, and what failed",
        description="Show what is out of date and why, what runs where, what waits for which agents, and what failed "
        "in the newest run. Works without a server too; then it knows what DVC and the stages under way tell.",
    )
    status.add_argument("--profile", help="default: the root's own")
    status.add_argument("--json", action="store_true", help="for programs; times are seconds since 1970")
    status.add_argument("--watch", action="store_true", help="again every few seconds, until Ctrl-C")
    status.set_defaults(command=_status)
    cancel = commands.add_parser(
        "cancel",
        help="end a run with all its jobs, wherever they are",
        description="End what runs for a profile, on agents or in this folder, and wait until it is gone. Trainings "
        "save their state first; `cartoon-pipeline run` continues from there.",
    )
    cancel.add_argument("run", nargs="?", metavar="RUN", help="id or name on the server (default: the profile's)")
    cancel.add_argument("--profile", help="default: the root's own")
    cancel.set_defaults(command=_cancel)


def _status(arguments: argparse.Namespace) -> None:
    root = root_of(arguments)
    text = _picture(root, arguments)
    while arguments.watch:
        sys.stdout.write((_CLEAR if sys.stdout.isatty() else "") + text)
        sys.stdout.flush()
        time.sleep(_AGAIN_S)
        text = _picture(root, arguments)
    sys.stdout.write(text)


def _picture(root: Path, arguments: argparse.Namespace) -> str:
    from pipeline.operating.look import look
    from pipeline.operating.show import screen

    picture = look(root, arguments.profile)
    return json.dumps(asdict(picture), indent=2) + "\n" if arguments.json else screen(picture, time.time())


def _cancel(arguments: argparse.Namespace) -> None:
    from pipeline.operating.cancel import cancel
    from pipeline.profiles import name_of

    root = root_of(arguments)
    ended = cancel(root, arguments.profile, arguments.run, _say)
    if ended:
        sys.stdout.write(f"ended: {', '.join(ended)}\n`cartoon-pipeline run` continues from here.\n")
    elif arguments.run:
        sys.stdout.write(f"{arguments.run} has ended already; nothing to cancel.\n")
    else:
        sys.stdout.write(f"Nothing runs for {name_of(root, arguments.profile)}; nothing to cancel.\n")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
