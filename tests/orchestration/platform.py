"""What the tests with a real Prefect server share: the server, agents, toy repositories, and their certain end.

Everything that is started carries ``CARTOON_TEST`` in its environment, so that ``sweep`` finds it however it was
started, and whatever has become of its parents.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pipeline.locks import held
from pipeline.operating.settings import prefect_environment

ROOT = Path(__file__).resolve().parents[2]
PYTHON = [sys.executable, "-m"]
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
T = TypeVar("T")
STILL = 60.0  # s that Prefect's server may stand still with SQLite, however little it has to do: docs/growth.md


def wait_for(condition: Callable[[], T], seconds: float = 120, what: str = "it") -> T:
    """The first true value of a condition, asked every tenth of a second; a server may stand still meanwhile."""
    limit = time.monotonic() + seconds + STILL
    while time.monotonic() < limit:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen within {seconds + STILL:.0f} s")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def find(marker: str, said: str = "") -> list[int]:
    """Processes with ``NAME=value`` in their environment, and a word in their command line."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            told = environ.read_bytes().split(b"\0")
            words = environ.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            pid = int(environ.parent.name)
            if marker.encode() in told and said in words and alive(pid):
                found.append(pid)
    return sorted(found)


def sweep(marker: str) -> list[int]:
    """Kill every process with this marker in its environment; returns those that were there."""
    found: list[int] = []
    while now := find(marker):
        found += [pid for pid in now if pid not in found]
        for pid in now:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return found


