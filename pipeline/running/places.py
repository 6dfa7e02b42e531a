"""Where results are exchanged: how such a place is known, and shown without secrets."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.running.trouble import INCOMPLETE, NO_SPACE, ExchangeError

_ID = "exchange-id"  # the file that says which cache, or which folder of a remote, this is
_LEFT_BEHIND = 3600.0  # seconds after which a half-written file belongs to nobody any more


def folder_id(folder: Path) -> str:
    """Return the random name that lies in a folder; the first to ask makes it.

    Raises: ExchangeError if there is none and none can be written.
    """
    path = folder / _ID
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _create(path, secrets.token_hex(8) + "\n")
        found = path.read_text().strip()
    except OSError as error:
        raise ExchangeError(f"{path}: cannot be written or read: {error.strerror}; machines tell by it whether they "
                            "share this folder", NO_SPACE) from error  # fmt: skip
    if not re.fullmatch(r"[0-9a-f]{16}", found):
        raise ExchangeError(f"{path}: found {found[:40]!r}, expected 16 hex digits; delete it", INCOMPLETE)
    return found


def _create(path: Path, text: str) -> None:
    """Write a file that is whole from the start, unless somebody else has been faster."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", suffix=".tmp") as file:
        file.write(text)
        file.flush()
        Path(file.name).chmod(0o644)
        with suppress(FileExistsError):
            os.link(file.name, path)


def bare(url: str) -> str:
    """Return an address without user, password, query and fragment: what may be shown and compared."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}{parts.path.rstrip('/')}"


def folder_of(settings: Mapping[str, str]) -> Path | None:
    """The folder that a remote is; None if it is elsewhere."""
    parts = urlsplit(settings["url"])
    if parts.scheme in ("", "file"):
        return Path(parts.path if parts.scheme else settings["url"])
    return None


def sweep(runs: Path) -> None:
    """Remove what killed copies left in a run-cache: DVC would take the newest file of a run for its entry."""
    for path in runs.glob("??/*/.*.tmp"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _LEFT_BEHIND:
                path.unlink()
