"""A toy project with datasets that change: a stand-in for what asks the web, and a graph with the same shape."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.watching.digests import Change

IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@localhost")

# Answers as `cartoon-pipeline datasets look` does. What it would find upstream is in a folder beside the project.
SOURCES = """
import json, shutil, sys
from pathlib import Path

_, command, name = sys.argv[:3]
params = json.loads(Path("params.yaml").read_text())
entry = params["datasets"][name]
upstream = Path(params["upstream"]) / name
if (upstream / "error").exists():
    code, _, said = (upstream / "error").read_text().partition(" ")
    sys.exit(sys.stderr.write("error: " + said + chr(10)) * 0 + int(code))
kept, manifest, news = {"webtoon": "git", "synthetic": "code"}.get(entry["source"], "dvc"), None, []
if kept == "git":
    manifest = entry["where"] + "/episodes.json"
    if not Path(entry["where"]).is_dir():
        sys.exit(sys.stderr.write("error: " + entry["where"] + ": no such file" + chr(10)) * 0 + 2)
    before = Path(manifest).read_text() if Path(manifest).exists() else ""
    after = (upstream / "episodes.json").read_text()
    Path(manifest).write_text(after)
    news = ["new: " + line for line in after.split() if line not in before.split()]
print(json.dumps({"dataset": name, "source": entry["source"], "where": entry["where"], "kept": kept,
                  "manifest": manifest, "news": news}))
"""
GRAPH = """
stages:
  crawl:
    foreach: ${datasets}
    do:
      cmd: mkdir -p work && find ${item.where} -type f | sort | xargs cat > work/${key}.raw
      deps: ["${item.where}"]
      outs: ["work/${key}.raw"]
      meta: {pool: cpu, dataset: "${key}"}
  train:
    foreach: ${datasets}
    do:
      cmd: mkdir -p work/trained/${key} && cp work/${key}.raw work/trained/${key}/model
      deps: ["work/${key}.raw"]
      outs: ["work/trained/${key}/model"]
      meta: {pool: gpu, dataset: "${key}"}
  compare:
    cmd: cat work/trained/*/model > work/table.txt
    deps: [work/trained]
    outs: [work/table.txt]
    meta: {pool: cpu}
"""
DATASETS = {
    "comics": {"source": "webtoon", "where": "data/comics"},
    "pages": {"source": "folder", "where": "data/pages"},
    "drawn": {"source": "synthetic", "where": "code"},
}
WATCH = {"publish": "branch", "quiet_s": 0.0, "attempts": 3, "datasets": {}}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *IDENTITY, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout.strip()


def dvc(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Project:
    """The operator's working tree on branch ``main``, and what is upstream of its datasets."""

    def __init__(self, home: Path) -> None:
        self.root = home / "project"
        self.upstream = home / "upstream"
        self.values: dict[str, Any] = {
            "profile": "demo", "root": ".", "params_file": "params.yaml", "upstream": str(self.upstream),
            "datasets": DATASETS, "watch": WATCH,
        }  # fmt: skip
        files = {
            ".dvc/config": "[core]\n    analytics = false\n    autostage = false\n",
            ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
            ".gitignore": "/scratch\n/work\n/data/*\n!/data/*.dvc\n__pycache__/\n",
            "dvc.yaml": GRAPH.lstrip(),
            "stages/__init__.py": "", "stages/sources/__init__.py": "", "stages/sources/__main__.py": SOURCES,
            "code/draw.py": "1\n",
            "data/comics/permission.yaml": "mine\n",
            "data/comics/episodes.json": "one\n",
            "data/pages/a.png": "a\n",
            "data/pages/more/b.png": "b\n",
            "params.yaml": json.dumps(self.values, indent=1),
        }  # fmt: skip
        write(self.root, files)
        git_init(self.root)
        git(self.root, "add", "--force", "data/comics")
        self.commit("start")
        self.appear("comics", "one")

    def commit(self, message: str) -> str:
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--allow-empty", "--message", message)
        return self.head()

    def head(self) -> str:
        return git(self.root, "rev-parse", "HEAD")

    def set(self, **changes: Any) -> None:
        """Change and commit params.yaml."""
        self.values |= changes
        (self.root / "params.yaml").write_text(json.dumps(self.values, indent=1))
        self.commit("other params")

    def appear(self, dataset: str, *episodes: str) -> None:
        """All episodes that the site has now."""
        write(self.upstream / dataset, {"episodes.json": "".join(f"{name}\n" for name in episodes)})

    def fail(self, dataset: str, code: int, said: str) -> None:
        write(self.upstream / dataset, {"error": f"{code} {said}"})

    def subjects(self, *revisions: str) -> list[str]:
        return git(self.root, "log", "--format=%s", *(revisions or ("main",))).splitlines()


def git_init(folder: Path) -> None:
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", "test")
    git(folder, "config", "user.email", "test@localhost")


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Book:
    """What Prefect's server keeps."""

    def __init__(self) -> None:
        self.retrained: dict[tuple[str, str], str] = {}
        self.events: list[Change] = []
        self.running: list[Change] = []
        self.failed: list[tuple[Change, datetime]] = []

    def known(self, profile: str, dataset: str) -> str | None:
        return self.retrained.get((profile, dataset))

    def settle(self, profile: str, dataset: str, digest: str) -> None:
        self.retrained[profile, dataset] = digest

    def under_way(self, change: Change) -> str | None:
        return next(("reproduce-1" for one in self.running if one.digest == change.digest), None)

    def failures(self, change: Change, since: datetime) -> int:
        return sum(one.digest == change.digest and at >= since for one, at in self.failed)
