"""``cartoon-pipeline``: run, watch and check the pipeline. Runs stages as processes and never imports torch."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

from pipeline.telemetry import silence

_INTERRUPTED = 130
_DISTRIBUTION = "cartoon-pipeline"
_BEHIND = {
    "weights": "stages.fetch",
    "datasets": "stages.sources",
    "selftest": "stages.selftest",
    "study": "stages.study",
}


class CommandError(Exception):
    """A command cannot do what it was asked."""

    exit_code: ClassVar[int] = 2


class DamagedError(Exception):
    """Files are not what their manifests say."""

    exit_code: ClassVar[int] = 4


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
    _add_run(commands)
    status = commands.add_parser("status", help="show which stages are out of date and why")
    status.add_argument("--profile", help="default: the root's own")
    status.set_defaults(command=_status)
    ui = commands.add_parser("ui", help="open the comparison in MLflow on 127.0.0.1")
    ui.add_argument("--port", type=int, default=5000, help="default: 5000")
    ui.set_defaults(command=_ui)
    republish = commands.add_parser("republish", help="send records to MLflow that it has not seen yet")
    republish.add_argument("--profile", help="default: all profiles")
    republish.add_argument("--all", action="store_true", help="send also what was sent before, to a new or lost store")
    republish.set_defaults(command=_republish)
    profile = commands.add_parser("new-profile", help="make profiles/NAME: your own datasets, methods and numbers")
    profile.add_argument("name")
    profile.set_defaults(command=_new_profile)
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
    verify = commands.add_parser("verify", help="re-hash every output against its manifest, and DVC's cache")
    verify.add_argument("--profile", help="default: all profiles")
    verify.set_defaults(command=_verify)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser(
        "run",
        help="run every stage that is out of date, independent ones side by side",
        description="Run every stage that is out of date and what depends on it. A failed stage stops only what needs "
        "it; the same command continues from there. Network stages are tried again.",
    )
    run.add_argument("targets", nargs="*", metavar="STAGE", help="stages, or groups like `train`, with all they need")
    run.add_argument("--profile", help="default: the root's own")
    run.add_argument("--gpu-slots", type=int, help="`gpu` stages at a time (default: one per GPU, 1 without)")
    run.set_defaults(command=_run)


def _add_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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


def _version() -> str:
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "(not installed)"


def _root(arguments: argparse.Namespace) -> Path:
    """The project's root, checked, so that every message after this one is about something else."""
    root = Path(arguments.root).resolve()
    if not (root / "dvc.yaml").exists():
        raise CommandError(f"{root}: no dvc.yaml here; start in the project's folder or give --root DIR")
    return root


def _run(arguments: argparse.Namespace) -> None:
    from pipeline.graph import read_graph, select, stale_stages, to_run
    from pipeline.profiles import dvcfile_of

    root = _root(arguments)
    if arguments.gpu_slots is not None and arguments.gpu_slots < 1:
        raise CommandError(f"--gpu-slots {arguments.gpu_slots}: expected 1 or more")
    dvcfile = dvcfile_of(root, arguments.profile)
    graph = select(read_graph(root), dvcfile, arguments.targets)
    if not to_run(graph, stale_stages(root, dvcfile)):
        sys.stdout.write("Everything is up to date.\n")
        return
    prepare_prefect(root)
    # Prefect hands SIGTERM back to whoever had it before: without this the process would die on the spot and leave
    # Prefect's temporary server behind.
    signal.signal(signal.SIGTERM, _leave)
    from pipeline.flows.reproduce import reproduce

    ran = reproduce(str(root), dvcfile, arguments.targets or None, arguments.gpu_slots)
    sys.stdout.write(f"{len(ran)} stages are up to date now.\n")


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def prepare_prefect(root: Path) -> None:
    """Settings for Prefect's own temporary server; must come before the first import of Prefect."""
    home = root / "scratch" / "prefect"
    os.environ.setdefault("PREFECT_HOME", str(home))
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)


def _status(arguments: argparse.Namespace) -> None:
    from pipeline.graph import read_graph, select, stale_stages, to_run
    from pipeline.profiles import dvcfile_of

    root = _root(arguments)
    dvcfile = dvcfile_of(root, arguments.profile)
    graph = select(read_graph(root), dvcfile)
    stale = stale_stages(root, dvcfile)
    chosen = to_run(graph, stale)
    for name in chosen:
        reason = ", ".join(stale[name][:3]) if name in stale else "depends on one above"
        more = f" and {len(stale[name]) - 3} more" if len(stale.get(name, [])) > 3 else ""
        sys.stdout.write(f"{name}: {reason}{more}\n")
    sys.stdout.write(f"{len(graph) - len(chosen)} of {len(graph)} stages are up to date.\n")


def _republish(arguments: argparse.Namespace) -> None:
    from pipeline.publish import republish

    root = _root(arguments)
    try:
        sent = republish(root, arguments.profile, everything=arguments.all)
    except Exception as error:
        raise CommandError(f"MLflow: {' '.join(str(error).split())[:300]}; nothing is lost, try again later") from error
    sys.stdout.write(f"{sent} records sent.\n" if sent else "MLflow has seen everything.\n")


def _ui(arguments: argparse.Namespace) -> None:
    from pipeline.ui import serve

    serve(_root(arguments), arguments.port)


def _new_profile(arguments: argparse.Namespace) -> None:
    from pipeline.profiles import new_profile

    folder = new_profile(_root(arguments), arguments.name)
    sys.stdout.write(
        f"{folder} is ready. Edit {folder / 'params.yaml'}, then\n"
        f"  dvc repro profiles/{arguments.name}/dvc.yaml\n"
        f"or  cartoon-pipeline run --profile {arguments.name}\n"
    )


def _elsewhere(arguments: argparse.Namespace) -> None:
    """Become the process that does it; downloading and computing are a stage's work."""
    os.chdir(_root(arguments))
    os.execv(sys.executable, [sys.executable, "-m", arguments.module, *arguments.rest])


def _explain(arguments: argparse.Namespace) -> None:
    """Become the process that tries the methods; computing is a stage's work."""
    from pipeline.profiles import dvcfile_of

    root = _root(arguments)
    params = Path(dvcfile_of(root, arguments.profile)).with_name("params.yaml").as_posix()
    os.chdir(root)
    command = ["-m", "stages.explain", "--params", params, "--format", arguments.format, "--", *arguments.methods]
    os.execv(sys.executable, [sys.executable, *command])


def _verify(arguments: argparse.Namespace) -> None:
    from pipeline.graph import cache_folder
    from pipeline.profiles import dvcfile_of
    from pipeline.verify import Damage, verify_cache, verify_outputs

    root = _root(arguments)
    if arguments.profile:
        dvcfile_of(root, arguments.profile)
    places = [root / top / (arguments.profile or "") for top in ("work", "reports")]
    results: list[Path | Damage] = [item for place in places for item in verify_outputs(place)]
    results += verify_cache(cache_folder(root))
    damages = [item for item in results if isinstance(item, Damage)]
    for damage in damages:
        sys.stdout.write(f"{os.path.relpath(damage.path, root)}: {damage.what}\n")
    if damages:
        raise DamagedError(
            f"{len(damages)} damaged files; `dvc checkout --force` brings outputs back from the cache, "
            "`dvc repro` makes again what the cache does not have"
        )
    sys.stdout.write(f"{len(results)} folders are as their manifests say.\n")


if __name__ == "__main__":
    main()
