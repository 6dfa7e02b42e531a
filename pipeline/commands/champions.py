"""``cartoon-pipeline champion``: the best generator of every dataset, and what an operator may do about it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.common import CommandError, Commands, root_of

if TYPE_CHECKING:
    from pipeline.champions.registry import Standing

_BY_HAND = "an operator's decision"


def add(commands: Commands) -> None:
    """Add the command ``champion`` with what can be done."""
    champion = commands.add_parser(
        "champion",
        help="show, promote, revert or export the best generator of a dataset",
        description="The best generator of every dataset is registered in MLflow, under the alias `champion`. A "
        "finished run compares its own with it; without a word after `champion`, they are listed.",
    )
    champion.add_argument("--profile", help="default: the root's own")
    champion.set_defaults(command=_told(_list))
    does = champion.add_subparsers(metavar="WHAT")
    _add(does, "list", "show champions, their versions and their history (the default)", _list)
    _add(does, "consider", "compare the last comparison's best generators with the champions", _consider)
    promote = _add(does, "promote", "make a version the champion", _promote, dataset=True)
    promote.add_argument("version", type=int, metavar="VERSION", help="its number, as `list` shows it")
    promote.add_argument("--why", default=_BY_HAND, help="noted in the history")
    revert = _add(does, "revert", "make the previous champion the champion again", _revert, dataset=True)
    revert.add_argument("--why", default=_BY_HAND, help="noted in the history")
    export = _add(does, "export", "fetch the champion's generator, for `cartoon generate`", _export, dataset=True)
    export.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors", help="where to write it")


def _add(
    does: Commands, name: str, about: str, command: Callable[[argparse.Namespace], None], *, dataset: bool = False
) -> argparse.ArgumentParser:
    parser = does.add_parser(name, help=about)
    if dataset:
        parser.add_argument("dataset", metavar="DATASET")
    # Before the word or after it: without SUPPRESS, the default here would undo what stood before.
    parser.add_argument("--profile", default=argparse.SUPPRESS, help="default: the root's own")
    parser.set_defaults(command=_told(command))
    return parser


def _told(command: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], None]:
    """Return the command with failures of MLflow in one line."""

    def run(arguments: argparse.Namespace) -> None:
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        from mlflow.exceptions import MlflowException

        try:
            command(arguments)
        except MlflowException as error:
            raise CommandError(f"MLflow: {' '.join(str(error).split())[:300]}") from error

    return run


def _list(arguments: argparse.Namespace) -> None:
    from pipeline.champions.registry import standings

    root, profile = _where(arguments)
    found = standings(root, profile)
    if not found:
        sys.stdout.write(f"{profile}: no champions yet; a finished run registers them (or `champion consider`)\n")
    for standing in found:
        sys.stdout.write("\n".join(_shown(standing)) + "\n")


def _shown(standing: Standing) -> Iterable[str]:
    yield f"{standing.dataset} ({standing.model})"
    names = {standing.champion: "champion", standing.previous: "previous"}
    for version in standing.versions:
        tags, number = version.tags, int(version.version)
        name = names.get(number, "")
        verdict = f"{tags.get('verdict', 'not judged yet')}{', taken back' if tags.get('reverted') == 'true' else ''}"
        numbers = f"KID {tags.get('kid', '?')}, similarity {tags.get('similarity', '?')}"
        again = f"; measured again {tags['measured_again']}" if "measured_again" in tags else ""
        yield f"  {number:3d} {name:8s}  {tags.get('title', 'registered by hand')}: {numbers}{again}; {verdict}"
    for move in standing.history:
        before = f" (before: {move.before})" if move.before is not None else ""
        yield f"  {move.when}  {move.what}: version {move.version}{before}: {move.why}"


def _consider(arguments: argparse.Namespace) -> None:
    from pipeline.champions.registry import consider

    root, profile = _where(arguments)
    verdicts = consider(root, profile)
    for verdict in verdicts:
        title = f" {verdict.title}:" if verdict.title else ""
        version = f" version {verdict.version}," if verdict.version is not None else ""
        sys.stdout.write(f"{verdict.dataset}: {verdict.state}:{version}{title} {verdict.why}\n")
    if not verdicts:
        sys.stdout.write(f"{profile}: its params.yaml has no section `champion`, so nothing is considered\n")


def _promote(arguments: argparse.Namespace) -> None:
    from pipeline.champions.registry import promote

    root, profile = _where(arguments)
    before = promote(root, profile, arguments.dataset, arguments.version, arguments.why)
    if before == arguments.version:
        sys.stdout.write(f"{arguments.dataset}: version {before} is the champion already\n")
        return
    back = f"; `cartoon-pipeline champion revert {arguments.dataset}` brings {before} back" if before else ""
    sys.stdout.write(f"{arguments.dataset}: version {arguments.version} is the champion now{back}\n")


def _revert(arguments: argparse.Namespace) -> None:
    from pipeline.champions.registry import revert

    root, profile = _where(arguments)
    was, now = revert(root, profile, arguments.dataset, arguments.why)
    sys.stdout.write(f"{arguments.dataset}: version {now} is the champion again, version {was} is taken back\n")


def _export(arguments: argparse.Namespace) -> None:
    from pipeline.champions.registry import export

    root, profile = _where(arguments)
    version = export(root, profile, arguments.dataset, arguments.out)
    sys.stdout.write(
        f"{arguments.out}: the champion of {arguments.dataset}, version {version}; draw with it:\n"
        f"  cartoon generate --weights {arguments.out} --seeds 0-15 --out faces.png\n"
    )


def _where(arguments: argparse.Namespace) -> tuple[Path, str]:
    from pipeline.operating.settings import find_servers
    from pipeline.profiles import dvcfile_of, known_profiles

    root = root_of(arguments)
    if server := find_servers(root).mlflow:
        os.environ["MLFLOW_TRACKING_URI"] = server  # its artifacts are found through it alone
    dvcfile_of(root, arguments.profile)
    return root, arguments.profile or next(iter(known_profiles(root)))
