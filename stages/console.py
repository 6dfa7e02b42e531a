"""What commands for people have in common: one line for a failure, its exit code, plain tables."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

_INTERRUPTED = 130  # what a shell reports for Ctrl-C


def run_command(run: Callable[[], None]) -> int:
    """Run a command that can be started again; return its exit code.

    A failure with an ``exit_code`` is one line; any other is a bug, and raised.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        run()
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return int(code)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command continues from here\n")
        return _INTERRUPTED
    return 0


def run_chosen(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Run the sub-command that the arguments choose: their ``run``, called with them."""
    args = parser.parse_args(argv)
    return run_command(lambda: args.run(args))


def write_table(rows: Sequence[Sequence[str]]) -> None:
    """Write rows, the first of them a head, in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
