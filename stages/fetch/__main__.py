"""``cartoon-pipeline weights``: what the weights lock names, and what of it is here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model.errors import CorruptInputError, UserError
from stages.console import run_chosen, write_table
from stages.fetch.weights import adopt, damaged, ensure, entry_of, read_lock, state_of

_MEGA = 1e6


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_chosen(_parser(), argv)


def _list(_: argparse.Namespace) -> None:
    rows = [("NAME", "STATE", "MB", "FILE", "LICENCE")]
    for name, entry in read_lock().items():
        size = f"{entry.bytes / _MEGA:.1f}" if entry.bytes else "?"
        rows.append((name, state_of(entry), size, entry.file, entry.licence))
    write_table(rows)


def _fetch(args: argparse.Namespace) -> None:
    for name in args.names:
        entry_of(name)  # a wrong name is told before anything is fetched
    failed: list[UserError] = []
    for name in args.names:
        try:
            path = ensure(name)
        except UserError as error:
            failed.append(error)
            continue
        sys.stdout.write(f"{name}: {path}, sha256 {entry_of(name).sha256}\n")
    for earlier in failed[:-1]:
        sys.stderr.write(f"error: {earlier}\n")
    if failed:
        raise failed[-1]


def _import(args: argparse.Namespace) -> None:
    path = adopt(args.name, args.file)
    sys.stdout.write(f"{args.name}: {path}, sha256 {entry_of(args.name).sha256}\n")


def _verify(_: argparse.Namespace) -> None:
    good, wrong = damaged()
    for line in wrong:
        sys.stdout.write(f"{line}\n")
    if wrong:
        raise CorruptInputError(f"{len(wrong)} of {len(wrong) + len(good)} files are not what the lock says")
    sys.stdout.write(f"{len(good)} files are as the lock says.\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cartoon-pipeline weights",
        description="Weights that weights.lock.yaml names: fetched from the first address that gives the right file, "
        "continued where they broke off, checked by sha256.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="what there is, and what of it is here").set_defaults(run=_list)
    fetch = commands.add_parser("fetch", help="fetch weights that are not here yet")
    fetch.add_argument("names", nargs="+", metavar="NAME")
    fetch.set_defaults(run=_fetch)
    taken = commands.add_parser("import", help="take a file that you fetched by hand, if it is the right one")
    taken.add_argument("name", metavar="NAME")
    taken.add_argument("file", type=Path, metavar="FILE")
    taken.set_defaults(run=_import)
    commands.add_parser("verify", help="hash what is here again").set_defaults(run=_verify)
    return parser


if __name__ == "__main__":
    sys.exit(main())
