"""A dataset changes upstream, and the comparison follows: a local webtoon site, a real server, agents, real crawls."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.watching import digests
from pipeline.watching.looks import Finding, look, read_watch
from pipeline.watching.manifests import open_post
from tests.orchestration.platform import PYTHON, Server, agent, alive, find, git, repository, wait_for
from tests.stages.world import WEB
from tests.web.faultserver import Asked, Reply, png
from tests.web.webtoon_site import FakeWebtoon, fake_webtoon

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]

ROOT = Path(__file__).resolve().parents[2]
NOTE = 'echo "$DVC_STAGE" >> $SEEN/ran'
GRAPH = f"""
  crawl:
    foreach: ${{datasets}}
    do:
      cmd: >-
        {NOTE} && {sys.executable} -m stages.crawl --params params.yaml --dataset ${{key}}
        --scratch scratch/demo/crawl/${{key}} --out work/raw/${{key}}
      deps: ["${{item.where}}"]
      outs: ["work/raw/${{key}}"]
      meta: {{pool: cpu, network: true, dataset: "${{key}}"}}
  train:
    foreach: ${{datasets}}
    do:
      cmd: {NOTE} && mkdir -p work/train/${{key}} && ls work/raw/${{key}}/*.png | wc -l > work/train/${{key}}/pictures
      deps: ["work/raw/${{key}}"]
      outs: ["work/train/${{key}}/pictures"]
      meta: {{pool: cpu, dataset: "${{key}}"}}
  compare:
    cmd: {NOTE} && grep -r . work/train | sort > work/table.txt
    deps: [work/train]
    outs: [work/table.txt]
    meta: {{pool: cpu}}
  publish:
    cmd: {NOTE} && mkdir -p reports && cp work/table.txt reports/table.txt
    deps: [work/table.txt]
    outs: [{{reports/table.txt: {{cache: false}}}}]
    meta: {{pool: cpu}}
"""
SAME = {"pick": None, "max_bad_fraction": 0.1, "face": "none", "exclude": "none.txt", "license": "CC0-1.0"}
PARAMS: dict[str, Any] = {
    "profile": "demo",
    "crawl": WEB,
    "datasets": {
        "comics": SAME | {"source": "webtoon", "where": "data/comics", "titles": ["en/95"], "max_episodes": None},
        "pages": SAME | {"source": "folder", "where": "data/pages", "group_by": "file"},
    },
    "scheduling": {"short": ["crawl", "train", "compare"], "retry_s": [1.0], "start_s": 300.0},
    "watch": {
        "publish": "branch", "quiet_s": 0.0, "attempts": 3,
        "datasets": {"pages": {"publish": "branch", "list": "https://example.org/list.csv"}},  # which is a mistake
    },
}  # fmt: skip
PERMISSION = {"titles": [{"title": "en/95", "permission": "drawn for this test", "rights": "CC0-1.0"}]}


@dataclass
class World:
    """A project whose comparison is up to date, and the site that one of its datasets is from."""

    server: Server
    project: Path
    site: FakeWebtoon
    seen: Path

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PYTHON, *arguments], cwd=self.project, env=self.environment(), capture_output=True, text=True, check=True
        )

    def environment(self) -> dict[str, str]:
        return self.server.environment(SEEN=str(self.seen), **self.site.environment())

    def ran(self) -> list[str]:
        path = self.seen / "ran"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def look(self, dataset: str) -> Finding:
        """A look of this process; seconds less than one of its own."""
        from prefect.settings import PREFECT_API_URL, temporary_settings

        before = dict(os.environ)
        os.environ.update(self.site.environment())
        try:
            with (
                temporary_settings({PREFECT_API_URL: self.server.api}),
                open_post(self.project, "demo", None, None) as post,
            ):
                watch = read_watch(self.project / "params.yaml")
                assert watch is not None
                return look(post, "demo", dataset, watch, None)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def known(self) -> str | None:
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: self.server.api}):
            return digests.known("demo", "comics")

    def retrainings(self, digest: str) -> list[dict[str, Any]]:
        return [run for run in self.server.runs() if run["parameters"].get("digest") == digest]

    def said(self, run: str) -> str:
        return str(self.server.run(run)["state"]["message"])

    def committed(self, path: str) -> str:
        return git(self.project, "rev-parse", f"main:{path}")


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("world")
    files = {
        ".gitignore": "/work\n/scratch\n/mlruns\n/data/*\n!/data/*.dvc\n__pycache__/\n",
        "params.yaml": json.dumps(PARAMS, indent=1),
        "none.txt": "",
        "prefect.yaml": (ROOT / "prefect.yaml").read_text().replace("active: true", "active: false"),
        "data/comics/permission.yaml": json.dumps(PERMISSION),
    }
    project = repository(home / "project", GRAPH, files)
    git(project, "config", "receive.denyCurrentBranch", "updateInstead")  # coordinators push to it
    (home / "seen").mkdir()
    with fake_webtoon() as site:
        site.add_title("en/95")
        site.add_episodes("en/95", 2)
        made = World(server, project, site, home / "seen")
        reproduce_first(made)
        yield made


def reproduce_first(world: World) -> None:
    for name in ("stages", "model"):
        (world.project / name).symlink_to(ROOT / name)
    (world.project / "data/pages").mkdir()
    for number in range(3):
        (world.project / f"data/pages/{number}.png").write_bytes(png(number))
    world.command("stages.sources", "update", "comics")
    world.command("dvc", "add", "-q", "data/pages")
    world.command("dvc", "repro", "-q")
    git(world.project, "add", "--force", "data/comics")
    git(world.project, "add", "--all")
    git(world.project, "commit", "--quiet", "--message", "all of it")
    assert len(world.ran()) == 6
    world.command("pipeline.cli", "deploy")


def test_a_first_look_at_what_dvc_lock_has_asks_for_nothing(world: World) -> None:
    assert world.look("comics").said == "dvc.lock has it already"
    assert world.known() == world.committed("data/comics")
    assert world.server.runs() == []


def test_a_new_episode_is_in_the_comparison_soon_and_nothing_else_is_made_again(world: World) -> None:
    before = git(world.project, "show", "main:reports/table.txt").splitlines()
    world.site.add_episodes("en/95", 1)
    more = {"SEEN": str(world.seen), **world.site.environment()}
    with (
        agent(world.server, world.project, "cpu", "--slots", "1", **more),
        agent(world.server, world.project, "coordinator", "--slots", "1", **more),
    ):
        watched = world.server.submit("watch/datasets")
        assert (
            world.server.wait(watched, seconds=300) == "FAILED"
        )  # because of the other dataset, which does not stop this one
        assert "not looked at: pages: datasets.pages: its source is folder" in world.said(watched)
        digest = world.committed("data/comics")
        (run,) = wait_for(lambda: world.retrainings(digest), 30, "the event's run")
        assert world.server.wait(run["id"], seconds=300) == "COMPLETED", world.said(run["id"])
        assert sorted(world.ran()) == ["compare", "crawl@comics", "publish", "train@comics"]
        assert world.known() == digest
        again = world.server.submit("watch/datasets", {"dataset": "comics", "branch": "main"})
        assert world.server.wait(again, seconds=300) == "COMPLETED"
    after = git(world.project, "show", "main:reports/table.txt").splitlines()
    assert before == ["work/train/comics/pictures:8", "work/train/pages/pictures:3"]
    assert after == ["work/train/comics/pictures:12", "work/train/pages/pictures:3"]
    assert len(world.retrainings(digest)) == 1
    subjects = git(world.project, "log", "--format=%s", "main").splitlines()
    assert subjects[:3] == ["Reproduce demo", "New data of comics (webtoon) in demo", "all of it"]
    assert git(world.project, "status", "--porcelain") == ""


def test_a_look_that_is_killed_while_it_asks_leaves_no_process_and_loses_nothing(world: World) -> None:
    world.site.add_episodes("en/95", 1)
    answers, gate, asked = world.site.images.pages, threading.Event(), threading.Event()
    assert answers is not None

    def later(request: Asked) -> Reply:
        asked.set()
        gate.wait(60)
        return answers(request)

    world.site.images.pages = later
    command = [*PYTHON, "pipeline.cli", "watch", "--dataset", "comics"]
    watcher = subprocess.Popen(
        command, cwd=world.project, env=world.environment() | {"LOOK": "killed"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert asked.wait(60)
        assert any(alive(pid) for pid in find("LOOK=killed", "stages.sources"))
        watcher.send_signal(signal.SIGKILL)
        watcher.wait()
        wait_for(lambda: not find("LOOK=killed", "stages.sources"), 30, "the end of what it had started")
    finally:
        gate.set()
        watcher.kill()
        world.site.images.pages = answers
    before = git(world.project, "rev-parse", "main")
    found = world.look("comics")
    assert found.state == "changed"
    assert git(world.project, "rev-parse", "main~1") == before


def test_one_retraining_is_asked_for_at_a_time_and_another_if_it_dies(world: World) -> None:
    world.site.add_episodes("en/95", 1)
    assert world.look("comics").state == "changed"
    digest = world.committed("data/comics")
    (run,) = wait_for(lambda: world.retrainings(digest), 30, "the event's run")  # no coordinator's agent is here
    assert world.look("comics").state == "under way"
    crashed = {"type": "CRASHED", "message": "its machine is gone"}
    world.server.call("POST", f"/flow_runs/{run['id']}/set_state", {"state": crashed, "force": True})
    assert world.look("comics").state == "changed"
    runs = wait_for(lambda: len(found := world.retrainings(digest)) == 2 and found, 30, "another run")
    assert world.known() != digest
    for one in runs or []:
        state = {"type": "CANCELLED"}
        world.server.call("POST", f"/flow_runs/{one['id']}/set_state", {"state": state, "force": True})
