"""A coordinated run on agents of two pools: where stages run, what is committed, what a failure stops."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from pipeline.flows.stages import PROTOCOL
from pipeline.graph import StageNode
from tests.orchestration.platform import PYTHON, Server, agent, git, repository, stage, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]

MEET = (
    "touch $SEEN/{me}; n=0; while [ ! -e $SEEN/{other} ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done; "
    "[ $n -lt 300 ]"
)
ALONE = "mkdir $SEEN/occupied && sleep 0.3 && rmdir $SEEN/occupied"
NOTE = 'echo "$DVC_STAGE $CARTOON_POOL" >> $SEEN/ran'


@dataclass
class Site:
    """A project with its agents."""

    server: Server
    project: Path
    seen: Path

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return self.command("run", *arguments, **more)

    def command(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [*PYTHON, "pipeline.cli", "--root", str(self.project), *arguments]
        environment = self.server.environment(SEEN=str(self.seen), **more)
        return subprocess.run(
            command, cwd=self.project, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    def ran(self) -> list[str]:
        """Executions since the last call, as ``stage pool``."""
        path = self.seen / "ran"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def commit(self, **files: str) -> str:
        for name, text in files.items():
            (self.project / name.replace("__", ".")).write_text(text)
        git(self.project, "commit", "--quiet", "--all", "--message", "change")
        return git(self.project, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def site(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("site")
    seen = home / "seen"
    seen.mkdir()
    stages = (
        stage("a", NOTE)
        + stage("left", f"{NOTE} && {MEET.format(me='left', other='right')}", ("a",))
        + stage("right", f"{NOTE} && {MEET.format(me='right', other='left')}", ("a",))
        + stage("g1", f"{NOTE} && {ALONE}", ("left", "one.yaml"), pool="gpu", dataset="one")
        + stage("g2", f"{NOTE} && {ALONE}", ("right", "two.yaml"), pool="gpu", dataset="two")
        + stage("table", NOTE, ("g1", "g2"))
    )
    project = repository(home / "project", stages, {"one.yaml": "1\n", "two.yaml": "1\n"})
    site = Site(server, project, seen)
    done = site.command("deploy")
    assert done.returncode == 0, done.stderr
    with agent(server, project, "cpu", "--slots", "2", SEEN=str(seen)), agent(server, project, "gpu", SEEN=str(seen)):
        yield site


def test_stages_run_in_their_pools_side_by_side_and_end_as_one_commit_in_a_clean_tree(site: Site) -> None:
    before = git(site.project, "rev-parse", "HEAD")
    done = site.run()
    assert done.returncode == 0, done.stderr[-4000:]
    assert sorted(site.ran()) == ["a cpu", "g1 gpu", "g2 gpu", "left cpu", "right cpu", "table cpu"]
    assert git(site.project, "rev-parse", "HEAD~1") == before
    assert git(site.project, "show", "--format=%s", "--name-only").split() == ["Reproduce", "demo", "dvc.lock"]
    assert git(site.project, "status", "--porcelain") == ""
    assert (site.project / "work" / "table.txt").read_text() == "table\n"
    (run,) = [run["id"] for run in site.server.runs() if run["name"] == "reproduce"]
    told = wait_for(lambda: (log := site.server.log_of(run)).count("committed as") == 1 and log, 30)
    assert "6 stages to run, as " in told
    status = subprocess.run(
        [*PYTHON, "dvc", "status"], cwd=site.project, capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert "up to date" in status.stdout
    again = site.run()
    assert "Everything is up to date." in again.stdout
    assert git(site.project, "rev-parse", "HEAD~1") == before
    assert site.ran() == []


def test_one_dataset_runs_nothing_of_another_and_the_table_only_if_the_others_are_up_to_date(site: Site) -> None:
    site.commit(one__yaml="2\n")
    done = site.run("--dataset", "one")
    assert done.returncode == 0, done.stderr[-4000:]
    assert site.ran() == ["g1 gpu"]  # its output is the same, so the table is, too,
    assert "table -> pool" not in done.stderr  # and no agent is asked for it
    site.commit(one__yaml="3\n", two__yaml="3\n")
    done = site.run("--dataset", "one")
    assert done.returncode == 0, done.stderr[-4000:]
    assert site.ran() == ["g1 gpu"]
    assert "out of date, but not asked for: g2" in done.stderr
    unknown = site.run("--dataset", "three")
    assert unknown.returncode == 2
    assert "three: no stage has this dataset; there are: one, two" in unknown.stderr


def test_a_failure_stops_only_what_needs_it_and_commits_nothing_but_forgets_nothing(site: Site) -> None:
    good = (site.project / "dvc.yaml").read_text()
    text = good.replace('  g1: {"cmd": "', '  g1: {"cmd": "sh -c \'exit 7\' && ').replace("sleep 0.3", "sleep 0.4")
    before = site.commit(dvc__yaml=text, two__yaml="4\n")
    done = site.run()
    assert done.returncode == 7, done.stderr[-4000:]
    assert "failed: g1; skipped, because they need them: table" in done.stderr
    assert site.ran() == ["g2 gpu"]
    assert git(site.project, "rev-parse", "HEAD") == before
    assert git(site.project, "status", "--porcelain") == ""
    site.commit(dvc__yaml=text.replace("sh -c 'exit 7' && ", ""))
    done = site.run()
    assert done.returncode == 0, done.stderr[-4000:]
    assert site.ran() == ["g1 gpu"]
    assert git(site.project, "log", "-1", "--format=%s") == "Reproduce demo"


def test_a_stage_on_the_wrong_pool_and_an_agent_of_another_protocol_say_so(site: Site) -> None:
    node = asdict(StageNode("g1", "dvc.yaml", "gpu", False, ()))
    rev = git(site.project, "rev-parse", "HEAD")
    common = {"title": "g1", "nodes": [node], "rev": rev, "exchange": "", "pools": {}}
    wrong = site.server.submit("stages/cpu", {**common, "protocol": PROTOCOL})
    old = site.server.submit("stages/gpu", {**common, "protocol": PROTOCOL - 1})
    assert site.server.wait(wrong) == "FAILED"
    wait_for(lambda: "g1: belongs to pool gpu, this agent serves cpu" in site.server.log_of(wrong), 30)
    assert site.server.wait(old) == "FAILED"
    said = f"the coordinator speaks protocol {PROTOCOL - 1}, this agent {PROTOCOL}"
    wait_for(lambda: said in site.server.log_of(old), 30)
    assert site.ran() == []


def test_uncommitted_changes_and_missing_deployments_are_said_before_anything_runs(site: Site) -> None:
    (site.project / "one.yaml").write_text("9\n")
    done = site.run()
    assert done.returncode == 2
    assert "not committed: one.yaml; agents work on commits, so commit first" in done.stderr
    git(site.project, "checkout", "--quiet", "one.yaml")
    assert site.ran() == []
