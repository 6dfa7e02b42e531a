"""``cartoon-pipeline``: run, watch and check the pipeline. Runs stages as processes and never imports torch."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipeline.commands import agents, champions, checks, datasets, elsewhere, operate, profiles, records, run
from pipeline.telemetry import silence

_INTERRUPTED = 130
_DISTRIBUTION = "cartoon-pipeline"
_GROUPS = (run, operate, agents, datasets, records, champions, checks, profiles, elsewhere)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry of the console command; exits with the failure's code and one line, never with a traceback for a user."""
    silence()
    _set_up_logging()
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], None] = arguments.command
    try:
        command(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command continues from here\n")
        raise SystemExit(_INTERRUPTED) from None
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        raise SystemExit(code) from None


class _Line(logging.Formatter):
    """``12:03:44 train@freeze_sg-flat-s0 | message``: which stage speaks, when several do at once."""

    def format(self, record: logging.LogRecord) -> str:
        stage = getattr(record, "task_run_name", None)
        line = super().format(record)
        return f"{self.formatTime(record, '%H:%M:%S')} {stage + ' | ' if stage else ''}{line}"


def _set_up_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)  # one line per request to Prefect's server


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cartoon-pipeline",
        description="Run the stages of dvc.yaml with Prefect, look at them in MLflow, check what they wrote. "
        "`dvc repro` does the same work one stage after the other.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    parser.add_argument("--root", type=Path, default=Path(), help="the project (default: the current folder)")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for group in _GROUPS:
        group.add(commands)
    return parser


def _version() -> str:
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()
