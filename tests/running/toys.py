"""Toy DVC projects in git whose shell stages write down every execution, and processes to look for afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.graph import read_graph
from pipeline.jobs import Job, Outcome
from pipeline.running.guard import Rules
from pipeline.running.process import run_job

ROOT = Path(__file__).resolve().parents[2]
COUNT = "echo {name} >> $COUNTS; "


@dataclass(frozen=True)
class Toy:
    """A project."""

    root: Path

    @classmethod
    def make(cls, root: Path, cache: Path | None = None) -> Toy:
        """Make an empty one, in git; ``cache`` is shared with others."""
        (root / ".dvc").mkdir(parents=True)
        shared = f"[cache]\n    dir = {cache}\n" if cache else ""
        (root / ".dvc" / "config").write_text(f"[core]\n    analytics = false\n    check_update = false\n{shared}")
        (root / ".gitignore").write_text("*.txt\n*.jsonl\n")
        (root / ".dvc" / ".gitignore").write_text("/tmp\n/cache\n/config.local\n")
        (root / "in").write_text("1\n")
        toy = cls(root)
        toy.git("init", "-q", "-b", "main")
        toy.commit()
        return toy

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=self.root, check=True, capture_output=True, text=True,
            env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
        )  # fmt: skip
        return done.stdout

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "state")

    def clone(self, root: Path) -> Toy:
        """Another working copy; the cache is shared if this one's is."""
        self.git("clone", "-q", str(self.root), str(root))
        return Toy(root)

    def stages(self, **stages: str | dict[str, Any]) -> None:
        """Write dvc.yaml: each ``name="needed, needed: command"`` counts its executions and makes NAME.txt."""
        made = {}
        for name, what in stages.items():
            more: dict[str, Any] = {}
            if isinstance(what, dict):
                more, what = what, str(what.pop("run"))
            needs, _, command = what.partition(":")
            deps = [f"{need.strip()}.txt" if need.strip() in stages else need.strip() for need in needs.split(",")]
            command = f"{COUNT.format(name=name)}{command.strip()}".rstrip("; ")
            made[name] = {"cmd": f"{command}; cat {' '.join(deps)} > {name}.txt", "deps": deps, "outs": [f"{name}.txt"]}
            made[name] |= more
        (self.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": made}, sort_keys=False, width=10_000))
        self.commit()

    @property
    def counts(self) -> Path:
        """Where executions are written down, one name a line."""
        return self.root.parent / "counts"

    def executed(self) -> list[str]:
        return self.counts.read_text().split() if self.counts.exists() else []

    def job(self, *names: str) -> Job:
        graph = read_graph(self.root)
        return Job(tuple(node for name, node in graph.items() if not names or name in names))

    def rules(self, *allowed: str, pool: str = "", leases: Path | None = None) -> Rules:
        pools = {name: node.pool for name, node in read_graph(self.root).items()}
        return Rules(allowed or None, pool, pools, leases, self.root / "ledger.jsonl")

    def run(
        self, *names: str, rules: Rules | None = None, on_line: Callable[[str], object] = lambda line: None,
        **environment: str,
    ) -> dict[str, Outcome]:  # fmt: skip
        """Run a job of these stages (all without names) in this process."""
        environment = {"COUNTS": str(self.counts), **environment}
        outcomes = run_job(self.job(*names), self.root, environment, rules or self.rules(), on_line)
        return {outcome.stage: outcome for outcome in outcomes}

    def start(self, *names: str, more: Sequence[str] = (), **environment: str) -> subprocess.Popen[bytes]:
        """Run a job in a process of its own, which a test may kill."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.running.runner", str(self.root), ",".join(names), *more], cwd=ROOT,
            env={**os.environ, "COUNTS": str(self.counts), **environment}, start_new_session=True,
        )  # fmt: skip

    def lock(self) -> str:
        """dvc.lock, its stages in a fixed order."""
        path = self.root / "dvc.lock"
        return yaml.safe_dump(yaml.safe_load(path.read_text()), sort_keys=True) if path.exists() else ""


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that a healthy system does at once."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def processes_in(folder: Path) -> dict[int, str]:
    """Processes whose working folder or command line is in ``folder``."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            inside = (entry / "cwd").readlink().is_relative_to(folder) or str(folder) in words
            if inside and alive(int(entry.name)):
                found[int(entry.name)] = words
    return found
