"""A project whose runs are killed and started again, and what became of it: locks, executions, what was left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import yaml

from pipeline.graph import read_graph
from tests.orchestration.platform import PYTHON, ROOT, Server, alive, find, git, repository, stage, sweep, wait_for
from tests.project import copy_project, shrink

MOMENT = 0.01  # s, what the clocks of files and processes may differ
KINDS = {  # of a process by its words; the first that fits
    "supervisor": "running.supervise import", "guard": "running.guarded import", "dvc": " -m dvc ",
    "worker": " -m prefect worker ", "flow run": " -m prefect.engine", "server": " -m prefect server ",
    "coordinator": " -m pipeline.cli --root {project} run", "agent": " -m pipeline.cli --root {project} agent",
    "embedded server": "uvicorn", "git": "git ",
}  # fmt: skip
COUNTING = '#!/bin/sh\n[ -z "$DVC_STAGE" ] || echo "$DVC_STAGE $(date +%s.%N)" >> "$KILLS_LOG"\nexec /bin/sh "$@"\n'
TOY = {"a": [], "b": ["a"], "c": ["a"], "g": ["b"], "h": ["b", "c"], "i": [], "last": ["g", "h", "i"]}
AGENTS = {"cpu": 2, "gpu": 1}  # slots


class Site:
    """Where it happens: the project as it is before each run, the lock that every run must end with, the server."""

    def __init__(self, folder: Path, toy: bool, pools: bool, server: Server | None = None) -> None:
        """``server`` is one that is running already and is not killed."""
        self.folder, self.toy, self.pools = folder, toy, pools
        self.template = folder / "template"
        self.marker = f"KILLS={folder}"
        self.server = server
        self.mortal = server is None
        self.reference: dict[str, Any] = {}

    def __enter__(self) -> Site:
        sweep(self.marker)  # of a killed harness
        if not (self.template / ".git").exists():
            self._make_template()
        self.reference = self._undisturbed()
        if self.pools and self.server is None:
            self.server = Server(self.folder / "server")
            self.server.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.server is not None and self.mortal:
            self.server.stop()
        sweep(self.marker)

    def environment(self, **more: str) -> dict[str, str]:
        """Variables for everything in a run."""
        counting = self.folder / "counting"
        counting.write_text(COUNTING)
        counting.chmod(0o755)
        maker = self.server or Server(self.folder / "server")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        mine = {**maker.environment(), "KILLS": str(self.folder), "SHELL": str(counting), "CARTOON_GRACE": "10"}
        mine |= {"PATH": path, **more}
        if self.server is None:
            del mine["PREFECT_API_URL"]
        return mine

    def _make_template(self) -> None:
        shutil.rmtree(self.template, ignore_errors=True)
        if self.toy:
            stages = [
                stage(name, "sleep 0.5", tuple(needs) or ("params.yaml",), pool="gpu" if name in "gh" else "cpu")
                for name, needs in TOY.items()
            ]
            repository(self.template, "".join(stages))
            return
        self.template.mkdir(parents=True)
        copy_project(self.template)
        shrink(self.template)
        for name in (".gitignore", "prefect.yaml", "requirements.lock"):
            shutil.copyfile(ROOT / name, self.template / name)
        git(self.template, "config", "user.name", "test")
        git(self.template, "config", "user.email", "test@localhost")
        git(self.template, "add", "--all")
        git(self.template, "commit", "--quiet", "--message", "The demo, small")

    def _undisturbed(self) -> dict[str, Any]:
        """The lock of a plain ``dvc repro``."""
        kept = self.folder / "reference.lock"
        if not kept.exists():
            with self.patient(agents=False) as patient:
                done = subprocess.run(
                    [*PYTHON, "dvc", "repro", "dvc.yaml"], cwd=patient.project,
                    env=self.environment(KILLS_LOG=os.devnull), capture_output=True, text=True, check=False,
                )  # fmt: skip
                assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
                shutil.copyfile(patient.project / "dvc.lock", kept)
        return dict(yaml.safe_load(kept.read_text())["stages"])

    @contextmanager
    def patient(self, agents: bool = True) -> Iterator[Patient]:
        """A project that nothing was done in yet; in the end nothing of it runs any more."""
        home = self.folder / "run"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.template, home / "project", symlinks=True)
        patient = Patient(self, home)
        try:
            if self.pools and agents:
                patient.prepare_agents()
            yield patient
        finally:
            sweep(self.marker)


class Patient:
    """One run, its agents, and the hands that start them again."""

    def __init__(self, site: Site, home: Path) -> None:
        self.site, self.home, self.project = site, home, home / "project"
        self._environment = site.environment(KILLS_LOG=str(home / "executions"), PYTHONPATH=str(ROOT))
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        self._coordinator: subprocess.Popen[bytes] | None = None
        self._base = git(self.project, "rev-parse", "HEAD")

    def prepare_agents(self) -> None:
        done = subprocess.run(
            self._command("deploy"), env=self._environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def _command(self, *words: str) -> list[str]:
        return [*PYTHON, "pipeline.cli", "--root", str(self.project), *words]

    def _start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                self._command(*words), cwd=self.project, env=self._environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip

    def tend(self) -> int | None:
        """Start what is not there, as a service manager does; returns the run's exit code when it has ended."""
        if self.site.pools:
            assert self.site.server is not None
            if self.site.mortal and not self.site.server.alive():
                self.site.server.restart()
            for pool, slots in AGENTS.items():
                if pool not in self._agents or self._agents[pool].poll() is not None:
                    self._agents[pool] = self._start(pool, "agent", "--pool", pool, "--slots", str(slots))
        code = None if self._coordinator is None else self._coordinator.poll()
        if self._coordinator is None or code not in (None, 0):
            self._coordinator = self._start("run", "run", *([] if self.site.pools else ["--here"]))
        return code

    def processes(self) -> dict[str, list[int]]:
        """Everything of this run that may be killed, by its kind."""
        kinds: dict[str, list[int]] = {}
        for pid in find(self.site.marker) + self._server_processes():
            kind = self._kind(pid)
            if kind is not None:
                kinds.setdefault(kind, []).append(pid)
        return kinds

    def kill(self, kind: str, draw: Random) -> bool:
        """SIGKILL to one of the processes of a kind; says whether there was one."""
        with suppress(ProcessLookupError, KeyError):
            os.kill(draw.choice(sorted(self.processes()[kind])), signal.SIGKILL)
            return True
        return False

    def _server_processes(self) -> list[int]:
        server = self.site.server
        return find(server.marker, " -m prefect server ") if server is not None and self.site.mortal else []

    def _kind(self, pid: int) -> str | None:
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            for kind, part in KINDS.items():
                if part.format(project=self.project) in words:
                    return kind
            return "stage" if any(one.startswith(b"DVC_STAGE=") for one in variables) else "other"
        return None

    def said(self) -> str:
        path = self.home / "run.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def lock(self) -> dict[str, Any]:
        return dict(yaml.safe_load((self.project / "dvc.lock").read_text())["stages"])

    def executions(self) -> list[tuple[str, float]]:
        """Every start of a stage, and when."""
        path = self.home / "executions"
        words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(stage, float(when)) for stage, when in words]

    def repeated(self) -> list[str]:
        """Stages that were started when their result was in the cache already.

        Those whose outputs git keeps are left out: DVC has no cache of them.
        """
        known = self._results()
        free = {name for name, node in read_graph(self.project).items() if node.published}
        return [name for name, when in self.executions() if name not in free and known.get(name, when) + MOMENT < when]

    def _results(self) -> Mapping[str, float]:
        """When the first result of each stage was stored."""
        commands = {json.dumps(entry["cmd"]): name for name, entry in self.lock().items()}
        found: dict[str, float] = {}
        for path in (self.project / ".dvc" / "cache" / "runs").glob("*/*/*"):
            with suppress(yaml.YAMLError, TypeError, KeyError):  # half-written ones have other names
                name = commands[json.dumps(yaml.safe_load(path.read_text())["cmd"])]
                found[name] = min(found.get(name, path.stat().st_mtime), path.stat().st_mtime)
        return found

    def untidy(self) -> list[str]:
        """What is not as an undisturbed run leaves it."""
        found = []
        status = subprocess.run(
            [*PYTHON, "dvc", "status", "dvc.yaml"], cwd=self.project, env=self._environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        if "up to date" not in status.stdout:
            found.append(f"dvc status says {(status.stdout + status.stderr)[-500:]}")
        if self.site.pools:
            commits = git(self.project, "rev-list", f"{self._base}..HEAD").splitlines()
            found += [f"{len(commits)} commits"] if len(commits) != 1 else []
            changed = git(self.project, "status", "--porcelain")
            found += [f"git status says {changed}"] if changed else []
        else:
            with suppress(AssertionError):
                wait_for(lambda: not self._left(), 10)
            found += [f"still running: {', '.join(self._left())}"] if self._left() else []
        return found

    def _left(self) -> list[str]:
        return [kind for pid in find(self.site.marker) if alive(pid) and (kind := self._kind(pid)) is not None]
