"""The coordinator's desk: nobody's tree is half changed, one commit comes out, nothing of anybody is overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.running.clones import CloneError
from pipeline.running.desk import check_out_results, open_desk
from tests.running.repositories import commit, git, make_project, stage

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", stage("a") + stage("b", deps="a.txt"))


def repro(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "-q", "repro"], cwd=folder, check=True)


def test_one_commit_of_the_lock_arrives_in_a_clean_tree(project: Path) -> None:
    before = git(project, "rev-parse", "HEAD")
    desk = open_desk(project, "demo", None, None)
    repro(desk.folder)
    made = desk.commit("Reproduce demo")
    assert made is not None
    assert git(project, "rev-parse", "HEAD") == before  # until it is handed over
    assert desk.hand_over(made) == "main"
    assert git(project, "rev-parse", "HEAD~1") == before
    assert git(project, "show", "--name-only", "--format=%s").split() == ["Reproduce", "demo", "dvc.lock"]
    check_out_results(project, "dvc.yaml")
    assert (project / "b.txt").read_text() == "b\n"
    assert git(project, "status", "--porcelain") == ""


def test_nothing_new_is_no_commit(project: Path) -> None:
    repro(project)
    commit(project, "lock")
    desk = open_desk(project, "demo", None, None)
    repro(desk.folder)
    assert desk.commit("Reproduce demo") is None


def test_a_tree_that_has_moved_on_gets_a_branch_beside_it(project: Path) -> None:
    desk = open_desk(project, "demo", None, None)
    repro(desk.folder)
    made = desk.commit("Reproduce demo")
    assert made is not None
    (project / "params.yaml").write_text("profile: demo\nmine: 1\n")  # somebody works here
    aside = desk.hand_over(made)
    assert aside == f"reproduced/{made[:12]}"
    assert git(project, "rev-parse", aside) == made
    assert (project / "params.yaml").read_text() == "profile: demo\nmine: 1\n"
    mine = commit(project, "mine")
    assert desk.hand_over(made) == aside
    assert git(project, "rev-parse", "HEAD") == mine


def test_uncommitted_changes_stop_a_run_before_it_begins(project: Path) -> None:
    (project / "params.yaml").write_text("profile: demo\nmine: 1\n")
    with pytest.raises(CloneError, match=r"not committed: params.yaml; agents work on commits, so commit first"):
        open_desk(project, "demo", None, None)


def test_an_agents_clone_pushes_to_its_branch_and_beside_it_if_that_has_moved_on(project: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--bare", str(project), str(bare))
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(bare), str(clone))
    desk = open_desk(clone, "demo", "main", None)
    repro(desk.folder)
    made = desk.commit("Reproduce demo")
    assert made is not None
    assert desk.hand_over(made) == "main"
    assert git(bare, "rev-parse", "main") == made
    (desk.folder / "params.yaml").write_text("profile: demo\nmore: 1\n")
    later = desk.commit("more")
    assert later is not None
    git(project, "pull", "-q", str(bare), "main")
    (project / "params.yaml").write_text("profile: demo\nmine: 1\n")
    mine = commit(project, "mine")
    git(project, "push", "-q", str(bare), "main")
    assert desk.hand_over(later) == f"reproduced/{later[:12]}"
    assert git(bare, "rev-parse", "main") == mine
    assert git(bare, "rev-parse", f"reproduced/{later[:12]}") == later
