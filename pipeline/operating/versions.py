"""Is what is installed here what the project pins?"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import ClassVar

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)(?:\s*;\s*([^\\]+))?")
_SHARED = ("dvc", "dvc-data", "dvc-objects", "prefect")  # what machines exchange is laid out by these


class VersionError(Exception):
    """This environment cannot work together with the others."""

    exit_code: ClassVar[int] = 2


def differences(lock: Path) -> dict[str, tuple[str, str]]:
    """Packages that are installed in another version than a requirements.lock pins.

    Returns: name -> (pinned, installed); packages that are not installed are left out, extras are optional.
    """
    from packaging.markers import Marker

    found = {}
    for line in lock.read_text(encoding="utf-8").splitlines() if lock.is_file() else ():
        if match := _PIN.match(line):
            name, pinned, marker = match.groups()
            if marker and not Marker(marker).evaluate():
                continue  # a pin for other machines or another Python
            try:
                installed = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
            if _public(installed) != _public(pinned):
                found[name] = (pinned, installed)
    return found


def check(lock: Path) -> list[str]:
    """Compare this environment with a requirements.lock.

    Returns: sentences about differences that may matter to results.
    Raises: VersionError if tools differ that machines exchange results through.
    """
    found = differences(lock)
    fatal = [f"{name} {found[name][1]} (pinned: {found[name][0]})" for name in _SHARED if name in found]
    if fatal:
        raise VersionError(
            f"installed here: {', '.join(fatal)}; machines exchange results through these, so all need the pinned "
            f"versions: `python -m pip install --require-hashes --no-deps -r {lock.name}`"
        )
    return [
        f"{name} {installed} is installed, {lock.name} pins {pinned}" for name, (pinned, installed) in found.items()
    ]


def _public(version: str) -> str:
    """Return a version without its local part: ``2.11.0+cu130`` and ``2.11.0`` are one release."""
    return version.partition("+")[0]
