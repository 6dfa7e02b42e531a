"""Agents whose caches have nothing in common: all goes through a DVC remote."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.orchestration.platform import PYTHON, Server, agent, agent_home, git, repository, stage, wait_for
from tests.running.s3 import KEYS, S3

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]

NOTE = 'echo "$DVC_STAGE" >> $SEEN/ran'
PARAMS = "profile: demo\nroot: .\nparams_file: params.yaml\nscheduling: {short: [], retry_s: [1, 1, 1], start_s: 300}\n"
FOR_GIT = """
  publish:
    cmd: echo "$DVC_STAGE" >> $SEEN/ran && cp work/g.txt table.md
    deps: [work/g.txt]
    outs: [table.md: {cache: false}]
    meta: {pool: cpu}
  page:
    cmd: echo "$DVC_STAGE" >> $SEEN/ran && cp table.md work/page.html
    deps: [table.md]
    outs: [work/page.html]
    meta: {pool: cpu}
"""


class Site:
    """A project whose agents share nothing but a remote."""

    def __init__(self, server: Server, home: Path, url: str, train: str = "", **more: str) -> None:
        self.server = server
        self.seen = home / "seen"
        self.seen.mkdir()
        self.variables = {"SEEN": str(self.seen), **more}
        stages = stage("a", NOTE) + stage("g", f"{NOTE}{train}", ("a",), pool="gpu") + FOR_GIT
        config = f"[core]\n    analytics = false\n['remote \"store\"']\n    url = {url}\n"
        endpoint = more.get("AWS_ENDPOINT_URL")
        config += f"    endpointurl = {endpoint}\n" if endpoint else ""
        self.project = repository(home / "project", stages, {".dvc/config": config, "params.yaml": PARAMS})

    @contextmanager
    def agents(self) -> Iterator[None]:
        with ExitStack() as stack:
            for pool in ("cpu", "gpu"):
                stack.enter_context(agent(self.server, self.project, pool, "--remote", "store", **self.variables))
            yield

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [*PYTHON, "pipeline.cli", "--root", str(self.project), *arguments]
        environment = self.server.environment(**self.variables)
        return subprocess.Popen(
            command, cwd=self.project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def do(self, *arguments: str) -> str:
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said[-4000:]
        return said

    def dvc(self, folder: Path, *arguments: str) -> str:
        environment = {**os.environ, **self.variables, "DVC_SITE_CACHE_DIR": str(self.seen / "site")}
        done = subprocess.run(
            [*PYTHON, "dvc", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ran(self) -> list[str]:
        return (self.seen / "ran").read_text().split()


def has(cache: Path) -> set[str]:
    return {path.parent.name + path.name for path in (cache / "files" / "md5").glob("??/*")}


def test_agents_without_a_common_disk_share_their_results_through_s3(server: Server, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        store = S3()
        try:
            _share(server, tmp_path, store)
        finally:
            store.stop()


def _share(server: Server, tmp_path: Path, store: S3) -> None:
    site = Site(server, tmp_path, "s3://bucket/cartoon", AWS_ENDPOINT_URL=store.url, **KEYS)
    site.do("deploy")
    with site.agents():
        assert "4 stages are up to date now" in site.do("run", "--remote", "store")
        assert site.ran() == ["a", "g", "publish", "page"]
        assert "Everything is up to date." in site.do("run", "--remote", "store")
    cpu, gpu = (has(agent_home(site.project, pool) / "cache") for pool in ("cpu", "gpu"))
    assert len(cpu) == 1
    assert len(gpu) == 2  # what it made, and what it needed for that
    assert git(site.project, "status", "--porcelain") == ""
    other = tmp_path / "elsewhere"
    git(tmp_path, "clone", "--quiet", str(site.project), str(other))
    site.dvc(other, "pull", "--remote", "store")
    assert (other / "work" / "page.html").read_text() == "g\n"
    assert "up to date" in site.dvc(other, "status")
    assert site.ran() == ["a", "g", "publish", "page"]


def test_a_remote_that_goes_away_while_a_stage_runs_costs_no_second_run_of_it(server: Server, tmp_path: Path) -> None:
    store, away = tmp_path / "store", tmp_path / "unmounted"
    store.mkdir()
    site = Site(server, tmp_path, str(store), f" && mv {store} {away}")
    site.do("deploy")
    with site.agents():
        run = site.start("run", "--remote", "store")
        wait_for(lambda: any(_tells_of(server, each, str(store)) for each in server.runs("FAILED")), 120)
        away.rename(store)
        said, _ = run.communicate(timeout=300)
    assert run.returncode == 0, said[-4000:]
    assert site.ran() == ["a", "g", "publish", "page"]


def _tells_of(server: Server, run: dict[str, object], folder: str) -> bool:
    log = server.log_of(str(run["id"]))
    return f"remote store: {folder}: no such folder" in log
