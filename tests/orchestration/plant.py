"""A toy project for faults: its stages tell when they begin and end, wait and save where a test says so."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from tests.orchestration.platform import PYTHON, Server, agent_home, git, repository, started, sweep, wait_for

CHAIN = {"a": [], "b": ["a"], "c": ["b"], "d": [], "f": [], "e": ["c", "d", "f"]}  # jobs: a b c, d, f, e
_SAVES = "trap 'touch scratch/{name}.saved; exit 75' TERM"  # as a training does
_STAGE = (
    "echo begin {name} $CARTOON_AGENT >> $SEEN/log; {saves}; [ ! -e scratch/{name}.saved ] || echo again {name} >> "
    "$SEEN/log; while [ -e $SEEN/hold-{name} ]; do sleep 0.05; done; mkdir -p work; "
    "cat one.yaml {files} > work/{name}.txt; echo {name} >> work/{name}.txt; echo end {name} >> $SEEN/log; "
    "if [ -e $SEEN/last-{name} ]; then . $SEEN/last-{name}; fi"
)


class Plant:
    """The project, what its stages told, and the command ``run`` in it."""

    def __init__(self, folder: Path, graph: Mapping[str, Sequence[str]] = CHAIN) -> None:
        self.seen = folder / "seen"
        self.seen.mkdir(parents=True)
        stages = "".join(_stage(name, needs) for name, needs in graph.items())
        self.project = repository(folder / "toy", stages, {"one.yaml": "0\n"})
        self.graph = graph
        self._version = 0
        self._before = git(self.project, "rev-parse", "HEAD")

    def change(self) -> None:
        """Commit a change after which every stage is out of date; forget what they told."""
        self._version += 1
        (self.project / "one.yaml").write_text(f"{self._version}\n")
        git(self.project, "commit", "--quiet", "--all", "--message", "change")
        self._before = git(self.project, "rev-parse", "HEAD")
        for path in [*self.seen.iterdir(), *(self.project / "scratch").glob("*.saved")]:
            path.unlink()

    def hold(self, *names: str) -> None:
        """Make stages wait before their work."""
        for name in names:
            (self.seen / f"hold-{name}").touch()

    def release(self, *names: str) -> None:
        for name in names:
            (self.seen / f"hold-{name}").unlink()

    def last_act(self, name: str, script: str) -> None:
        """What the shell of a stage does after its work."""
        (self.seen / f"last-{name}").write_text(script)

    def told(self, word: str) -> list[str]:
        """The stages that said ``begin``, ``again`` (from its own saved state) or ``end``, in order."""
        path = self.seen / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split()[1] for line in lines if line.split()[0] == word]

    def times(self) -> dict[str, int]:
        """How often each stage was begun."""
        return dict(Counter(self.told("begin")))

    def until(self, word: str, name: str, count: int = 1) -> None:
        wait_for(lambda: self.told(word).count(name) >= count, what=f"the {word} of {name}")

    def once(self, names: str = "abcdef") -> dict[str, int]:
        """``times()`` of a run without faults."""
        return dict.fromkeys(names, 1)

    def noted(self) -> set[str]:
        """Stages whose newest result is there and in dvc.lock."""
        entries: dict[str, dict[str, list[dict[str, str]]]] = {}
        with suppress(yaml.YAMLError, TypeError, OSError):  # DVC is just writing it
            entries = yaml.safe_load((self.project / "dvc.lock").read_text())["stages"]
        return {name for name, entry in entries.items() if self._is_new(name, entry["outs"][0]["md5"])}

    def _is_new(self, name: str, digest: str) -> bool:
        path = self.project / "work" / f"{name}.txt"
        text = path.read_text() if path.exists() else ""
        return text.startswith(f"{self._version}\n") and hashlib.md5(text.encode()).hexdigest() == digest

    def command(self, *arguments: str) -> list[str]:
        return [*PYTHON, "pipeline.cli", "--root", str(self.project), *arguments]

    def environment(self, server: Server) -> dict[str, str]:
        return server.environment(SEEN=str(self.seen), CARTOON_GRACE="5")

    def run(self, server: Server, *arguments: str, command: str = "run") -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        return subprocess.run(
            self.command(command, *arguments), cwd=self.project, env=self.environment(server), capture_output=True,
            text=True, check=False, timeout=300,
        )  # fmt: skip

    @contextmanager
    def running(self, server: Server, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """``run`` in a process of its own; its log is ``said``."""
        environment = {**self.environment(server), "PLANT_RUN": str(self.seen)}
        with started(self.command("run", *arguments), self.project, environment, self.log) as process:
            yield process

    def ended(self, run: subprocess.Popen[bytes], seconds: float = 200) -> int:
        """Wait for the exit code of ``run``."""
        with suppress(subprocess.TimeoutExpired):
            return run.wait(seconds)
        raise AssertionError(f"still running after {seconds:.0f} s:\n{self.said()}")

    @property
    def log(self) -> Path:
        return self.project.parent / "run.log"

    def said(self) -> str:
        return self.log.read_text()[-6000:]

    def is_one_clean_commit(self, names: str = "abcdef") -> bool:
        """Whether one commit of dvc.lock alone followed the last change, and it holds newest results of stages."""
        files = git(self.project, "show", "--format=", "--name-only", "HEAD").split()
        return (
            git(self.project, "rev-parse", "HEAD~1") == self._before
            and set(files) - {"work/.gitignore"} == {"dvc.lock"}
            and git(self.project, "status", "--porcelain") == ""
            and self.noted() == set(names)
        )

    def has_no_commit(self) -> bool:
        clean = git(self.project, "status", "--porcelain") == ""
        return clean and git(self.project, "rev-parse", "HEAD") == self._before


class Agent:
    """An agent of the pool ``cpu`` with two slots, that can be killed with everything below it."""

    def __init__(self, server: Server, plant: Plant) -> None:
        self._server, self._plant = server, plant
        self.home = agent_home(plant.project, "cpu")
        self.home.mkdir(exist_ok=True)
        self.marker = f"CARTOON_AGENT_TEST={self.home}"

    def start(self) -> Agent:
        command = self._plant.command("agent", "--pool", "cpu", "--slots", "2", "--home", str(self.home))
        environment = {**self._plant.environment(self._server), "CARTOON_AGENT_TEST": str(self.home)}
        with (self.home / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self._plant.project, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        return self

    def kill(self) -> None:
        """kill -9 of the whole machine: the agent and all that is below it."""
        sweep(self.marker)
        self.process.wait()


def _stage(name: str, needs: Sequence[str]) -> str:
    files = [f"work/{need}.txt" for need in needs]
    command = _STAGE.format(name=name, files=" ".join(files), saves=_SAVES.format(name=name))
    told = {"cmd": command, "deps": ["one.yaml", *files], "outs": [f"work/{name}.txt"], "meta": {"pool": "cpu"}}
    return f"  {name}: {json.dumps(told)}\n"
