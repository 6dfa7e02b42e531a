"""``cartoon-pipeline verify`` and ``doctor``: is everything as it was written, and is this machine ready?"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pipeline.commands.common import CommandError, Commands, root_of


class DamagedError(Exception):
    """Files are not what their manifests say."""

    exit_code: ClassVar[int] = 4


def add(commands: Commands) -> None:
    """Add the commands ``verify`` and ``doctor``."""
    verify = commands.add_parser("verify", help="re-hash every output against its manifest, and DVC's cache")
    verify.add_argument("--profile", help="default: all profiles")
    verify.add_argument("--remote", metavar="NAME", help="check the objects of this DVC remote instead, a folder")
    verify.add_argument(
        "--quarantine", action="store_true", help="move what is damaged aside, so that DVC makes or brings it again"
    )
    verify.set_defaults(command=_verify)
    doctor = commands.add_parser(
        "doctor",
        help="check versions, git, disk, cache, remote, GPUs, ports, servers and clock of this machine",
        description="One line per check: ok, warning or problem, what was found, and what to do. Exits with 0 if there "
        "is no problem, 5 if something is lacking, 2 if something is set up wrongly.",
    )
    doctor.add_argument("--pool", choices=("cpu", "gpu", "coordinator"), help="that this machine is to serve")
    doctor.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> None:
    from pipeline.operating.doctor import examine
    from pipeline.operating.finding import judge

    findings = examine(root_of(arguments), arguments.pool)
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    judge(findings)


def _verify(arguments: argparse.Namespace) -> None:
    from pipeline.graph import cache_folder, read_outputs
    from pipeline.profiles import dvcfile_of
    from pipeline.running.exchange import Remote
    from pipeline.verify import Cache, listings, quarantine, verify_cache, verify_project

    root = root_of(arguments)
    if arguments.remote and arguments.profile:
        raise CommandError("--remote checks all that is there; expected no --profile beside it")
    if arguments.remote:
        place = Remote(root, arguments.remote).folder()
        cache = Cache(place)
        damages, also = list(verify_cache(cache)), list(listings(cache))
        right = "All objects are what their names say."
    else:
        place, dvcfile = cache_folder(root), dvcfile_of(root, arguments.profile) if arguments.profile else None
        outputs = [output for output in read_outputs(root) if dvcfile in (None, output.dvcfile)]
        folders = [root / top / (arguments.profile or "") for top in ("work", "reports")]
        (count, damages), also = verify_project(folders, outputs, Cache(place)), []
        right = f"{count} folders and objects are as they were written."
    for damage in damages:
        sys.stdout.write(f"{os.path.relpath(damage.path, root)}: {damage}\n")
    if not damages:
        sys.stdout.write(f"{right}\n")
    elif arguments.quarantine:
        aside = root / "scratch" / "quarantine" / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        _say_moved(quarantine([*damages, *also], place, root, aside), root, arguments.remote)
    else:
        raise DamagedError(f"{len(damages)} damaged files; the lines above say what brings each one back")


def _say_moved(moved: Sequence[Path], root: Path, remote: str | None) -> None:
    folders = sorted({os.path.relpath(path.parent, root) for path in moved})
    again = (
        f"`DVC_SITE_CACHE_DIR=$(mktemp -d) dvc push --remote {remote}` sends them again from where they are right"
        if remote
        else "`dvc repro` brings or makes them again"
    )
    sys.stdout.write(f"{len(moved)} files moved to {', '.join(folders[:3])}{' ...' * (len(folders) > 3)}; {again}.\n")
