"""``cartoon-pipeline verify``: is everything as it was written?"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import ClassVar

from pipeline.commands.common import Commands, root_of


class DamagedError(Exception):
    """Files are not what their manifests say."""

    exit_code: ClassVar[int] = 4


def add(commands: Commands) -> None:
    """Add the command ``verify``."""
    verify = commands.add_parser("verify", help="re-hash every output against its manifest, and DVC's cache")
    verify.add_argument("--profile", help="default: all profiles")
    verify.set_defaults(command=_verify)


def _verify(arguments: argparse.Namespace) -> None:
    from pipeline.graph import cache_folder
    from pipeline.profiles import dvcfile_of
    from pipeline.verify import Damage, verify_cache, verify_outputs

    root = root_of(arguments)
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
