"""Clones of agents: made whole, brought to commits, sharing what they shall share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.running.clones import CloneError, at_revision, make_clone
from tests.running.repositories import commit, git, make_project, stage

pytestmark = pytest.mark.slow

DVC = [sys.executable, "-m", "dvc"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", stage("a") + stage("b", deps="a.txt"))


def dvc(folder: Path, *arguments: str) -> str:
    done = subprocess.run([*DVC, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_clone_takes_results_from_the_shared_cache_without_running_anything(project: Path, tmp_path: Path) -> None:
    dvc(project, "repro")
    rev = commit(project, "lock")
    clone = make_clone(project, tmp_path / "clone", cache=project / ".dvc/cache", remote=None, scratch=tmp_path / "s")
    at_revision(clone, rev)
    dvc(clone, "checkout")
    assert (clone / "b.txt").read_text() == "b\n"
    (clone / "scratch" / "state").write_text("kept")
    assert (tmp_path / "s" / "state").read_text() == "kept"
    assert git(clone, "status", "--porcelain") == ""


def test_it_is_brought_to_new_commits_and_changes_in_it_are_dropped(project: Path, tmp_path: Path) -> None:
    clone = make_clone(project, tmp_path / "clone", cache=None, remote=None, scratch=None)
    (clone / "params.yaml").write_text("profile: other\n")
    (project / "params.yaml").write_text("profile: demo\nnew: 1\n")
    rev = commit(project, "new")
    at_revision(clone, rev)
    assert (clone / "params.yaml").read_text() == "profile: demo\nnew: 1\n"
    assert git(clone, "status", "--porcelain") == ""


def test_at_the_same_commit_the_lock_keeps_what_was_done(project: Path, tmp_path: Path) -> None:
    clone = make_clone(project, tmp_path / "clone", cache=None, remote=None, scratch=None)
    rev = git(project, "rev-parse", "HEAD")
    at_revision(clone, rev)
    dvc(clone, "repro", "a")
    at_revision(clone, rev)
    assert "a:" in (clone / "dvc.lock").read_text()


def test_a_checkout_that_was_cut_short_is_made_again(project: Path, tmp_path: Path) -> None:
    clone = make_clone(project, tmp_path / "clone", cache=None, remote=None, scratch=None)
    rev = git(clone, "rev-parse", "HEAD")
    (clone / "dvc.yaml").write_text("of another commit\n")
    (clone / ".git" / "index.lock").touch()
    at_revision(clone, rev)
    assert git(clone, "status", "--porcelain") == ""


def test_remotes_with_their_keys_come_along_and_are_nobody_elses_to_read(project: Path, tmp_path: Path) -> None:
    dvc(project, "remote", "add", "--local", "store", str(tmp_path / "store"))
    dvc(project, "remote", "modify", "--local", "store", "verify", "true")
    clone = make_clone(project, tmp_path / "clone", cache=None, remote="store", scratch=None)
    assert dvc(clone, "config", "core.remote") == "store"
    assert dvc(clone, "config", "remote.store.verify") == "true"
    assert (clone / ".dvc" / "config.local").stat().st_mode & 0o077 == 0


def test_a_clone_that_was_cut_short_is_made_again(project: Path, tmp_path: Path) -> None:
    (tmp_path / ".clone.1234.tmp" / ".git").mkdir(parents=True)
    clone = make_clone(project, tmp_path / "clone", cache=None, remote=None, scratch=None)
    again = make_clone(project, tmp_path / "clone", cache=None, remote=None, scratch=None)
    assert again == clone
    assert (clone / "dvc.yaml").exists()


def test_messages_say_what_to_do(project: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(CloneError, match="full: holds something that is no clone; move it away or give"):
        make_clone(project, tmp_path / "full", cache=None, remote=None, scratch=None)
    clone = make_clone(project, tmp_path / "clone", cache=None, remote=None, scratch=None)
    with pytest.raises(CloneError, match=r"does not have the commit 0123456789ab; push it there"):
        at_revision(clone, "0123456789ab" + "0" * 28)
    (clone / "scratch").mkdir()
    (clone / "scratch" / "mine").write_text("x")
    with pytest.raises(CloneError, match=r"scratch: a folder of its own, but this clone shares .*s; move it away"):
        make_clone(project, clone, cache=None, remote=None, scratch=tmp_path / "s")
