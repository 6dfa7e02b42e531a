"""What the commands share: the project's root, and the failure that is one line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import ClassVar, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class CommandError(Exception):
    """A command cannot do what it was asked."""

    exit_code: ClassVar[int] = 2


def root_of(arguments: argparse.Namespace) -> Path:
    """Return the project's root, checked, so that every message after this one is about something else.

    Raises: CommandError if there is no project.
    """
    root = Path(arguments.root).resolve()
    if not (root / "dvc.yaml").exists():
        raise CommandError(f"{root}: no dvc.yaml here; start in the project's folder or give --root DIR")
    return root
