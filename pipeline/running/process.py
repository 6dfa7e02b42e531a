"""Run a job as a process of its own, in a lane of its pool; nothing of it outlives its caller. Knows no Prefect."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.graph import cache_folder, dvc_command
from pipeline.jobs import Job, Outcome
from pipeline.running.family import end, marked
from pipeline.running.guard import Execution, Rules, read_ledger, write_guard
from pipeline.running.guarded import MARK
from pipeline.running.lease import TTL, wait_free
from pipeline.running.mend import working_copy
from pipeline.running.storing import storing
from pipeline.running.supervise import GRACE
from pipeline.running.verdict import Transcript, judge, unfinished

_GRACE = float(os.environ.get("CARTOON_GRACE") or GRACE)  # seconds a stage has to save its state after SIGTERM
_TTL = TTL  # seconds without a sign of life after which another machine may take over a stage
_POLL = 1.0  # s between looks at a stage that somebody else runs
_TICK = 0.5  # s between looks at whether the supervisor still lives
_ROOT = Path(__file__).resolve().parents[2]
_SUPERVISE = "import sys; sys.path.append(sys.argv.pop(1)); from pipeline.running.supervise import main; main()"
_INTERRUPTED = 75  # exit code


class ProcessGroups:
    """The commands that are running now, so that one call ends them all with everything below them."""

    def __init__(self) -> None:
        self._heads: set[int] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether everything is being ended."""
        return self._closed

    def start(self, command: list[str], cwd: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a process under supervision, its output on one pipe; it ends when its ``stdin`` is closed.

        Raises: InterruptedError after ``terminate``.
        """
        supervised = [sys.executable, "-I", "-S", "-c", _SUPERVISE, str(_ROOT), f"--grace={_GRACE + 1}", "--", *command]
        with self._lock:
            if self._closed:
                raise InterruptedError("stopping: no further stage is started")
            process = subprocess.Popen(
                supervised, cwd=cwd, env={**_own_tools(), **environment}, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            self._heads.add(process.pid)
        return process

    def forget(self, head: int) -> None:
        """A command has ended."""
        with self._lock:
            self._heads.discard(head)

    def terminate(self) -> None:
        """Ask everything to end, make it end after a while, start nothing else. Takes no lock: it runs in a handler."""
        self._closed = True
        for head in tuple(self._heads):
            with suppress(ProcessLookupError):
                os.kill(head, signal.SIGTERM)

    def reopen(self) -> None:
        """Allow starting again (a new flow run in the same process)."""
        self._closed = False


def _own_tools() -> dict[str, str]:
    """The environment with this Python first, so that ``python`` in dvc.yaml is it, activated or not."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


GROUPS = ProcessGroups()


def run_job(
    job: Job, root: Path, environment: Mapping[str, str], rules: Rules, on_line: Callable[[str], object]
) -> list[Outcome]:
    """Run ``dvc repro`` for the stages of a job; what they need comes from the cache, or they fail.

    Args:
        job: stages of one pool.
        root: the project, of which this process has a working copy.
        environment: more variables for the stages.
        rules: what may be executed here. With a pool, this process is the only one in ``root``, and what the job needs
            is restored from the cache; without, it must be there, and other jobs may run in ``root`` at the same time.
        on_line: gets DVC's and the stages' output line by line.

    Returns: an outcome for each stage.
    Raises: InterruptedError if everything is being ended already.
    """
    outcomes: dict[str, Outcome] = {}
    alone = bool(rules.pool)  # others run in this workspace at the same time if it is nobody's
    dvcfiles = {node.dvcfile for node in job.stages} | {_dvcfile(address) for address in rules.pools}
    left: Job | None = job
    with working_copy(root, dvcfiles) as folder:
        while left:
            said, executions = _repro(left, root, environment, rules, folder, on_line)
            outcomes |= {outcome.stage: outcome for outcome in judge(left, said, executions, _where(), alone)}
            if said.no_space:
                on_line(_about_space(root))
            busy = [one.stage for one in executions if one.state in ("busy", "lost")]
            left = unfinished(job, outcomes, waiting=bool(busy))
            if left and busy and rules.leases:
                for stage in busy:
                    wait_free(rules.leases, stage, _POLL, _TTL, lambda: GROUPS.closed)
            elif alone:
                break
            if left and GROUPS.closed:
                outcomes |= {name: Outcome(name, "failed", _INTERRUPTED, where=_where()) for name in left.names}
                break
    return [outcomes.get(name) or Outcome(name, "skipped", where=_where()) for name in job.names]


def _repro(
    job: Job, root: Path, environment: Mapping[str, str], rules: Rules, folder: Path, on_line: Callable[[str], object]
) -> tuple[Transcript, list[Execution]]:
    """Run DVC once, and say what it said and what was executed."""
    guard, mark = write_guard(folder, rules, _GRACE, _TTL), uuid.uuid4().hex
    said = Transcript()
    with storing(rules.leases, mark, _TTL) as watched:

        def hear(line: str) -> None:
            said.hear(line)
            if watched:
                watched.at(said.current)
            on_line(line)

        # Where several run side by side, looking at what a stage needs would collide with those that use it.
        how = "--keep-going" if rules.pool else "--single-item"
        command = dvc_command("repro", how, *job.names)
        said.code = execute(command, root, {**environment, "SHELL": str(guard), MARK: mark}, hear)
    return said, [one for one in read_ledger(rules.ledger) if one.run == mark]


def _about_space(root: Path) -> str:
    """Say which disks DVC writes to and what is left on them."""
    places = {"the workspace": root, "the cache": cache_folder(root)}
    free = {what: f"{shutil.disk_usage(path).free / 1e6:,.0f} MB at {path}" for what, path in places.items()}
    left = ", ".join(f"{amount} ({what})" for what, amount in free.items())
    return f"error: no space left for a result; free are {left}. Make room, then run the same command again"


def _dvcfile(address: str) -> str:
    return address.rpartition(":")[0] or "dvc.yaml"


def _where() -> str:
    return f"{socket.gethostname()}/{os.environ.get('CARTOON_AGENT') or os.getpid()}"


def execute(command: list[str], cwd: Path, environment: Mapping[str, str], on_line: Callable[[str], object]) -> int:
    """Run a command under supervision; nothing of it outlives this call, nor this process.

    Args:
        command: the program and its arguments.
        cwd: folder to run it in.
        environment: more variables for it.
        on_line: gets its output, line by line; empty lines are left out.

    Returns: its exit code, 128 + n after signal n.
    Raises: InterruptedError if everything is being ended already.
    """
    mark = uuid.uuid4().hex
    process = GROUPS.start(command, cwd, {MARK: mark, **environment})
    try:
        for text in _lines(process, f"{MARK}={environment.get(MARK, mark)}"):
            if text:
                on_line(text)
        code = process.wait()
        return code if code >= 0 else 128 - code
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        GROUPS.forget(process.pid)


def _lines(process: subprocess.Popen[bytes], mark: str) -> Iterator[str]:
    """Output line by line until nobody can write any more; if the supervisor is killed, its work is done here."""
    assert process.stdout is not None
    rest = b""
    with process.stdout as output:
        while True:
            if select.select([output], [], [], _TICK)[0]:
                got = os.read(output.fileno(), 65536)
                *lines, rest = (rest + got).split(b"\n")
                for line in lines if got else [rest]:
                    yield line.decode(errors="replace").rstrip()
                if not got:
                    break
            elif process.poll() is not None:
                end(lambda: marked(mark), _GRACE)
                if not select.select([output], [], [], 0)[0]:
                    break
    if process.wait() < 0:
        end(lambda: marked(mark), _GRACE)
