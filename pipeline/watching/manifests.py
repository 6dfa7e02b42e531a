"""Versions of datasets in git: a clone to look in, the manifest of a dataset, and how a new one gets onto a branch.

The manifest of a dataset is what git keeps of ``where``: the files themselves (a webtoon's folder with episodes.json, a
list of addresses, code), or ``where.dvc`` if DVC keeps the content. Its digest is git's own of that file or folder.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from pipeline.graph import cache_folder
from pipeline.locks import held
from pipeline.running.clones import CloneError, git, make_clone

_TRIES = 3  # to get a commit onto a branch that others move
_NAME = ("-c", "user.name=cartoon-pipeline", "-c", "user.email=cartoon-pipeline@localhost")


class ManifestError(Exception):
    """A dataset's version cannot be read or kept."""

    exit_code: ClassVar[int] = 2


class BusyError(Exception):
    """Another process is looking."""

    exit_code: ClassVar[int] = 9


@dataclass(frozen=True)
class Version:
    """What a commit says a dataset is made from."""

    path: str  # of the manifest in git, from the project's root
    digest: str  # git's of it: equal content has an equal digest, whatever the commit


@dataclass(frozen=True)
class Post:
    """The watcher's clone; its files are those of the branch that is watched, whatever the people there are doing."""

    folder: Path
    branch: str
    source: str  # the repository that has the branch: a folder or an address
    project: Path  # whose folders, zips and films people change

    def refresh(self) -> str:
        """Bring the clone to the branch's newest commit, with nothing left of an earlier look; return the commit."""
        (self.folder / ".git" / "index.lock").unlink(missing_ok=True)  # of a look that was killed; nobody else is here
        self._fetch(f"+refs/heads/{self.branch}:refs/remotes/origin/{self.branch}")
        rev = git(self.folder, "rev-parse", f"refs/remotes/origin/{self.branch}")
        git(self.folder, "checkout", "--quiet", "--force", "--detach", rev)
        git(self.folder, "clean", "-ffdq")
        return rev

    def version(self, rev: str, where: str) -> Version | None:
        """Return a dataset's version at a commit; None if git has nothing of it there."""
        for path in (f"{where}.dvc", where):
            try:
                return Version(path, git(self.folder, "rev-parse", "--verify", "--quiet", f"{rev}:{path}"))
            except CloneError:
                continue
        return None

    def commit(self, paths: Sequence[str], message: str) -> str | None:
        """Commit some files as they are now; return the commit, None if they are as before."""
        git(self.folder, "add", "--force", "--", *paths)
        if not git(self.folder, "diff", "--cached", "--name-only"):
            return None
        identity = () if self._has_identity() else _NAME
        git(self.folder, *identity, "commit", "--quiet", "--message", message)
        return git(self.folder, "rev-parse", "HEAD")

    def publish(self, commit: str) -> str:
        """Put a commit onto the branch, upon what others have put there meanwhile; never by force.

        Returns: the commit that is on the branch.
        Raises: ManifestError if the branch does not take it.
        """
        for left in reversed(range(_TRIES)):
            try:
                self._hand_over(commit)
                return commit
            except CloneError as error:
                tip = self.refresh()
                if not left or self._is_ancestor(tip, commit):
                    raise ManifestError(
                        f"{self.source}: the branch {self.branch} does not take the new manifest ({error}); put away "
                        "or commit what is changed there; the next look tries again"
                    ) from error
                commit = self._upon(tip, commit)
        raise AssertionError("unreachable")

    def propose(self, commit: str, name: str) -> None:
        """Put a commit onto a branch of its own; that branch is nobody else's."""
        git(self.folder, "push", "--quiet", "--force", "origin", f"{commit}:refs/heads/{name}")

    def proposal(self, prefix: str, tip: str, where: str) -> str | None:
        """Return the newest commit below a name that still waits: the branch has the version that it was made from."""
        there = f"refs/remotes/origin/{prefix}"
        self._fetch("--prune", f"+refs/heads/{prefix}/*:{there}/*")
        listed = git(self.folder, "for-each-ref", "--sort=-committerdate", "--format=%(objectname)", there)
        current = self.version(tip, where)
        for commit in listed.splitlines():
            if self._is_ancestor(commit, tip):
                continue
            if self.version(git(self.folder, "merge-base", commit, tip), where) == current:
                return commit
        return None

    def _hand_over(self, commit: str) -> None:
        there = Path(self.source)
        if there.is_dir() and _checked_out(there) == self.branch:
            git(there, "fetch", "--quiet", str(self.folder), commit)
            git(there, "merge", "--quiet", "--ff-only", commit)  # of the branch and of the files that are out there
        else:
            git(self.folder, "push", "--quiet", "origin", f"{commit}:refs/heads/{self.branch}")

    def _upon(self, tip: str, commit: str) -> str:
        identity = () if self._has_identity() else _NAME
        try:
            git(self.folder, *identity, "cherry-pick", "--allow-empty", commit)
        except CloneError as error:
            git(self.folder, "cherry-pick", "--abort")
            raise ManifestError(
                f"{self.branch} is at {tip[:12]} now, where somebody else changed the same manifest ({error}); the "
                "next look starts from there"
            ) from error
        return git(self.folder, "rev-parse", "HEAD")

    def _is_ancestor(self, old: str, new: str) -> bool:
        command = ["git", "-C", str(self.folder), "merge-base", "--is-ancestor", old, new]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _has_identity(self) -> bool:
        command = ["git", "-C", str(self.folder), "config", "user.email"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _fetch(self, *arguments: str) -> None:
        git(self.folder, "fetch", "--quiet", "origin", *arguments)


@contextmanager
def open_post(root: Path, profile: str, branch: str | None, remote: str | None) -> Iterator[Post]:
    """Have the watcher's clone of a profile to oneself.

    Args:
        root: the project; its ``scratch/watcher`` holds the clone.
        profile: every profile has a clone of its own.
        branch: of the origin of ``root``; None is the branch that is checked out in ``root`` itself.
        remote: DVC remote through which machines exchange content; None if the cache is shared.

    Raises: BusyError if another process has it; ManifestError if ``root`` is on no branch; CloneError.
    """
    source = str(root.resolve()) if branch is None else git(root, "remote", "get-url", "origin")
    here = Path(source)
    watched = branch or _checked_out(root)
    if not watched:
        raise ManifestError(
            f"{root}: no branch is checked out here (HEAD is a commit), so there is none to watch; check one out or "
            "name one of origin"
        )
    scratch = root / "scratch"
    scratch.mkdir(exist_ok=True)
    folder = scratch.resolve() / "watcher" / profile
    with _alone(folder.with_name(f"{profile}.lock"), profile):
        make_clone(source, folder, cache=cache_folder(root).resolve(), remote=remote, scratch=scratch)
        project = here if (here / "dvc.yaml").exists() else root.resolve()
        yield Post(folder, watched, source, project)


def inside(where: str, key: str) -> str:
    """Return ``where`` as a path from the project's root.

    Raises: ManifestError for one outside: no other machine could have it.
    """
    path = PurePosixPath(where)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ManifestError(
            f"{key}.where: {where}: outside the project, so its versions cannot be kept and agents cannot get them; "
            "move it into the project's folder (data/ is not in git) and write its path from there"
        )
    return path.as_posix()


def _checked_out(repository: Path) -> str:
    """Return the branch a working tree is on; empty for none (and for a bare repository, which has no files out)."""
    try:
        if git(repository, "rev-parse", "--is-bare-repository") == "true":
            return ""
        return git(repository, "symbolic-ref", "--quiet", "--short", "HEAD")
    except CloneError:
        return ""


@contextmanager
def _alone(path: Path, profile: str) -> Iterator[None]:
    with held(path, 0) as mine:
        if not mine:
            raise BusyError(f"{profile}: another look at its datasets is under way; this one is not needed")
        yield
