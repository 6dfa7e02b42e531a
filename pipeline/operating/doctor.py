"""Is this machine ready to run stages, and to work with others? One line per question, each answered by trying.

Everything here is fast or given up after seconds, because it is asked when something does not work.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.graph import GraphError, cache_folder, dvc_command
from pipeline.operating.finding import RESOURCE, SETTING, Finding, ok, problem, warning
from pipeline.operating.rounds import QUESTIONS
from pipeline.operating.versions import VersionError, check
from pipeline.running.exchange import Exchange
from pipeline.running.lanes import gpu_devices
from pipeline.running.places import folder_id
from pipeline.running.trouble import ExchangeError, trouble

_PATIENCE = 8.0  # s for a remote
_GIB = 1 << 30
_FEW, _LITTLE = 20 * _GIB, 2 * _GIB  # free bytes: of a run of FFHQ-256, of a run of the demo
_TEMPORARY = _GIB // 4


@dataclass(frozen=True)
class Machine:
    """This machine, as it is set up."""

    root: Path  # of the project
    pool: str | None  # that it is to serve
    cache: Path  # DVC's
    remote: str | None  # DVC's, through which results are exchanged


def examine(root: Path, pool: str | None) -> list[Finding]:
    """Ask everything at once.

    Args:
        root: the project.
        pool: that this machine is to serve; None asks for what a run without agents needs.

    Returns: the answers, in the order of the questions.
    """
    remote = os.environ.get("CARTOON_REMOTE") or _ask_dvc(root, "config", "core.remote").strip() or None
    at = Machine(root, pool, _cache(root), remote)
    checks: list[Callable[[Machine], list[Finding]]] = [
        check_python, check_versions, check_git, check_disk, check_cache, check_remote, check_gpu,
        *(lambda at, ask=ask: ask(at.root, at.pool) for ask in QUESTIONS),
    ]  # fmt: skip
    with ThreadPoolExecutor(len(checks)) as threads:
        answers = [threads.submit(one, at) for one in checks]
        return [finding for answer in answers for finding in answer.result()]


def check_python(at: Machine) -> list[Finding]:
    """The interpreter that stages will run with; an older one could not have read this far."""
    return [ok("python", f"{platform.python_version()} ({sys.executable})")]


def check_versions(at: Machine) -> list[Finding]:
    """Whether what is installed is what requirements.lock pins."""
    lock, again = at.root / "requirements.lock", "`make` with .venv removed installs what is pinned"
    if not lock.is_file():
        return [warning("versions", f"{lock} is not there", "bring it back: `git checkout -- requirements.lock`")]
    try:
        others = check(lock)
    except VersionError as error:
        return [problem("versions", str(error), again, SETTING)]
    if others:
        more = f" and {len(others) - 4} more" if len(others) > 4 else ""
        return [warning("versions", f"{'; '.join(others[:4])}{more}", f"results may differ; {again}")]
    return [ok("versions", "as requirements.lock pins them")]


def check_git(at: Machine) -> list[Finding]:
    """Whether a coordinated run could commit, and what it would start from."""
    if _git(at.root, "rev-parse", "--git-dir") is None:
        return [problem("git", f"{at.root} is no git repository, or git is missing",
                        "clone the project; runs start from commits", SETTING)]  # fmt: skip
    return [_identity(at.root), _tree(at.root)]


def _identity(root: Path) -> Finding:
    who = _git(root, "var", "GIT_COMMITTER_IDENT")
    if who is None:
        remedy = "`git config --global user.email you@example.org` and user.name; a run ends with a commit of dvc.lock"
        return problem("git identity", "none", remedy, SETTING)
    return ok("git identity", who.partition(">")[0] + ">")


def _tree(root: Path) -> Finding:
    changed = (_git(root, "status", "--porcelain") or "").splitlines()
    if not changed:
        return ok("git tree", "clean")
    names = ", ".join(line[3:] for line in changed[:3]) + (" ..." if len(changed) > 3 else "")
    return warning(
        "git tree", f"{len(changed)} changed files: {names}", "agents see commits only: commit or stash them"
    )


def check_disk(at: Machine) -> list[Finding]:
    """Free space where outputs, states of trainings and temporary files go."""
    places = {"cache": at.cache, "scratch": at.root / "scratch", "temporary files": Path(tempfile.gettempdir())}
    findings = []
    for name, place in places.items():
        there = next((folder for folder in (place, *place.parents) if folder.exists()), Path("/"))
        free = shutil.disk_usage(there).free
        few, little = (_LITTLE, _TEMPORARY) if name == "temporary files" else (_FEW, _LITTLE)
        found = f"{free / _GIB:.1f} GiB free in {there}"
        more = "`dvc gc --workspace --all-commits` removes what no commit needs" if name == "cache" else "free some"
        if free < little:
            findings.append(
                problem(f"disk for {name}", found, f"at least {little / _GIB:.2g} GiB are needed: {more}", RESOURCE)
            )
        elif free < few:
            findings.append(warning(f"disk for {name}", found, f"long runs want {few / _GIB:.2g}: {more}"))
        else:
            findings.append(ok(f"disk for {name}", found))
    return findings


def check_cache(at: Machine) -> list[Finding]:
    """Whether the cache takes files, how outputs can be linked to it, and what others must see to share it."""
    leases = Path(os.environ.get("CARTOON_LEASES") or at.cache / "leases")
    try:
        for folder in (at.cache, leases):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        links, identity = _links(at.cache, at.root), folder_id(at.cache)
    except (OSError, ExchangeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        remedy = "give this user the right to write, or `dvc config --local cache.dir DIR`"
        return [problem("cache", f"{at.cache}: cannot be written: {why}", remedy, RESOURCE)]
    findings = [ok("cache", f"{at.cache}, {identity}; leases in {leases}")]
    if links == ["copy"]:
        remedy = "every output takes its space twice: put cache and project on one disk"
        return [*findings, warning("cache links", "copies only", remedy)]
    return [*findings, ok("cache links", ", ".join(links))]


def _links(cache: Path, root: Path) -> list[str]:
    """Ways in which files of the project can be files of the cache, tried."""
    import errno

    from dvc_objects.fs.system import reflink

    project = root / ".dvc" / "tmp"  # git, asked at the same time, sees nothing of it
    project.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".doctor-") as there, \
            tempfile.TemporaryDirectory(dir=project, prefix="doctor-") as here:  # fmt: skip
        source = Path(there) / "object"
        source.write_bytes(b"x" * 4096)
        ways: dict[str, Callable[[str, str], object]] = {"reflink": reflink, "hardlink": os.link, "symlink": os.symlink}
        found = []
        for name, link in ways.items():
            try:
                link(str(source), str(Path(here) / name))
                found.append(name)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise
        return [*found, "copy"]


def check_remote(at: Machine) -> list[Finding]:
    """Whether the DVC remote that results are exchanged through answers, with the keys that are set here."""
    if at.remote is None:
        return [ok("remote", "none configured; machines share a cache")]
    try:
        identity = Exchange.of(at.root, at.remote).identity()
    except ExchangeError as error:
        return [problem("remote", str(error), "", SETTING)]
    try:
        lines = _ask_dvc(at.root, "ls-url", f"remote://{at.remote}/", patience=_PATIENCE).splitlines()
    except subprocess.TimeoutExpired:
        lines = [f"ERROR: could not connect in {_PATIENCE:.0f} s"]
    lines = [line for line in lines if "does not exist" not in line]  # nothing has been pushed yet
    if bad := trouble(lines, tolerant=True):
        return [problem("remote", f"{at.remote}, {identity}: {bad[0]}", "check address, keys and network", SETTING)]
    return [ok("remote", f"{at.remote}, {identity}")]


def check_gpu(at: Machine) -> list[Finding]:
    """GPUs that stages of the pool ``gpu`` may use."""
    devices, visible = gpu_devices(), os.environ.get("CUDA_VISIBLE_DEVICES")
    limited = f" (CUDA_VISIBLE_DEVICES={visible})" if visible is not None else ""
    if devices:
        return [ok("gpu", f"{len(devices)}: {', '.join(devices)}{limited}")]
    if at.pool == "gpu":
        return [warning("gpu", f"none{limited}", "trainings will run on the CPU; `nvidia-smi` says what is wrong")]
    return [ok("gpu", f"none{limited}; trainings run on the CPU")]


def _cache(root: Path) -> Path:
    try:
        return cache_folder(root)
    except GraphError:
        return root / ".dvc" / "cache"


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None if it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.rstrip() if done.returncode == 0 else None


def _ask_dvc(root: Path, *arguments: str, patience: float | None = None) -> str:
    done = subprocess.run(
        dvc_command(*arguments), cwd=root, text=True, errors="replace", check=False, timeout=patience,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.stdout
