"""Durable files: written whole or not at all, and checked by sha256 before use. Standard library only."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from model.errors import CorruptInputError, MissingInputError

MANIFEST = "MANIFEST.json"


class _HashingFile:
    """A binary file that hashes what is written to it, in order."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self.file.write(data)


def atomic_write(path: Path, write: Callable[[BinaryIO], object]) -> str:
    """Write ``path`` through ``write(file)`` so that it is either whole or unchanged, also after power loss.

    The file given to ``write`` only appends (no seek): what is written is hashed on the way.

    Returns: the sha256 of the content, in hex.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            hashing = _HashingFile(file)
            write(cast(BinaryIO, hashing))
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return hashing.sha256.hexdigest()


def atomic_write_text(path: Path, text: str) -> str:
    """Write ``text`` as UTF-8; see :func:`atomic_write`."""
    return atomic_write(path, lambda file: file.write(text.encode()))


def atomic_write_json(path: Path, value: object) -> str:
    """Write ``value`` as readable JSON with sorted keys; non-finite numbers are refused."""
    return atomic_write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def publish_folder(out: Path, details: Mapping[str, Any] | None = None) -> Iterator[Path]:
    """Give a temporary folder that becomes ``out``, with a manifest, if and only if the block succeeds.

    What processes that were killed in such a block left beside ``out`` is deleted first.

    Args:
        out: the folder to (re)place.
        details: further entries for ``MANIFEST.json``.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    _sweep(out)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
    handle = os.open(temporary, os.O_RDONLY)
    _lock(handle)
    try:
        temporary.chmod(0o755)
        yield temporary
        write_manifest(temporary, details)
        if out.exists():
            # A folder cannot be replaced in one step: the old one moves aside first and goes last.
            with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".old", dir=out.parent) as old:
                out.replace(Path(old) / out.name)
                temporary.replace(out)
        else:
            temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)
    _sync_folder(out.parent)


def remove_folder(folder: Path) -> None:
    """Delete ``folder`` so that it is whole or absent at every instant, also for whoever looks after a kill."""
    _sweep(folder)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.parent))
    folder.replace(aside / folder.name)
    _sync_folder(folder.parent)
    shutil.rmtree(aside)


def write_manifest(folder: Path, details: Mapping[str, Any] | None = None) -> None:
    """Write ``MANIFEST.json``: bytes and sha256 of every file below ``folder``, after syncing each to disk."""
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    atomic_write_json(folder / MANIFEST, {"format": 1, "files": files, **(details or {})})


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Check every file of ``folder`` against its manifest.

    Returns: the manifest.
    Raises: MissingInputError without a manifest; CorruptInputError naming the first file that differs.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise MissingInputError(
            f"{folder}: no {MANIFEST}, so it is missing or unfinished; run the stage that makes it again"
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise CorruptInputError(f"{path}: not readable as JSON ({error}); make {folder} again") from error
    if manifest.get("format") != 1:
        raise CorruptInputError(
            f"{path}: format {manifest.get('format')!r}, this version reads 1; make the folder again"
        )
    for name, entry in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise CorruptInputError(f"{file}: listed in {MANIFEST} but missing; make {folder} again")
        if file.stat().st_size != entry["bytes"] or sha256_file(file) != entry["sha256"]:
            raise CorruptInputError(
                f"{file}: content differs from {MANIFEST} (truncated or edited); make {folder} again"
            )
    return manifest


def _sweep(out: Path) -> None:
    """Delete the temporary folders of ``out`` whose writers are gone: they would fill the disk, one per kill."""
    left_over = re.compile(rf"\.{re.escape(out.name)}\.[a-z0-9_]{{8}}\.(tmp|old)")  # as ``tempfile`` names them
    for left in out.parent.iterdir():
        if left_over.fullmatch(left.name) and left.is_dir():
            handle = os.open(left, os.O_RDONLY)
            try:
                if _lock(handle):
                    shutil.rmtree(left)
            finally:
                os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open folder for as long as its handle, and so at most its process, lives."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # a living process has it, or the file system knows no locks: then nothing is swept
        return False
    return True


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
