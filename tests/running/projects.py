"""Toy DVC projects in git, whose clones exchange results."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from dvc.config import Config

STAGES = """
stages:
  a: {cmd: 'echo a >> "$EXECUTED"; mkdir d; cp in d/x; cp in d/y; echo more >> d/y', deps: [in], outs: [d]}
  b:
    foreach: [x, y]
    do: {cmd: 'echo b@${item} >> "$EXECUTED"; cp d/${item} b-${item}', deps: ["d/${item}"], outs: ["b-${item}"]}
  c: {cmd: 'echo c >> "$EXECUTED"; cat b-x b-y > c; mkdir p; cp c p/1; echo > p/0', deps: [b-x, b-y], outs: [c, p]}
  last: {cmd: 'echo last >> "$EXECUTED"; cp c last.md', deps: [c], outs: [last.md: {cache: false}]}
"""


def environment(executed: Path) -> dict[str, str]:
    who = {f"GIT_{role}_{what}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **who, "PATH": path, "EXECUTED": str(executed), "SHELL": "/bin/sh"}


class Clone:
    """A clone of a project, with a cache of its own unless it is told another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.executions = root.parent / f"{root.name}.executed"

    def run(self, *command: str, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.root, env={**environment(self.executions), **more}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def dvc(self, *arguments: str, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "dvc", *arguments, check=check, **more)

    def executed(self) -> list[str]:
        return self.executions.read_text().split() if self.executions.exists() else []

    def clone(self, name: str, remote: str | None = None, cache: Path | None = None) -> Clone:
        made = Clone(self.root.parent / name)
        self.run("git", "clone", "-q", str(self.root), str(made.root))
        with made.settings("local") as settings:
            if remote:
                settings["core"]["remote"] = remote
            if cache:
                settings["cache"]["dir"] = str(cache)
        return made

    def settings(self, level: str = "repo") -> AbstractContextManager[dict[str, dict[str, Any]]]:
        """DVC's settings, by section, to be changed as ``dvc config`` does, without a process."""
        return Config(str(self.root / ".dvc")).edit(level)  # type: ignore[no-any-return]


def origin(folder: Path, stages: str = STAGES) -> Clone:
    """A project with its own git repository, nothing of it run."""
    made = Clone(folder / "origin")
    made.root.mkdir(parents=True)
    (made.root / "dvc.yaml").write_text(stages)
    (made.root / "in").write_text("1\n")
    (made.root / ".dvc").mkdir()
    (made.root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (made.root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (made.root / ".dvcignore").touch()
    made.run("git", "init", "-q")
    made.run("git", "add", "-A")
    made.run("git", "commit", "-qm", "x")
    return made


def add_remote(project: Clone, name: str, url: str, endpoint: str | None = None, *, default: bool = False) -> None:
    """What ``dvc remote add`` does, committed."""
    with project.settings() as settings:
        settings["remote"][name] = {"url": url, **({"endpointurl": endpoint} if endpoint else {})}
        if default:
            settings["core"]["remote"] = name
    project.run("git", "commit", "-qam", "remote")
