"""Clones that agents and coordinators work in, so that nobody's working tree changes under their hands."""

from __future__ import annotations

import configparser
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

LINKS = "reflink,hardlink,copy"  # of outputs to the cache; DVC makes linked files read-only


class CloneError(Exception):
    """A clone cannot be made or brought to a revision."""

    exit_code: ClassVar[int] = 2


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder.

    Returns: what it printed.
    Raises: CloneError with git's own last line.
    """
    command = ["git", "-C", str(folder), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        said = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
        raise CloneError(f"`git {' '.join(arguments)}` failed in {folder}: {said}")
    return result.stdout.strip()


def make_clone(
    source: str | Path, folder: Path, *, cache: Path | None, remote: str | None, scratch: Path | None
) -> Path:
    """Make a clone, or bring the settings of one up to date; its files are those of ``at_revision``.

    Args:
        source: the repository that revisions come from: a folder or an address.
        folder: of the clone.
        cache: DVC's cache to share; None gives the clone a cache of its own.
        remote: name of the DVC remote through which results are exchanged instead; it becomes the default one.
        scratch: folder for states of stages under way, shared so that another agent of this machine continues them.

    Returns: the folder.
    Raises: CloneError if git cannot clone, or the folder holds something else.
    """
    address = str(Path(source).resolve()) if Path(source).is_dir() else str(source)
    if not (folder / ".git").exists():
        if folder.exists() and any(folder.iterdir()):
            raise CloneError(f"{folder}: holds something that is no clone; move it away or give another --home")
        _clone(address, folder)
    git(folder, "remote", "set-url", "origin", address)
    _configure(folder, Path(address), cache, remote)
    if scratch is not None:
        _share(folder / "scratch", scratch.resolve())
        exclude = folder / ".git" / "info" / "exclude"
        exclude.parent.mkdir(exist_ok=True)
        exclude.write_text("/scratch\n")  # a link, which the pattern scratch/ of many projects does not name
    return folder


def _clone(address: str, folder: Path) -> None:
    """Clone beside and rename, so that a clone that was cut short is never taken for one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        git(folder.parent, "clone", "--quiet", address, str(beside.resolve()))
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _configure(folder: Path, source: Path, cache: Path | None, remote: str | None) -> None:
    """Write .dvc/config.local: the source's own (remotes with their keys), then what this clone needs."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.optionxform = str  # type: ignore[assignment,method-assign]  # DVC's keys keep their case
    theirs = source / ".dvc" / "config.local"
    if theirs.is_file():
        settings.read(theirs, encoding="utf-8")
    for section in ("core", "cache"):
        if not settings.has_section(section):
            settings.add_section(section)
    settings["core"]["analytics"] = "false"
    if remote is not None:
        settings["core"]["remote"] = remote
    settings.remove_option("cache", "dir")
    settings["cache"]["type"] = LINKS
    if cache is not None:
        settings["cache"]["dir"] = str(cache.resolve())
    target = folder / ".dvc" / "config.local"
    if not target.parent.is_dir():
        raise CloneError(f"{source}: no DVC project in this repository (no folder .dvc)")
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    with beside.open("w", encoding="utf-8") as file:
        settings.write(file)
    beside.chmod(0o600)  # remotes may hold keys
    beside.rename(target)


def _share(link: Path, scratch: Path) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    if link.is_symlink() and link.readlink() == scratch:
        return
    if link.is_symlink():
        link.unlink()
    elif link.is_dir() and not any(link.iterdir()):
        link.rmdir()
    elif link.exists():
        raise CloneError(f"{link}: a folder of its own, but this clone shares {scratch}; move it away")
    link.symlink_to(scratch)


def at_revision(clone: Path, rev: str) -> None:
    """Bring a clone's files to a commit; at that commit already, its dvc.lock keeps what has been done since.

    Raises: CloneError if the repository the clone is from does not have the commit.
    """
    cut_short = unlock(clone)
    if git(clone, "rev-parse", "HEAD") == rev and not cut_short:
        return
    if not _has(clone, rev):
        git(clone, "fetch", "--quiet", "origin")
    if not _has(clone, rev):
        origin = git(clone, "remote", "get-url", "origin")
        raise CloneError(
            f"{origin} does not have the commit {rev[:12]}; push it there, agents take their files from it"
        )
    git(clone, "checkout", "--quiet", "--force", "--detach", rev)


def unlock(clone: Path) -> bool:
    """Remove what a killed git has locked, in a clone that nobody else works in; says whether there was anything."""
    own = clone / ".git"
    left = [*own.glob("*.lock"), *(own / "refs").rglob("*.lock")]
    for lock in left:
        lock.unlink(missing_ok=True)
    return bool(left)


def _has(clone: Path, rev: str) -> bool:
    command = ["git", "-C", str(clone), "cat-file", "-e", f"{rev}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