class Server:
    """A Prefect server of its own: same port and same database however often it dies."""

    def __init__(self, folder: Path, tables: Path | None = None) -> None:
        """``tables``: a SQLite file with Prefect's empty tables, to begin with a copy; making them takes seconds."""
        self.folder = folder
        if tables is not None:
            (folder / "prefect").mkdir(parents=True)
            shutil.copyfile(tables, folder / "prefect" / "prefect.db")
        self.port = free_port()
        self.marker = f"CARTOON_TEST={folder}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def environment(self, **more: str) -> dict[str, str]:
        """Variables for everything that shall use this server; without those of the test's own process."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "CARTOON"))}
        shared = prefect_environment(self.folder)
        return {
            **inherited, **shared, "PREFECT_HOME": str(self.folder / "prefect"), "PREFECT_API_URL": self.api,
            "CARTOON_TRACKING": "journal", "CARTOON_TEST": str(self.folder), "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1", "GIT_CONFIG_GLOBAL": os.devnull, "COLUMNS": "200", **more,
        }  # fmt: skip

    def start(self) -> Server:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [*PYTHON, "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment(), stdout=log, stderr=log, start_new_session=True
            )
        wait_for(lambda: answers(f"{self.api}/health"), 300, "the start of Prefect's server")
        return self

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def restart(self) -> Server:
        self.kill()
        return self.start()

    def stop(self) -> None:
        """End it and everything that was started with its environment."""
        if self._process is not None:
            self.kill()
        sweep(self.marker)
        shutil.rmtree(self.folder / "prefect", ignore_errors=True)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Ask its REST interface; much faster than importing Prefect."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.api}{path}", data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=2 * STILL) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 503:  # its SQLite file is locked just now
                time.sleep(0.5)
                return self.call(method, path, body)
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()[:500]}") from error
        return json.loads(text) if text else None

    def prefect(self, *arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Prefect's own command line (seconds)."""
        command = [*PYTHON, "prefect", "--no-prompt", *arguments]
        done = subprocess.run(
            command, cwd=cwd, env=self.environment(**more), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def pool(self, name: str, limit: int | None = None) -> None:
        """Create a pool of process workers."""
        self.call("POST", "/work_pools/", {"name": name, "type": "process", "concurrency_limit": limit})

    def submit(self, deployment: str, parameters: Mapping[str, object] | None = None) -> str:
        """Create a run of ``flow/deployment``; returns its id."""
        number = self.call("GET", f"/deployments/name/{deployment}")["id"]
        state = {"type": "SCHEDULED"}
        body = {"parameters": dict(parameters or {}), "state": state}
        return str(self.call("POST", f"/deployments/{number}/create_flow_run", body)["id"])

    def run(self, number: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/flow_runs/{number}"))

    def state(self, number: str) -> str:
        """SCHEDULED, PENDING, RUNNING, COMPLETED, FAILED, CRASHED, CANCELLING or CANCELLED."""
        return str(self.run(number)["state_type"])

    def runs(self, *states: str) -> list[dict[str, Any]]:
        """All flow runs, oldest first, or those in some states."""
        filters = {"flow_runs": {"state": {"type": {"any_": list(states)}}}} if states else {}
        return list(self.call("POST", "/flow_runs/filter", {**filters, "sort": "START_TIME_ASC"}))

    def log_of(self, number: str) -> str:
        """What a flow run has logged."""
        wanted = {"logs": {"flow_run_id": {"any_": [number]}}, "limit": 200, "sort": "TIMESTAMP_ASC"}
        return "\n".join(str(line["message"]) for line in self.call("POST", "/logs/filter", wanted))

    def wait(self, number: str, *states: str, seconds: float = 120) -> str:
        """Wait until a run is in one of the states (default: has ended); returns it."""
        wanted = set(states) or ENDED

        def reached() -> str | None:
            now = self.state(number)
            return now if now in wanted else None

        try:
            return wait_for(reached, seconds, f"{number} in {sorted(wanted)}")  # type: ignore[return-value]
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.run(number)['state']}; {self.log_of(number)}") from None


def empty_tables(folder: Path) -> Path:
    """Prefect's database without content, made once in this folder, whichever process asks first."""
    path = folder / "prefect.db"
    with held(folder / "prefect.lock", 300) as mine:
        assert mine
        if not path.exists():
            home = folder / "prefect-home"
            command = [*PYTHON, "prefect", "server", "database", "upgrade", "--yes"]
            environment = {**os.environ, "PREFECT_HOME": str(home)}
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
            (home / "prefect.db").rename(path)
    return path


@contextmanager
def serving(folder: Path, tables: Path | None = None) -> Iterator[Server]:
    """A server for the time of a block; nothing of it is left behind."""
    server = Server(folder, tables)
    try:
        yield server.start()
    finally:
        server.stop()


@contextmanager
def started(
    command: list[str], cwd: Path, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process as the head of a group of its own, its output in a file; asked to end, then made to."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def agent(
    server: Server, repository: Path, pool: str, *arguments: str, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """``cartoon-pipeline agent --pool POOL`` with clones beside the repository; its log is ``<home>/agent.log``.

    More than one agent of a pool needs ``--home`` of its own.
    """
    home = Path(arguments[arguments.index("--home") + 1]) if "--home" in arguments else agent_home(repository, pool)
    home.mkdir(parents=True, exist_ok=True)
    command = [*PYTHON, "pipeline.cli", "--root", str(repository), "agent", "--pool", pool, *arguments]
    if "--home" not in arguments:
        command += ["--home", str(home)]
    marker = f"CARTOON_AGENT_TEST={home}"
    environment = server.environment(CARTOON_AGENT_TEST=str(home), **more)
    try:
        with started(command, repository, environment, home / "agent.log") as process:
            yield process
    finally:
        sweep(marker)


def agent_home(repository: Path, pool: str) -> Path:
    return repository.parent / f"{repository.name}-{pool}"


def stage(name: str, cmd: str = "", deps: tuple[str, ...] = ("params.yaml",), **meta: object) -> str:
    """A stage of a toy dvc.yaml: runs ``cmd`` in a shell, then writes work/NAME.txt.

    ``deps`` are files or names of other stages; keywords become its ``meta`` (``pool="gpu"``).
    """
    files = [dep if "." in dep or "/" in dep else f"work/{dep}.txt" for dep in deps]
    command = f"{cmd + ' && ' if cmd else ''}mkdir -p work && echo {name} > work/{name}.txt"
    told = {"cmd": command, "deps": files, "outs": [f"work/{name}.txt"], "meta": meta or {"pool": "cpu"}}
    return f"  {name}: {json.dumps(told)}\n"


def git(folder: Path, *arguments: str) -> str:
    own = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *own, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"git {arguments}: {done.stderr}"
    return done.stdout.strip()


def repository(folder: Path, stages: str, files: Mapping[str, str] | None = None) -> Path:
    """A git repository with a DVC project of shell stages, this project's pipeline and its prefect.yaml.

    Args:
        folder: to make it in.
        stages: ``stage(...) + stage(...)``.
        files: more files to commit, or to replace those this writes.
    """
    folder.mkdir(parents=True)
    texts = {
        ".dvc/config": "[core]\n    analytics = false\n    check_update = false\n",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        ".gitignore": "work/\nscratch/\nmlruns/\nreports/\n__pycache__/\n",
        "params.yaml": "profile: demo\nroot: .  # of the project\nparams_file: params.yaml\n",
        "dvc.yaml": f"stages:\n{stages}",
        "prefect.yaml": (ROOT / "prefect.yaml").read_text(),
        **(files or {}),
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if not (folder / "pipeline").exists():
        (folder / "pipeline").symlink_to(ROOT / "pipeline")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", "test")
    git(folder, "config", "user.email", "test@localhost")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "A toy project")
    return folder


TOY_FLOW = '''"""A stand-in for the real flows: runs a shell command the way stages are run."""
import os
from pathlib import Path

from prefect import flow, get_run_logger

from pipeline.flows.signals import signals_reach_the_stages
from pipeline.running.process import execute


@flow(name="stages")
def stages(do: str) -> None:
    with signals_reach_the_stages():
        code = execute(["sh", "-c", do], Path(os.environ["CARTOON_CLONE"]), {}, get_run_logger().info)
    if code:
        raise RuntimeError(f"exit code {code}")


@flow(name="reproduce")
def reproduce(do: str = "true") -> None:
    stages.fn(do)
'''


def toy_flows(folder: Path) -> Path:
    """A repository whose deployments ``stages/cpu`` and ``stages/gpu`` run the shell command ``do``."""
    text = (ROOT / "prefect.yaml").read_text().replace("pipeline/flows/stages.py:stages", "toy.py:stages")
    first, _, others = text.partition("  - name: nightly")
    assert others, "prefect.yaml has changed"
    return repository(folder, stage("a"), {"prefect.yaml": first, "toy.py": TOY_FLOW})
