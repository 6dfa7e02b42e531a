"""``cartoon-pipeline selftest``: does this machine, with the real weights, measure what others measure?"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from model.errors import CorruptInputError
from stages.console import run_command
from stages.selftest import cifar, ffhq, lpips, shipped


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 unless a check failed; what was not run does not fail."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    states: Counter[str] = Counter()
    for check in (*shipped.checks(), lpips.check(args.lpips), cifar.check(args.cifar), ffhq.check(args.ffhq)):
        outcome = check.outcome()
        states[outcome.state] += 1
        sys.stdout.write(f"{outcome.state:8}{outcome.name}: {' '.join(outcome.words.split())}\n")
        sys.stdout.flush()  # the next one may take long
    if states["FAIL"]:
        raise CorruptInputError(
            f"{states['FAIL']} of {states.total()} checks failed; metrics made here would not compare with others"
        )
    sys.stdout.write(f"{states['PASS']} passed, {states['NOT RUN']} not run.\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cartoon-pipeline selftest",
        description="Compare what this machine measures with numbers that others published. Fetches Inception (96 MB) "
        "and CIFAR-10 (170 MB) unless they are here; that check takes half an hour without a GPU. CARTOON_OFFLINE=1 "
        "fetches nothing. Exits with 0 unless a check fails.",
    )
    parser.add_argument(
        "--cifar", type=Path, metavar="FOLDER", help="with the binary version of CIFAR-10, packed or not"
    )
    parser.add_argument(
        "--lpips", type=Path, metavar="FOLDER", help="with ex_ref.png, ex_p0.png and ex_p1.png of LPIPS"
    )
    parser.add_argument(
        "--ffhq", type=Path, metavar="FOLDER", help="with FFHQ's photographs; fetches its generator, too"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
