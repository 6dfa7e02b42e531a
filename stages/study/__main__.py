"""``cartoon-pipeline study``: what the answers to the page of blind choices say."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model.files import atomic_write_json, atomic_write_text
from stages.comparing.table import read_table
from stages.console import run_chosen
from stages.study.exports import read_answers
from stages.study.outcome import Outcome, as_csv, as_json, as_markdown, outcome
from stages.study.plan import plan


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_chosen(_parser(), argv)


def analyse(data: Path, files: Sequence[Path], out: Path) -> Outcome:
    """Read the raters' files and write study.json, study.csv and study.md to the folder ``out``.

    Args:
        data: of the comparison that the page was made from, with table.parquet and pictures.
        files: as the page saves them.
        out: made if it is not there.

    Raises: MissingInputError or CorruptInputError for files that are not answers to this study.
    """
    table = read_table(data / "table.parquet")
    study = plan(table, data / "pictures")
    found = outcome(study, read_answers(files, study), table.about)
    out.mkdir(parents=True, exist_ok=True)
    atomic_write_json(out / "study.json", as_json(found))
    atomic_write_text(out / "study.csv", as_csv(found))
    atomic_write_text(out / "study.md", as_markdown(found))
    return found


def _analyse(args: argparse.Namespace) -> None:
    found = analyse(args.data, args.files, args.out or args.data.parent)
    sys.stdout.write(as_markdown(found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cartoon-pipeline study", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    about = "Check the raters' files and write study.json, study.csv and study.md: strengths, differences, agreement."
    analysis = commands.add_parser("analyse", help="rank methods by raters' choices", description=about)
    analysis.add_argument("files", nargs="+", type=Path, metavar="FILE", help="answers, as the page saves them")
    analysis.add_argument("--data", type=Path, required=True, help="reports/PROFILE/data of the page")
    analysis.add_argument("--out", type=Path, help="folder for study.json, .csv and .md (default: beside --data)")
    analysis.set_defaults(run=_analyse)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
