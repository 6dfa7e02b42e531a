"""Commands that become a process of ``stages``, because they download or compute."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pipeline.commands.common import Commands, root_of

_BEHIND = {
    "weights": "stages.fetch",
    "datasets": "stages.sources",
    "selftest": "stages.selftest",
    "study": "stages.study",
}


def add(commands: Commands) -> None:
    """Add the commands ``weights``, ``datasets``, ``selftest``, ``study`` and ``explain``."""
    for name, about in (
        ("weights", "list, fetch, import or verify what weights.lock.yaml names"),
        ("datasets", "list datasets, ask for new episodes, pin lists of addresses"),
        ("selftest", "compare what this machine measures with numbers that others published"),
        ("study", "rank methods by the answers to the page of blind choices"),
    ):
        # Everything behind it, --help too, is for the process it becomes.
        other = commands.add_parser(name, help=about, add_help=False, prefix_chars="\0")
        other.add_argument("rest", nargs=argparse.REMAINDER)
        other.set_defaults(command=_elsewhere, module=_BEHIND[name])
    _add_explain(commands)


def _add_explain(commands: Commands) -> None:
    explain = commands.add_parser(
        "explain",
        help="show what a method trains, what it takes from the source, and its losses",
        description="Try a method of params.yaml on small networks of the real architecture, and show what trains, "
        "what comes from the source, and the losses. Needs no weights and no images; takes seconds.",
    )
    explain.add_argument("methods", nargs="*", metavar="METHOD", help="default: all of the profile")
    explain.add_argument("--profile", help="default: the root's own")
    explain.add_argument("--format", choices=("text", "markdown"), default="text", help="default: text")
    explain.set_defaults(command=_explain)


def _elsewhere(arguments: argparse.Namespace) -> None:
    """Become the process that does it; downloading and computing are a stage's work."""
    os.chdir(root_of(arguments))
    os.execv(sys.executable, [sys.executable, "-m", arguments.module, *arguments.rest])


def _explain(arguments: argparse.Namespace) -> None:
    """Become the process that tries the methods; computing is a stage's work."""
    from pipeline.profiles import dvcfile_of

    root = root_of(arguments)
    params = Path(dvcfile_of(root, arguments.profile)).with_name("params.yaml").as_posix()
    os.chdir(root)
    command = ["-m", "stages.explain", "--params", params, "--format", arguments.format, "--", *arguments.methods]
    os.execv(sys.executable, [sys.executable, *command])
