"""Where a coordinator works: a clone, so that nobody's tree is ever half changed, and how its commit gets out."""

from __future__ import annotations

import logging
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipeline.graph import cache_folder, dvc_command
from pipeline.running.clones import CloneError, git, make_clone, unlock

log = logging.getLogger("run")

_NAME = ("-c", "user.name=cartoon-pipeline", "-c", "user.email=cartoon-pipeline@localhost")


@dataclass(frozen=True)
class Desk:
    """A clone at the commit that a run reproduces."""

    folder: Path
    rev: str
    root: Path  # who is handed the commit
    branch: str | None  # of the root's origin, to which it is pushed; None = the root's own branch

    def commit(self, message: str) -> str | None:
        """Commit what changed among tracked files: dvc.lock and what git keeps of the outputs.

        Returns: the commit, None if nothing changed.
        """
        git(self.folder, "add", "--update")
        new = git(self.folder, "ls-files", "--others", "--exclude-standard")
        if new:  # a first dvc.lock, first metrics
            git(self.folder, "add", "--", *new.splitlines())
        if not git(self.folder, "status", "--porcelain", "--untracked-files=no"):
            return None
        identity = () if _has_identity(self.folder) else _NAME
        git(self.folder, *identity, "commit", "--quiet", "--message", message)
        return git(self.folder, "rev-parse", "HEAD")

    def hand_over(self, commit: str) -> str:
        """Bring the commit to where people see it; never by force, never over somebody's changes.

        Returns: the branch that holds it now: the one that was asked for, or one of its own if that has moved on.
        """
        aside = f"reproduced/{commit[:12]}"
        if self.branch is not None:
            return self._push(commit, aside)
        git(self.root, "fetch", "--quiet", str(self.folder), commit)
        unchanged = git(self.root, "rev-parse", "HEAD") == self.rev
        if unchanged and not changed_files(self.root):
            git(self.root, "merge", "--quiet", "--ff-only", commit)
            return git(self.root, "rev-parse", "--abbrev-ref", "HEAD")
        git(self.root, "branch", "--force", aside, commit)
        return aside

    def _push(self, commit: str, aside: str) -> str:
        try:
            git(self.folder, "push", "--quiet", "origin", f"{commit}:refs/heads/{self.branch}")
        except CloneError as error:
            log.warning("%s did not take the commit (%s); it is pushed as %s", self.branch, error, aside)
            git(self.folder, "push", "--quiet", "origin", f"{commit}:refs/heads/{aside}")
            return aside
        return str(self.branch)


def open_desk(root: Path, name: str, branch: str | None, remote: str | None) -> Desk:
    """Get a clone ready for a run.

    Args:
        root: the operator's project; or, with ``branch``, a coordinator agent's own clone, which is used itself.
        name: of the profile; every profile has a desk of its own.
        branch: of the origin of ``root``, whose newest commit is reproduced; None is the commit that ``root`` is at.
        remote: DVC remote that results come from; None if the cache is shared.

    Raises: CloneError if ``root`` has changes that are not committed: agents work on commits.
    """
    if branch is not None:
        unlock(root)
        git(root, "fetch", "--quiet", "origin", f"+refs/heads/{branch}:refs/remotes/origin/{branch}")
        rev = git(root, "rev-parse", f"refs/remotes/origin/{branch}")
        git(root, "checkout", "--quiet", "--force", "--detach", rev)
        return Desk(root, rev, root, branch)
    if not (root / ".git").exists():
        raise CloneError(
            f"{root}: no git repository, and agents work on commits; `git init` and commit, or `cartoon-pipeline run "
            "--here` runs everything in this folder as it is"
        )
    changed = changed_files(root)
    if changed:
        raise CloneError(
            f"{root}: not committed: {', '.join(changed[:5])}; agents work on commits, so commit first "
            "(or `cartoon-pipeline run --here` runs everything in this folder as it is)"
        )
    rev = git(root, "rev-parse", "HEAD")
    folder = root / "scratch" / "coordinator" / name
    scratch = root / "scratch"
    unlock(folder)
    make_clone(root, folder, cache=cache_folder(root).resolve(), remote=remote, scratch=scratch)
    git(folder, "fetch", "--quiet", "origin")
    git(folder, "checkout", "--quiet", "--force", "--detach", rev)
    return Desk(folder, rev, root, None)


def changed_files(root: Path) -> list[str]:
    """Return tracked files that differ from the last commit."""
    lines = git(root, "status", "--porcelain", "--untracked-files=no").splitlines()
    return [line.strip().partition(" ")[2].strip() for line in lines]


def check_out_results(root: Path, dvcfile: str) -> None:
    """Link outputs that dvc.lock names now into a working tree; what a person changed there is left alone."""
    command = dvc_command("checkout", dvcfile)
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        said = (result.stderr.strip().splitlines() or ["no message"])[-1]
        log.warning("outputs are in the cache, but not all could be put into %s: %s", root, said)


def _has_identity(folder: Path) -> bool:
    command = ["git", "-C", str(folder), "config", "user.email"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
